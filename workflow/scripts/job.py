"""Entry point of every script: put the script's own package first on the path, and import `job`.

In the conda environment of a rule, the package is not installed, and a copy of the workflow must run its own code.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dreambirds.runtime.job import job

__all__ = ["job"]

"""Entry point of every script: put the script's own package first on the path, and import `job`.

In the conda environment of a rule, the package is not installed, and a copy of the workflow must run its own code. If
the run has a fork server, the script runs in a fork, which has already imported the libraries.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dreambirds.runtime.fork_client import hand_over

hand_over()

from dreambirds.runtime.job import job  # noqa: E402

__all__ = ["job"]

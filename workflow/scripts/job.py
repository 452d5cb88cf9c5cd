"""The entry of every script. It puts the package that the script belongs to first on the path: in a rule's conda
environment the package is not installed, and a copy of the workflow runs its own code."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dreambirds.runtime.job import job

__all__ = ["job"]

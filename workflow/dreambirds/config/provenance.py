"""Describe the software that computes a study: versions, a digest of the code, and the git commit."""

import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from dreambirds import __version__
from dreambirds.runtime.code_version import ENTRIES, PACKAGE, stage_code

UNCHANGED, CHANGED = "unchanged", "changed"


def all_code() -> list[str]:
    """Return the code of all stages, as `stage_code` does for one."""
    return [stage_code(stage) for stage in ENTRIES]


def provenance(libraries: Mapping[str, str], code: str) -> dict[str, Any]:
    """Return the versions of the workflow, Python, Snakemake and libraries, the digest `code`, and the state of git.

    ``commit`` is the current commit of the workflow's repository, and ``tree`` is whether its files are unchanged since
    that commit. Both are None without git or a repository.
    """
    versions = {"dreambirds": __version__, "python": platform.python_version(), "snakemake": version("snakemake")}
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    tree = None if changes is None else CHANGED if changes else UNCHANGED
    return {"versions": {**versions, **libraries}, "code": code, "commit": commit or None, "tree": tree}


def _git(*arguments: str) -> str | None:
    """Return the output of a git command in the workflow's folder, None if it fails."""
    command = ["git", "-C", str(PACKAGE), *arguments]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=60, encoding="utf-8"
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None

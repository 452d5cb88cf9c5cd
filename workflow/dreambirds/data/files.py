"""Paths as a user writes them, and which files of a folder are photographs; their contents are not looked at."""

import os
from pathlib import Path

EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp"}


def expand(path: str) -> Path:
    """Return a path of the config with ``~`` and ``$VARIABLES`` replaced; a variable that is not set stays as it is."""
    return Path(os.path.expandvars(path)).expanduser()


def find_photographs(folder: Path) -> list[Path]:
    """Return the photographs directly inside a class folder, sorted by name; hidden files are left out."""
    return sorted(path for path in folder.iterdir() if is_photograph(path))


def is_photograph(path: Path) -> bool:
    """Tell whether a file is called as a photograph is: JPEG, PNG or WebP, and not hidden."""
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")

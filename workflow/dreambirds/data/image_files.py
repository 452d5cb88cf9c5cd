"""Find photographs, and open only regular files of limited size. Imports no torch."""

import stat
from pathlib import Path
from typing import BinaryIO

EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp"}
LARGEST = 256 << 20  # bytes per file; a larger one is not a photograph and could exhaust the memory


def find_photographs(folder: Path) -> list[Path]:
    """Return the photographs directly in a folder, sorted by name; skip hidden files."""
    return sorted(path for path in folder.iterdir() if is_photograph(path))


def is_photograph(path: Path) -> bool:
    """Return whether a file name is that of a JPEG, PNG or WebP, and not hidden."""
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    Raises OSError, with the reason, for anything else: reading a pipe or a device might never end.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise OSError("a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise OSError("a pipe, a socket or a device, not a file")
    check_size(status.st_size)
    return path.open("rb")


def check_size(size: int) -> None:
    """Raise OSError, with the reason, if `size` in bytes exceeds the limit per file."""
    if size > LARGEST:
        raise OSError(f"{size} bytes exceed the limit of {LARGEST} bytes per file")


def is_opened(path: Path) -> bool:
    """Return whether `open_file` would open a path; True also if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return True
    return stat.S_ISREG(status.st_mode) and status.st_size <= LARGEST

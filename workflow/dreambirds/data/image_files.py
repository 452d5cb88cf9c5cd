"""Which files are photographs, and which of them are opened: regular ones of a sane size. Imports no torch."""

import stat
from pathlib import Path
from typing import BinaryIO

EXTENSIONS = {".jpg", ".jpeg", ".png", ".webp"}


LARGEST = 256 << 20  # bytes of one file; more is no photograph, and would fill the memory or take hours to read


def find_photographs(folder: Path) -> list[Path]:
    """Return the photographs directly inside a class folder, sorted by name; hidden files are left out."""
    return sorted(path for path in folder.iterdir() if is_photograph(path))


def is_photograph(path: Path) -> bool:
    """Tell whether a file is called as a photograph is: JPEG, PNG or WebP, and not hidden."""
    return path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")


def open_file(path: Path) -> BinaryIO:
    """Return a regular file, open to be read; a pipe or a device, that might never end, is not opened.

    Raises OSError with the reason.
    """
    about = path.stat()
    if stat.S_ISDIR(about.st_mode):
        raise OSError("a folder, not a file")
    if not stat.S_ISREG(about.st_mode):
        raise OSError("a pipe, a socket or a device, not a file")
    check_size(about.st_size)
    return path.open("rb")


def check_size(size: int) -> None:
    """Raise OSError, with the reason, if so many bytes are too many for one photograph."""
    if size > LARGEST:
        raise OSError(f"{size} bytes are more than {LARGEST}, the most that is read of one file")


def is_opened(path: Path) -> bool:
    """Tell whether `open_file` would open a file, or may once there is one."""
    try:
        about = path.stat()
    except OSError:
        return True
    return stat.S_ISREG(about.st_mode) and about.st_size <= LARGEST

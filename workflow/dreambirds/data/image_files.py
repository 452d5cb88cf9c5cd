"""Find photographs, and open only regular files of limited size. Imports neither torch nor Pillow."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from dreambirds.data.image_kinds import HEAD, PICTURES, kind_of

LARGEST = 256 << 20  # bytes per file; a larger one is not a photograph and could exhaust the memory
USUAL = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".heic", ".heif", ".tif", ".tiff", ".gif", ".bmp")
JUNK = {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "picasa.ini", "zbthumbnail.info"}
JUNK_FOLDERS = {
    *("__macosx", "@eadir", "#recycle", "#snapshot", "lost+found", "__pycache__"),
    *("$recycle.bin", "recycler", "system volume information"),
}
UNFINISHED = (".part", ".partial", ".crdownload", ".download", ".opdownload", ".filepart", ".aria2", ".!qb", "~")


def is_junk(name: str) -> bool:
    """Return whether a file or folder is hidden, or one that a system, browser or editor creates by itself."""
    lower = name.lower()
    return name[:1] in (".", "") or lower in JUNK | JUNK_FOLDERS or lower.endswith(UNFINISHED)


def find_photographs(folder: Path) -> list[Path]:
    """Return the photographs directly in a folder, recognized by their content and sorted by name; skip hidden files.

    Raises OSError if the folder cannot be read.
    """
    return sorted(path for path in folder.iterdir() if not is_junk(path.name) and is_photograph(path))


def is_photograph(path: Path) -> bool:
    """Return whether a file begins as a photograph of a known format does, whatever its name is."""
    return read_kind(path) in PICTURES


def read_kind(path: Path) -> str:
    """Return what a file is, as `kind_of` does; '' also if it cannot be opened."""
    try:
        return kind_of(read_head(str(path)), path.name)
    except OSError:
        return ""


def read_head(path: str) -> bytes:
    """Return the first `HEAD` bytes of a regular file; quick, because plans read some of every class.

    Raises OSError, with the reason, for anything else.
    """
    try:
        _check_regular(Path(path).stat())
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except ValueError as error:
        raise OSError("its name contains a NUL character") from error
    try:
        return os.read(descriptor, HEAD)
    finally:
        os.close(descriptor)


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading.

    Raises OSError, with the reason, for anything else: reading a pipe or a device might never end.
    """
    _check_regular(path.stat())
    return path.open("rb")


def _check_regular(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise OSError("a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise OSError("a pipe, a socket or a device, not a file")
    check_size(status.st_size)


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

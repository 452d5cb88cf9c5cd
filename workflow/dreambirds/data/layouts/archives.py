"""Zips that are read as they are: opened once a process, and from many threads."""

import os
import struct
import threading
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path

from dreambirds.data.opening import check_size

ENCRYPTED = 0x1  # of the flags of a member
DEEPEST = 50  # folders inside each other; what lies deeper is left out
_lock = threading.Lock()


class Archive:
    """An open zip, and what each of its folders holds: {folder: (sub-folders, files)}, both sorted."""

    def __init__(self, file: Path):
        """Open the zip and go through its directory once. Raises OSError or zipfile.BadZipFile."""
        self.zip = zipfile.ZipFile(file)
        folders: dict[str, set[str]] = {"": set()}
        files: dict[str, set[str]] = {}
        for path in self.zip.namelist():
            folder, _, name = path.rpartition("/")
            if folder.count("/") >= DEEPEST:
                continue
            _add_folder(folder, folders)
            if name:
                files.setdefault(folder, set()).add(name)
        self.index = {folder: (sorted(inner), sorted(files.get(folder, ()))) for folder, inner in folders.items()}


def open_archive(file: Path) -> Archive:
    """Return the open zip, the same for as long as the file stays as it is.

    Raises OSError, with the reason, if it is no zip that can be read.
    """
    with _lock:
        return _open_archive(file)


def read_member(file: Path, member: str) -> bytes:
    """Return what the zip holds under this name, no more than it says it does.

    Raises OSError, with the reason, if that can't be read, or is too much.
    """
    with _lock:
        archive = _open_archive(file)
        try:
            info = archive.zip.getinfo(member)
            check_size(info.file_size)
            if info.flag_bits & ENCRYPTED:
                raise OSError("encrypted in the zip")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise OSError("the zip holds it compressed in another way than deflated")  # nothing bounds the others
            with archive.zip.open(info) as file:
                return _read(file, info.file_size)
        except KeyError as error:
            raise OSError("the zip holds no such file") from error
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise OSError(f"damaged or not readable in the zip: {error}") from error


def _read(file: zipfile.ZipExtFile, size: int) -> bytes:
    """Return `size` bytes, asked for as such since the file unpacks all that there is when it is asked for all."""
    contents = file.read(size)
    if len(contents) < size or file.read(1):
        raise EOFError(f"{len(contents)} bytes instead of {size}")
    return contents


def _open_archive(file: Path) -> Archive:
    about = file.stat()
    try:
        return _kept(file, about.st_size, about.st_mtime_ns, os.getpid())
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise OSError(f"no zip, or a damaged one: {error}") from error


@lru_cache(maxsize=2)
def _kept(file: Path, size: int, changed: int, process: int) -> Archive:
    return Archive(file)


def _add_folder(folder: str, folders: dict[str, set[str]]) -> None:
    if folder not in folders:
        parent, _, name = folder.rpartition("/")
        _add_folder(parent, folders)
        folders[parent].add(name)
        folders[folder] = set()

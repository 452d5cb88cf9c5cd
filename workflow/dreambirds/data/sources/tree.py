"""Folders and zip archives as one kind of tree of files."""

import os
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from dreambirds.data.image_files import EXTENSIONS, check_size
from dreambirds.errors import UserError

ENCRYPTED = 0x1  # of the flags of a member
DEEPEST = 50  # folders inside each other; what lies deeper is left out
_lock = threading.Lock()
ENDINGS = tuple(EXTENSIONS)


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


@dataclass(frozen=True)
class Tree:
    """A folder on disk, or a zip. Names below it are parted by ``/``; the root's own is empty."""

    file: Path
    zipped: bool = False
    prefix: str = ""

    def listing(self, name: str = "") -> tuple[list[str], list[str]]:
        """Return the sub-folders and the files directly in a folder, each sorted; none if there is no such folder."""
        if self.zipped:
            return open_archive(self.file).index.get(self._full(name), ([], []))
        folders, files = [], []
        try:
            with os.scandir(self.file / name) as entries:
                for entry in entries:
                    (folders if _is_folder(entry) else files).append(entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return [], []
        return sorted(folders), sorted(files)

    def photographs(self, name: str) -> list[str]:
        """Return what is called as a photograph is directly in a folder, sorted; what is hidden is left out."""
        folders, files = self.listing(name)
        return sorted(file for file in [*folders, *files] if file[:1] != "." and file.lower().endswith(ENDINGS))

    def place(self, name: str) -> tuple[Path, str]:
        """Return the file on disk, and the member's name if that is a zip."""
        return (self.file, self._full(name)) if self.zipped else (self.file / name, "")

    def below(self, name: str) -> "Tree":
        """Return the tree of a sub-folder."""
        return Tree(self.file, True, self._full(name)) if self.zipped else Tree(self.file / name)

    def has(self, name: str) -> bool:
        """Tell whether there is a file of this name."""
        folder, _, file = name.rpartition("/")
        return file in self.listing(folder)[1] if self.zipped else (self.file / name).is_file()

    def lines(self, name: str) -> list[str]:
        """Return the lines of a text file, whatever ends them; blank ones at its end and a byte-order mark are dropped.

        Raises UserError if it is no UTF-8.
        """
        file, member = self.place(name)
        try:
            text = (read_member(file, member) if member else file.read_bytes()).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(f"dataset.path: '{self.say(name)}' is no UTF-8 text ({error.reason})") from error
        return text.replace("\r\n", "\n").replace("\r", "\n").rstrip().split("\n") if text.strip() else []

    def say(self, name: str) -> str:
        """Return a file's whole name for people."""
        file, member = self.place(name)
        return str(file / member)

    def _full(self, name: str) -> str:
        return "/".join(part for part in (self.prefix, name) if part)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads round in a circle, or to where one may not look
        return False


def find_below(tree: Tree, fits: Callable[[Tree], bool]) -> Tree | None:
    """Return the tree itself or the only one of its sub-folders that fits, None if none does.

    Raises UserError if several do.
    """
    if fits(tree):
        return tree
    found = [name for name in tree.listing()[0] if not name.startswith(".") and _fits(tree.below(name), fits)]
    if len(found) > 1:
        raise UserError(f"dataset.path: '{tree.say('')}' holds several data sets, {', '.join(found)}; name one of them")
    return tree.below(found[0]) if found else None


def _fits(tree: Tree, fits: Callable[[Tree], bool]) -> bool:
    try:
        return fits(tree)
    except PermissionError:  # another's folder beside the one that is looked for
        return False


def where(tree: Tree, name: str, number: int) -> str:
    """Return how a sentence begins that is about a line, counted from 1, of a table."""
    return f"dataset.path: '{tree.say(name)}', line {number}:"

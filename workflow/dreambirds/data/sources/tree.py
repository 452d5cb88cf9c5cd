"""A common interface to folders and zip archives."""

import os
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from dreambirds.data.image_files import USUAL, check_size, is_junk, read_head
from dreambirds.data.image_kinds import HEAD, PICTURES, kind_of
from dreambirds.errors import UserError

ENCRYPTED = 0x1  # flag bit of a member
DEEPEST = 50  # nested folders; deeper files are ignored
MOST_OTHERS = 1000  # files of a folder that are not photographs, after which no further one is opened to find some
_lock = threading.Lock()


class Archive:
    """An open zip, and its `index`: {folder: (subfolders, files)}, both sorted."""

    def __init__(self, file: Path):
        """Open the zip and index its directory. Raises OSError or zipfile.BadZipFile."""
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
    """Return the open zip; it is cached until the file changes.

    Raises OSError, with the reason, if the file is not a readable zip.
    """
    with _lock:
        return _open_archive(file)


def read_member(file: Path, member: str, size: int | None = None) -> bytes:
    """Return the contents of a member, of the size that the zip's directory records, or at most its first `size` bytes.

    Raises OSError, with the reason, if the member cannot be read or is too large.
    """
    with _lock:
        archive = _open_archive(file)
        try:
            info = archive.zip.getinfo(member)
            check_size(info.file_size)
            if info.flag_bits & ENCRYPTED:
                raise OSError("encrypted in the zip")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                # the other methods could exhaust the memory
                raise OSError("compressed in the zip with a method other than deflate")
            with archive.zip.open(info) as file:
                return _read(file, info.file_size) if size is None else file.read(size)
        except KeyError as error:
            raise OSError("the zip contains no such file") from error
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise OSError(f"corrupt or unreadable in the zip: {error}") from error


def _read(file: zipfile.ZipExtFile, size: int) -> bytes:
    """Return `size` bytes; ``read()`` without a size could unpack much more."""
    contents = file.read(size)
    if len(contents) < size or file.read(1):
        raise EOFError(f"{len(contents)} bytes instead of {size}")
    return contents


def _open_archive(file: Path) -> Archive:
    status = file.stat()
    try:
        return _cached_archive(file, status.st_size, status.st_mtime_ns, os.getpid())
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise OSError(f"not a zip, or a corrupt one: {error}") from error


@lru_cache(maxsize=2)
def _cached_archive(file: Path, size: int, changed: int, process: int) -> Archive:
    return Archive(file)


def _add_folder(folder: str, folders: dict[str, set[str]]) -> None:
    if folder not in folders:
        parent, _, name = folder.rpartition("/")
        _add_folder(parent, folders)
        folders[parent].add(name)
        folders[folder] = set()


@dataclass(frozen=True)
class Tree:
    """A folder on disk, or a zip. Names use ``/``; that of the root is empty."""

    file: Path
    zipped: bool = False
    prefix: str = ""

    def listing(self, name: str = "") -> tuple[list[str], list[str]]:
        """Return the subfolders and the files directly in a folder, each sorted.

        Both are empty if the folder does not exist.
        """
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

    def files(self, name: str) -> list[str]:
        """Return the names of the files directly in a folder that may be photographs, sorted.

        Hidden files and those that systems and browsers create are left out, and so are sub-folders, except those that
        are named as a photograph is.
        """
        folders, files = self.listing(name)
        named = [folder for folder in folders if folder.lower().endswith(USUAL)]
        return sorted(file for file in [*named, *files] if not is_junk(file))

    def folders(self, name: str = "") -> list[str]:
        """Return the names of the folders directly in a folder, sorted, without hidden ones and those of systems."""
        return [folder for folder in self.listing(name)[0] if not is_junk(folder)]

    def left_out(self, name: str) -> list[str]:
        """Return the names of the files and folders directly in a folder that are not in `files`, sorted."""
        folders, files = self.listing(name)
        return sorted({*folders, *files} - set(self.files(name)))

    def pictures(self, name: str) -> list[str]:
        """Return those of `files` that begin as a photograph does, sorted."""
        return [file for file in self.files(name) if self._is_picture(name, file)]

    def count_pictures(self, name: str, enough: int = 1) -> int:
        """Return how many files directly in a folder begin as a photograph does, at most `enough`.

        No more files are listed and opened than necessary, those with the usual suffixes first.
        """
        found, unusual = 0, []
        for file in self._candidates(name):
            if not file.lower().endswith(USUAL):
                unusual.append(file)
            elif self._is_picture(name, file):
                found += 1
                if found == enough:
                    return found
        for file in unusual[:MOST_OTHERS]:
            found += self._is_picture(name, file)
            if found == enough:
                break
        return found

    def _candidates(self, name: str) -> Iterator[str]:
        """Yield the names of files in a folder, unsorted, and of folders that are named as a photograph is."""
        if self.zipped:
            yield from self.files(name)
            return
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.file / name) as entries:
            yield from (entry.name for entry in entries if not is_junk(entry.name))

    def _is_picture(self, folder: str, name: str) -> bool:
        """Return whether a file begins as a photograph does.

        True also for one named as a photograph that cannot be read for its permissions, or in a damaged zip: the reason
        is reported when it is prepared.
        """
        inner = f"{folder}/{name}" if folder else name
        try:
            head = self._head(inner)
        except OSError as error:
            return (self.zipped or isinstance(error, PermissionError)) and name.lower().endswith(USUAL)
        return kind_of(head, name) in PICTURES

    def kind(self, name: str) -> str:
        """Return what a file is, as `kind_of` does; '' also if it cannot be read."""
        try:
            return kind_of(self._head(name), name)
        except OSError:
            return ""

    def _head(self, name: str) -> bytes:
        """Return the first bytes of a file."""
        return read_member(self.file, self._full(name), HEAD) if self.zipped else read_head(f"{self.file}/{name}")

    def locate(self, name: str) -> tuple[Path, str]:
        """Return the file on disk, and the name of the member if that is a zip."""
        return (self.file, self._full(name)) if self.zipped else (self.file / name, "")

    def below(self, name: str) -> "Tree":
        """Return the tree of a subfolder."""
        return Tree(self.file, True, self._full(name)) if self.zipped else Tree(self.file / name)

    def is_at(self, path: Path) -> bool:
        """Return whether this is the tree of a path, not of a folder below it."""
        return self.file == path and not self.prefix

    def has(self, name: str) -> bool:
        """Return whether a file of this name exists."""
        folder, _, file = name.rpartition("/")
        return file in self.listing(folder)[1] if self.zipped else (self.file / name).is_file()

    def lines(self, name: str) -> list[str]:
        """Return the lines of a UTF-8 text file, with any line endings.

        A byte-order mark and blank lines at the end are dropped. Raises UserError if the file is not UTF-8.
        """
        file, member = self.locate(name)
        try:
            text = (read_member(file, member) if member else file.read_bytes()).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            problem = f"'{self.full_name(name)}' is not UTF-8 text ({error.reason} at byte {error.start})"
            raise UserError(f"dataset.path: {problem}; save it as UTF-8") from error
        return text.replace("\r\n", "\n").replace("\r", "\n").rstrip().split("\n") if text.strip() else []

    def full_name(self, name: str) -> str:
        """Return the full path of a file, for messages."""
        file, member = self.locate(name)
        return str(file / member)

    def _full(self, name: str) -> str:
        return "/".join(part for part in (self.prefix, name) if part)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a circular link, or no permission
        return False


def find_below(tree: Tree, fits: Callable[[Tree], bool]) -> Tree | None:
    """Return the tree, or its only subfolder, for which `fits` is true; None if none.

    Raises UserError if several subfolders fit.
    """
    if fits(tree):
        return tree
    found = [name for name in tree.folders() if _fits(tree.below(name), fits)]
    if len(found) > 1:
        names = ", ".join(f"'{name}'" for name in found)
        problem = f"'{tree.full_name('')}' contains several data sets ({names})"
        raise UserError(f"dataset.path: {problem}; set the path to one of them")
    return tree.below(found[0]) if found else None


def _fits(tree: Tree, fits: Callable[[Tree], bool]) -> bool:
    try:
        return fits(tree)
    except PermissionError:  # an unrelated folder
        return False


def where(tree: Tree, name: str, number: int) -> str:
    """Return the start of an error about a line of a table, counted from 1."""
    return f"dataset.path: '{tree.full_name(name)}', line {number}:"

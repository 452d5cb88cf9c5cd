"""The files of a source by their names below its root, whether they lie on disk or in a zip."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dreambirds.data.layouts.archives import open_archive, read_member
from dreambirds.data.opening import EXTENSIONS
from dreambirds.errors import StudyError

ENDINGS = tuple(EXTENSIONS)


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

        Raises StudyError if it is no UTF-8.
        """
        file, member = self.place(name)
        try:
            text = (read_member(file, member) if member else file.read_bytes()).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise StudyError(f"dataset.path: '{self.say(name)}' is no UTF-8 text ({error.reason})") from error
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

    Raises StudyError if several do.
    """
    if fits(tree):
        return tree
    found = [name for name in tree.listing()[0] if not name.startswith(".") and _fits(tree.below(name), fits)]
    if len(found) > 1:
        raise StudyError(
            f"dataset.path: '{tree.say('')}' holds several data sets, {', '.join(found)}; name one of them"
        )
    return tree.below(found[0]) if found else None


def _fits(tree: Tree, fits: Callable[[Tree], bool]) -> bool:
    try:
        return fits(tree)
    except PermissionError:  # another's folder beside the one that is looked for
        return False


def where(tree: Tree, name: str, number: int) -> str:
    """Return how a sentence begins that is about a line, counted from 1, of a table."""
    return f"dataset.path: '{tree.say(name)}', line {number}:"

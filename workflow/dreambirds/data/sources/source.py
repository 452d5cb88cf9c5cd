"""The interface of data sources, and the registry of all sources.

To add a source, add a module to this package that defines a subclass of `Source`, registered with `@source("<name>")`.
`catalog` imports all modules of the package. Also add the name to `dataset.source` in the schema.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from dreambirds.data.image_files import open_file
from dreambirds.data.labels import Label
from dreambirds.data.names import escaped
from dreambirds.data.sources.tree import Tree, read_member
from dreambirds.errors import UserError

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Photograph:
    """The path of a photograph, and its source's data about it.

    `file` is the photograph, or the zip that contains it as `member`. `part` is ``train`` or ``validation`` if the
    source has its own split, else empty. `box` is x, y, width, height of the bird in pixels. `problem` is the reason
    why the photograph is known to be unreadable, such as a listed file that does not exist.
    """

    label: Label
    file: Path
    member: str = ""
    part: str = ""
    box: tuple[float, float, float, float] | None = None
    problem: str = ""


@dataclass(frozen=True)
class Drawing:
    """An image drawn by code: `draw` takes the side in pixels, and returns square RGB."""

    label: Label
    draw: Callable[[int], Image.Image]
    part: str = ""
    problem: str = ""


def open_photograph(photograph: Photograph) -> BinaryIO:
    """Open a photograph's bytes as a file, which the caller closes.

    Several threads may call this at the same time. Raises OSError, with the reason, if the file or the member of the
    zip cannot be read.
    """
    if not photograph.member:
        return open_file(photograph.file)
    return io.BytesIO(read_member(photograph.file, photograph.member))


def origin(photograph: Photograph) -> str:
    """Return the path of a photograph for tables and logs, on one line."""
    return escaped(str(photograph.file / photograph.member if photograph.member else photograph.file))


@dataclass(frozen=True)
class Resource:
    """A published data set that the workflow can download.

    Its rule is ``download_<name>``; `data` and `size` describe it in messages. The download creates the file or folder
    `place`. `signs` maps paths to the data's path: if one of them exists, the data exists there, even if a user put it
    there by hand. Paths are relative to the working directory. `downloader` is the download function, as
    ``<module>:<function>``, which is imported only when it is called.
    """

    name: str
    data: str
    size: str
    place: str
    signs: dict[str, str]
    downloader: str
    is_folder: bool = False

    @property
    def title(self) -> str:
        """The description of the data set, with its size."""
        return f"{self.data} ({self.size})"

    def found(self) -> str | None:
        """Return the path of the data, or None if it is not downloaded."""
        return next((path for sign, path in self.signs.items() if Path(sign).exists()), None)

    def download(self) -> None:
        """Download the data to `place`, unless it exists. Raises UserError."""
        module, _, function = self.downloader.partition(":")
        getattr(import_module(module), function)()


class Source(ABC):
    """One layout of images: how to recognize it, its classes, and its images.

    Subclasses must define the abstract methods; all others have defaults. `tree` is the return value of `find`, or None
    if the source needs no path. `dataset` is the config's section with all defaults. Methods raise UserError for
    problems that a user can fix, and may raise OSError.
    """

    name = ""  # set by `source`
    strictness = 9  # how much the layout requires; to recognize a path, the strictest layout is tried first
    needs_path = True  # whether the images are read from `dataset.path`
    path_content = "a folder of images"  # what `dataset.path` must point to
    has_images = True  # whether it has any images; without, the classes are those of the networks
    has_boxes = False  # whether it has boxes to crop to, so that `dataset.crop_margin` may be set
    is_competition = False  # whether it has test images to classify, for a submission
    resource: Resource | None = None  # what to download if the path is null

    @abstractmethod
    def find(self, path: Path) -> Tree | None:
        """Return the tree of the layout, at the path or below it; None if there is none."""

    def misfit(self, path: Path) -> str:
        """Return the end of an error: what was expected at a path without the layout."""
        return f"is not {self.path_content}"

    @abstractmethod
    def labels(self, tree: Tree | None, dataset: dict) -> list[Label]:
        """Return the classes that have images, in the order of their class numbers."""

    @abstractmethod
    def photographs(self, tree: Tree | None, dataset: dict, labels: list[Label]) -> list[Photograph] | list[Drawing]:
        """Return the images of these classes, sorted by class and then by file.

        An image that is known to be unreadable has a `problem`.
        """

    def count(self, tree: Tree | None, dataset: dict, labels: list[Label], enough: int) -> dict[Label, tuple[int, int]]:
        """Return for each class its numbers of photographs for training, or not split yet, and for validation.

        Each may be any number if it is at least `enough`, so that not all files are opened. By default all listed
        photographs without a `problem` count.
        """
        counts = {label: [0, 0] for label in labels}
        for photograph in self.photographs(tree, dataset, labels):
            if not photograph.problem:
                counts[photograph.label][photograph.part == "validation"] += 1
        return {label: (training, validation) for label, (training, validation) in counts.items()}

    def others(self, tree: Tree, dataset: dict, labels: list[Label]) -> list[str]:
        """Return the names of files and folders of these classes that are left out without a row; by default none."""
        return []

    def notes(self, tree: Tree, dataset: dict) -> list[str]:
        """Return what else is left out or used in an unexpected way, one sentence each; by default nothing."""
        return []

    def deeper(self, tree: Tree, label: Label) -> list[str]:
        """Return the subfolders of a class's folder that contain photographs; by default none."""
        return []

    def instead(self, tree: Tree, label: Label) -> str:
        """Return what the first file of a class without photographs is, as a clause, '' if that is unknown."""
        return ""

    def tables(self, tree: Tree, dataset: dict) -> list[str]:
        """Return the names of the tables that are read; by default none."""
        return []

    def has_photographs(self, tree: Tree) -> bool:
        """Return whether a tree that `find` returned has images; by default it has."""
        return True

    def tests(self, tree: Tree) -> list[tuple[str, Photograph]]:
        """Return the test images of a competition in the order of a submission.

        Each has its name in the submission. By default there are none.
        """
        return []

    def test_tables(self, tree: Tree) -> list[str]:
        """Return the names of the tables read for the test images; by default none."""
        return []

    def check_keys(self, dataset: dict) -> None:
        """Raise UserError unless the keys of the config's section fit the source."""
        if dataset["crop_margin"] is not None and not self.has_boxes:
            users = list_names(lambda other: other.has_boxes, "source: ")
            raise UserError(
                f"dataset.crop_margin: is only used with {users}, not 'source: {self.name}'; set it to null"
            )

    def check_path(self, path: str | None) -> None:
        """Raise UserError unless the config's path is valid for the source."""
        if path is not None and not self.needs_path:
            users = list_names(lambda other: other.needs_path, "source: ")
            raise UserError(f"dataset.path: is only used with {users}, not 'source: {self.name}'; set it to null")
        if path is None and self.resource:
            problem = f"is null, but the data of 'source: {self.name}' is not downloaded yet"
            raise UserError(f"dataset.path: {problem}; run the study to download it, or set the path")
        if path is None and self.needs_path:
            raise UserError(f"dataset.path: must be {self.path_content} for 'source: {self.name}'")
        if path is not None and not path.strip():
            raise UserError(f"dataset.path: is empty; set it to {self.path_content}")
        if path is not None and "\0" in path:
            raise UserError(f"dataset.path: '{path}' contains a NUL character; remove it")

    def check_competition(self) -> None:
        """Raise UserError unless the source is a competition that accepts submissions."""
        if not self.is_competition:
            users = list_names(lambda other: other.is_competition)
            raise UserError(f"dataset.source: must be {users} for a submission, not '{self.name}'")


SOURCES: dict[str, Source] = {}


def source(name: str) -> Callable[[type[Source]], type[Source]]:
    """Return the decorator that registers a source under its name in the config."""

    def register(kind: type[Source]) -> type[Source]:
        SOURCES[name] = kind()
        SOURCES[name].name = name
        return kind

    return register


def by_strictness() -> list[Source]:
    """Return all sources, sorted from the least strict layout to the strictest."""
    return sorted(SOURCES.values(), key=lambda each: each.strictness)


def list_names(fits: Callable[[Source], bool], prefix: str = "") -> str:
    """Return the sources that fit as text, such as ``'source: folder' or 'cub'``."""
    first, *others = [each.name for each in by_strictness() if fits(each)]
    names = [f"'{prefix}{first}'", *(f"'{name}'" for name in others)]
    return " or ".join([", ".join(names[:-1]), names[-1]] if others else names)

"""The protocol of a data source, and the registry of all sources.

A new source is a new module of this package: a subclass of `Source`, registered with `@source("<name>")`. `catalog`
imports every module of the package. The name is also listed in the schema, under `dataset.source`.
"""

import io
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from dreambirds.data.image_files import open_file
from dreambirds.data.labels import Label, shown
from dreambirds.data.sources.tree import Tree, read_member
from dreambirds.errors import UserError


@dataclass(frozen=True)
class Photograph:
    """Where a photograph lies, and what its source records of it.

    `file` is on disk, or the zip that contains `member`. `part` is ``train`` or ``validation`` where the source has its
    own split, else empty. `box` is x, y, width, height of the bird in pixels. `problem` is the reason why it is known
    to be unreadable, such as a file that a table names and that does not exist.
    """

    label: Label
    file: Path
    member: str = ""
    part: str = ""
    box: tuple[float, float, float, float] | None = None
    problem: str = ""


@dataclass(frozen=True)
class Drawing:
    """An image that code draws: `draw` returns it as a square RGB image, given its side in pixels."""

    label: Label
    draw: Callable[[int], Image.Image]
    part: str = ""
    problem: str = ""


def open_photograph(photograph: Photograph) -> BinaryIO:
    """Return the photograph's bytes as an open file, which the caller closes; many threads may call this at once.

    Raises OSError, with the reason, if the file or the zip's member can't be read.
    """
    if not photograph.member:
        return open_file(photograph.file)
    return io.BytesIO(read_member(photograph.file, photograph.member))


def origin(photograph: Photograph) -> str:
    """Return how tables and logs name a photograph, on one line."""
    return shown(str(photograph.file / photograph.member if photograph.member else photograph.file))


@dataclass(frozen=True)
class Resource:
    """A published data set that the workflow can download, relative to the working directory.

    `name` names its rule, ``download_<name>``; `data` and `size` describe it to people. The download creates `place`, a
    folder or a file. `signs` are the paths of which one is enough to know that the data is there, each with the place
    that it stands for, so that data put there by hand is used too. `downloader` is the function that downloads it, as
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
        """The data set with its size."""
        return f"{self.data} ({self.size})"

    def found(self) -> str | None:
        """Return where the data lies; None if it is not there."""
        return next((place for sign, place in self.signs.items() if Path(sign).exists()), None)

    def download(self) -> None:
        """Download the data to its place, unless it is there. Raises UserError with one sentence."""
        module, _, function = self.downloader.partition(":")
        getattr(import_module(module), function)()


class Source(ABC):
    """One layout in which images come: how it is recognized, its classes, and its images.

    The abstract methods must be defined; all else has defaults. A `tree` is what `find` returned, None if the source
    needs no path. A `dataset` is the config's section with all defaults. Methods raise UserError for what a user can
    fix, and may raise OSError where the file system does.
    """

    name = ""  # set by `source`
    strictness = 9  # how much the layout requires; a path is compared with the layouts from the strictest on
    needs_path = True  # else the images are not read from anywhere
    path_holds = "a folder of images"  # what `dataset.path` must name
    has_boxes = False  # whether it has boxes to crop to, so that `dataset.crop_margin` may be set
    is_competition = False  # whether it has test images to classify, so that a submission can be made
    resource: Resource | None = None  # what is downloaded where the path is null

    @abstractmethod
    def find(self, path: Path) -> Tree | None:
        """Return the tree of the layout, at the path or below it; None if there is none."""

    def misfit(self, path: Path) -> str:
        """Return the end of a sentence about a path where `find` found nothing: what was expected there."""
        return f"is not {self.path_holds}"

    @abstractmethod
    def labels(self, tree: Tree | None, dataset: dict) -> list[Label]:
        """Return the classes that have images, in the order of their class numbers."""

    @abstractmethod
    def photographs(self, tree: Tree | None, dataset: dict, labels: list[Label]) -> list[Photograph] | list[Drawing]:
        """Return the images of these classes, by class and then by file; some are known to have a `problem`."""

    def tables(self, tree: Tree, dataset: dict) -> list[str]:
        """Return the names of the tables that are read besides the images, by default none."""
        return []

    def has_photographs(self, tree: Tree) -> bool:
        """Return whether a tree that was found has images; by default the layout itself is proof enough."""
        return True

    def tests(self, tree: Tree) -> list[tuple[str, Photograph]]:
        """Return a competition's test images, each with its name in a submission, in its order; by default none."""
        return []

    def test_tables(self, tree: Tree) -> list[str]:
        """Return the names of the tables that are read besides the test images, by default none."""
        return []

    def check_keys(self, dataset: dict) -> None:
        """Raise UserError unless the keys of the config's section fit the source, wherever the data lies."""
        if dataset["crop_margin"] is not None and not self.has_boxes:
            users = list_names(lambda other: other.has_boxes, "source: ")
            raise UserError(f"dataset.crop_margin: is only used with {users}, not 'source: {self.name}'")

    def check_path(self, path: str | None) -> None:
        """Raise UserError unless the config's path is one that the source can have."""
        if path is not None and not self.needs_path:
            users = list_names(lambda other: other.needs_path, "source: ")
            raise UserError(f"dataset.path: is only used with {users}, not 'source: {self.name}'")
        if path is None and self.resource:
            raise UserError(f"dataset.path: is null, and the data of 'source: {self.name}' must be fetched first")
        if path is None and self.needs_path:
            raise UserError(f"dataset.path: must name {self.path_holds} when 'source: {self.name}' is set")
        if path is not None and "\0" in path:
            raise UserError(f"dataset.path: '{path}' contains a NUL character, which no path may; remove it")

    def check_competition(self) -> None:
        """Raise UserError unless the source is a competition, which takes submissions."""
        if not self.is_competition:
            users = list_names(lambda other: other.is_competition)
            raise UserError(f"dataset.source: a submission can be made for {users} only, not for '{self.name}'")


SOURCES: dict[str, Source] = {}


def source(name: str) -> Callable[[type[Source]], type[Source]]:
    """Return the decorator that registers a source under its name in the config."""

    def register(kind: type[Source]) -> type[Source]:
        SOURCES[name] = kind()
        SOURCES[name].name = name
        return kind

    return register


def by_strictness() -> list[Source]:
    """Return all sources, those first whose layout requires least."""
    return sorted(SOURCES.values(), key=lambda each: each.strictness)


def list_names(fits: Callable[[Source], bool], prefix: str = "") -> str:
    """Return how a sentence lists the sources that fit, such as ``'source: folder', 'kaggle' or 'cub'``."""
    first, *others = [each.name for each in by_strictness() if fits(each)]
    names = [f"'{prefix}{first}'", *(f"'{name}'" for name in others)]
    return " or ".join([", ".join(names[:-1]), names[-1]] if others else names)

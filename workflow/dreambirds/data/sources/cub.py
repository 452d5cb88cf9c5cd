"""The published layout of CUB-200-2011 and NABirds: tables, and a folder `images`."""

import logging
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dreambirds.data.labels import Label, make_labels
from dreambirds.data.names import readable
from dreambirds.data.sources.source import Photograph, Resource, Source, source
from dreambirds.data.sources.tree import Tree, find_below, where
from dreambirds.errors import UserError, counted

IMAGES, IMAGE_CLASSES, CLASSES = "images.txt", "image_class_labels.txt", "classes.txt"
SPLIT, BOXES = "train_test_split.txt", "bounding_boxes.txt"
PARTS = {"1": "train", "0": "validation"}
RESTORE = "restore the published file"
GONE = "listed in images.txt, but the file does not exist"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """One image of the tables: id, path below `images`, class number, and line."""

    id: str
    path: str
    number: int
    line: int


@source("cub")
class Cub(Source):
    """CUB-200-2011 and NABirds: `images.txt`, further tables, and a folder `images`."""

    strictness = 3
    has_boxes = True
    resource = Resource(
        name="cub",
        data="CUB-200-2011",
        size="1.15 GB",
        place="resources/cub/CUB_200_2011",
        signs={"resources/cub/CUB_200_2011/images.txt": "resources/cub/CUB_200_2011"},
        downloader="dreambirds.data.download.cub:fetch_cub",
        is_folder=True,
    )

    def find(self, path: Path) -> Tree | None:
        """Return the tree that contains `images.txt`, or None.

        It is at the path or in a subfolder of it. Raises UserError if one of the required tables is missing.
        """
        tree = find_below(Tree(path), lambda tree: tree.has(IMAGES))
        missing = [name for name in (IMAGE_CLASSES, CLASSES) if tree and not tree.has(name)]
        if missing:
            problem = f"'{missing[0]}' is missing next to '{tree.full_name(IMAGES)}'"
            raise UserError(f"dataset.path: {problem}; {RESTORE}")
        return tree

    def misfit(self, path: Path) -> str:
        """Return the end of an error: what was expected at the path."""
        files = f"'{IMAGES}', '{IMAGE_CLASSES}' and '{CLASSES}'"
        return f"must contain {files}" if path.exists() else f"does not exist; it must contain {files}"

    def labels(self, tree: Tree, dataset: dict) -> list[Label]:
        """Return the classes that have images, by number.

        Raises UserError, with file and line, for an invalid table.
        """
        if dataset["crop_margin"] is not None and not tree.has(BOXES):
            raise UserError(f"dataset.crop_margin: must be null, because '{tree.full_name(BOXES)}' does not exist")
        return list(_labels(*_read(tree)).values())

    def photographs(self, tree: Tree, dataset: dict, labels: list[Label]) -> list[Photograph]:
        """Return the photographs of these classes, by file.

        They have their part and box if the config requests these. An image whose file is missing has a `problem`.
        """
        rows, names = _read(tree)
        label_of = _labels(rows, names)
        if len(names) > len(label_of):
            log.info("skipped %s of '%s' without images", counted(len(names) - len(label_of), "class"), CLASSES)
        given, cropped = dataset["split"] == "given" and tree.has(SPLIT), dataset["crop_margin"] is not None
        parts = _of_images(tree, SPLIT, rows, _part) if given else {}
        boxes = _of_images(tree, BOXES, rows, _box) if cropped else {}
        existing = _existing_files(tree, rows)
        photographs: dict[Label, list[Photograph]] = {label: [] for label in labels}
        for row in sorted(rows, key=lambda row: row.path):
            if label_of[row.number] in photographs:
                label, problem = label_of[row.number], "" if row.path in existing else GONE
                file, _ = tree.locate(f"images/{row.path}")
                of_image = {"part": parts.get(row.id, ""), "box": boxes.get(row.id)}
                photographs[label].append(Photograph(label, file, **of_image, problem=problem))
        return [photograph for label in labels for photograph in photographs[label]]

    def tables(self, tree: Tree, dataset: dict) -> list[str]:
        """Return the tables that are read."""
        more = [SPLIT] if dataset["split"] == "given" else []
        more += [BOXES] if dataset["crop_margin"] is not None else []
        return [name for name in (IMAGES, IMAGE_CLASSES, CLASSES, *more) if tree.has(name)]


def _labels(rows: list[Row], names: dict[int, str]) -> dict[int, Label]:
    """Return the label of each class number that has images, by number."""
    folders: dict[int, str] = {}
    for row in rows:
        folders.setdefault(row.number, row.path.rpartition("/")[0])
    if len(set(folders.values()) - {""}) < len(folders):
        folders = {number: str(number) for number in folders}
    made = make_labels(_names(names[number], folders[number]) for number in sorted(folders))
    return dict(zip(sorted(folders), made, strict=True))


def _names(name: str, folder: str) -> tuple[str, str, str]:
    bare = re.sub(r"^\d+\.", "", name) or name
    return bare, readable(bare), folder


def _read(tree: Tree) -> tuple[list[Row], dict[int, str]]:
    """Return the images, and the names of all classes by number.

    Raises UserError for an image without a class.
    """
    classes = _read_table(tree, CLASSES, str, key=int)
    class_of = _read_table(tree, IMAGE_CLASSES, int)
    rows = []
    for key, (path, line) in _read_table(tree, IMAGES, _path).items():
        if key not in class_of:
            raise UserError(f"{where(tree, IMAGES, line)} image '{key}' has no class in '{IMAGE_CLASSES}'; {RESTORE}")
        number, class_line = class_of[key]
        if number not in classes:
            raise UserError(f"{where(tree, IMAGE_CLASSES, class_line)} class {number} is not in '{CLASSES}'; {RESTORE}")
        rows.append(Row(key, path, number, line))
    return rows, {number: name for number, (name, _) in classes.items()}


def _of_images(tree: Tree, name: str, rows: list[Row], parse: Callable[[str], Any]) -> dict[str, Any]:
    """Return a table's value for each image. Raises UserError if one is missing."""
    table = _read_table(tree, name, parse)
    for row in rows:
        if row.id not in table:
            raise UserError(f"{where(tree, IMAGES, row.line)} image '{row.id}' is not in '{name}'; {RESTORE}")
    return {key: value for key, (value, _) in table.items()}


def _read_table(tree: Tree, name: str, parse: Callable, key: Callable = str) -> dict[Any, tuple[Any, int]]:
    """Return {key: (value, line)} of a table with a key, spaces and a value per line.

    Raises UserError, with the line, if a line has another form or repeats a key.
    """
    table = {}
    for line, text in enumerate(tree.lines(name), 1):
        try:
            identifier, value = text.split(maxsplit=1)
            entry = key(identifier), parse(value.rstrip())
        except ValueError as error:
            problem = f"must be {FORMS[name]}, not '{text[:80]}'"
            raise UserError(f"{where(tree, name, line)} {problem}; {RESTORE}") from error
        if entry[0] in table:
            problem = f"'{identifier}' is already on line {table[entry[0]][1]}"
            raise UserError(f"{where(tree, name, line)} {problem}; {RESTORE}")
        table[entry[0]] = entry[1], line
    return table


def _path(value: str) -> str:
    if value.startswith("/") or ".." in value.split("/"):
        raise ValueError(value)
    return value


def _part(value: str) -> str:
    if value not in PARTS:
        raise ValueError(value)
    return PARTS[value]


def _box(value: str) -> tuple[float, float, float, float]:
    x, y, width, height = map(float, value.split())
    if not all(map(math.isfinite, (x, y))) or not (0 < width < math.inf and 0 < height < math.inf):
        raise ValueError(value)
    return x, y, width, height


def _existing_files(tree: Tree, rows: list[Row]) -> set[str]:
    folders = {row.path.rpartition("/")[0] for row in rows}
    return {
        f"{folder}/{file}" if folder else file
        for folder in folders
        for file in tree.listing(f"images/{folder}".rstrip("/"))[1]
    }


FORMS = {
    IMAGES: "an id and a path below 'images'",
    IMAGE_CLASSES: "an image's id and a class number",
    CLASSES: "a class number and a name",
    SPLIT: "an image's id and 1 (train) or 0 (validation)",
    BOXES: "an image's id and the box's x, y, width and height",
}

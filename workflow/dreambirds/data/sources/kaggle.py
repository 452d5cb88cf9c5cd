"""The CSE455 bird competition: numbered class folders and test images, or a zip."""

import csv
import logging
from collections.abc import Iterator
from pathlib import Path

from dreambirds.data.labels import Label, make_labels
from dreambirds.data.names import escaped, readable
from dreambirds.data.sources.source import Photograph, Resource, Source, source
from dreambirds.data.sources.tree import Tree, find_below, where
from dreambirds.errors import UserError, counted

NAMES, TABLE, SAMPLE = "names.txt", "labels.csv", "sample.csv"
TEST = Label("test", "test")
GONE = "listed in labels.csv, but the file does not exist"
log = logging.getLogger(__name__)


@source("kaggle")
class Kaggle(Source):
    """The CSE455 competition: `train/<class number>/`, `test`, and their tables."""

    strictness = 2
    is_competition = True
    resource = Resource(
        name="cse455",
        data="the CSE455 birds from Kaggle",
        size="several GB",
        place="resources/cse455/birds21sp.zip",
        signs={
            "resources/cse455/birds/train": "resources/cse455/birds",
            "resources/cse455/birds21sp.zip": "resources/cse455/birds21sp.zip",
        },
        downloader="dreambirds.data.download.kaggle:fetch_cse455",
    )

    def find(self, path: Path) -> Tree | None:
        """Return the tree that contains `train`, or None.

        It is at the path, in a subfolder of it, or in a zip. Raises OSError if that is a damaged zip.
        """
        return find_below(Tree(path, zipped=path.is_file()), lambda tree: bool(_numbers(tree)))

    def misfit(self, path: Path) -> str:
        """Return the end of an error: what was expected at the path."""
        layout = "a folder 'train' with one numbered subfolder per class ('train/0', 'train/1', …)"
        return (
            f"must contain {layout}, or be a zip of it"
            if path.exists()
            else f"does not exist; it must contain {layout}"
        )

    def labels(self, tree: Tree, dataset: dict) -> list[Label]:
        """Return the classes that have photographs, by number.

        Line n of `names.txt`, counted from 0, is the name of class n. Raises UserError for a number without a line. If
        the file is missing, the number is the name.
        """
        names = tree.lines(NAMES) if tree.has(NAMES) else None
        numbers = [number for number in _numbers(tree) if tree.files(f"train/{number}")]
        beyond = [number for number in numbers if names is not None and number >= len(names)]
        if beyond:
            folder = tree.full_name(f"train/{beyond[0]}")
            raise UserError(
                f"dataset.path: class {beyond[0]} ('{folder}') has no name, because '{NAMES}' has only "
                f"{counted(len(names), 'line')} and line 1 is class 0; add the missing lines"
            )
        return make_labels(_names(number, names) for number in numbers)

    def photographs(self, tree: Tree, dataset: dict, labels: list[Label]) -> list[Photograph]:
        """Return the photographs of these classes, including missing ones of `labels.csv`.

        The folder determines the class. The log records how many photographs have another class in the table, or are
        not listed.
        """
        table = _read_table(tree)
        found = {number: tree.files(f"train/{number}") for number in _numbers(tree)}
        _compare(table, found, tree)
        existing = {file for files in found.values() for file in files}
        missing: dict[int, list[str]] = {}
        for file in sorted(table.keys() - existing):
            missing.setdefault(table[file], []).append(file)
        photographs = []
        for label in labels:
            number = int(label.folder)
            for file in sorted([*found[number], *missing.get(number, [])]):
                problem = "" if file in existing else GONE
                photographs.append(Photograph(label, *tree.locate(f"train/{number}/{file}"), problem=problem))
        return photographs

    def count(self, tree: Tree, dataset: dict, labels: list[Label], enough: int) -> dict[Label, tuple[int, int]]:
        """Return the numbers of photographs of each class by their content, at most `enough`."""
        return {label: (tree.count_pictures(f"train/{label.folder}", enough), 0) for label in labels}

    def others(self, tree: Tree, dataset: dict, labels: list[Label]) -> list[str]:
        """Return the files in the folders of these classes that are left out without a row."""
        return [name for label in labels for name in tree.left_out(f"train/{label.folder}")]

    def tables(self, tree: Tree, dataset: dict) -> list[str]:
        """Return the tables that are read for training."""
        return [name for name in (NAMES, TABLE) if tree.has(name)]

    def tests(self, tree: Tree) -> list[tuple[str, Photograph]]:
        """Return the images to classify in the order of `sample.csv`.

        Each has its name in a submission. Without that table, these are all images below `test`, by name. An image that
        is listed but missing has a `problem`.
        """
        existing = {file: f"{folder}/{file}" for folder in _test_folders(tree) for file in tree.pictures(folder)}
        if not tree.has(SAMPLE):
            names = [f"test/{file}" for file in sorted(existing)]
        else:
            names = [name for _, name, _ in _rows(tree, SAMPLE)]
        if not names:
            problem = f"'{tree.full_name('')}' has no images to classify, neither in 'test' nor in '{SAMPLE}'"
            raise UserError(f"dataset.path: {problem}; add them")
        tests = []
        for name in names:
            file = name.rpartition("/")[2]
            problem = "" if file in existing else f"listed in {SAMPLE}, but the file does not exist"
            tests.append((name, Photograph(TEST, *tree.locate(existing.get(file, name)), problem=problem)))
        return tests

    def test_tables(self, tree: Tree) -> list[str]:
        """Return the table that lists the images to classify, if it exists."""
        return [SAMPLE] if tree.has(SAMPLE) else []


def _numbers(tree: Tree) -> list[int]:
    return sorted(int(name) for name in tree.listing("train")[0] if _is_number(name))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and str(int(text)) == text


def _names(number: int, names: list[str] | None) -> tuple[str, str, str]:
    name = (names[number].strip() if names else "") or str(number)
    return name, readable(name), str(number)


def _test_folders(tree: Tree) -> list[str]:
    return ["test", *(f"test/{name}" for name in tree.listing("test")[0])]


def _read_table(tree: Tree) -> dict[str, int]:
    if not tree.has(TABLE):
        return {}
    table = {}
    for line, name, number in _rows(tree, TABLE):
        if not _is_number(number):
            raise UserError(
                f"{where(tree, TABLE, line)} the class must be an integer, not '{number}'; correct the line"
            )
        table[name.rpartition("/")[2]] = int(number)
    return table


def _rows(tree: Tree, name: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line, file, class) of a table.

    The first line is a header unless it contains a class number.
    """
    reader = csv.reader(tree.lines(name), quoting=csv.QUOTE_NONE)
    for row in reader:
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) < 2 or not cells[0]:
            line = where(tree, name, reader.line_num)
            problem = f"must contain a file name and a class, not '{','.join(row)[:80]}'"
            raise UserError(f"{line} {problem}; correct the line")
        if reader.line_num > 1 or _is_number(cells[1]):
            yield reader.line_num, cells[0], cells[1]


def _compare(table: dict[str, int], found: dict[int, list[str]], tree: Tree) -> None:
    others = [name for name in tree.listing("train")[0] if not _is_number(name)]
    if others:
        names = ", ".join(map(escaped, others[:5]))
        log.info("skipped %s of 'train' not named by a class number: %s", counted(len(others), "subfolder"), names)
    if not table:
        return
    pairs = [(number, table.get(file)) for number, files in found.items() for file in files]
    unlisted = sum(listed is None for _, listed in pairs)
    different = sum(listed not in (None, number) for number, listed in pairs)
    if unlisted:
        log.info("the folder determines the class of %s not listed in '%s'", counted(unlisted, "image"), TABLE)
    if different:
        count = counted(different, "image")
        log.info("the folder determines the class of %s listed with another class in '%s'", count, TABLE)

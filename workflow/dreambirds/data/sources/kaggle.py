"""The CSE455 bird competition: numbered class folders, their names, and pictures to be classified; also as one zip."""

import csv
import logging
from collections.abc import Iterator
from pathlib import Path

from dreambirds.data.labels import Label, make_labels, readable, shown, unaccented
from dreambirds.data.sources.source import Photograph, Resource, Source, source
from dreambirds.data.sources.tree import Tree, find_below, where
from dreambirds.errors import UserError

NAMES, TABLE, SAMPLE = "names.txt", "labels.csv", "sample.csv"
TEST = Label("test", "test")
GONE = "labels.csv names the file, but there is none"
log = logging.getLogger(__name__)


@source("kaggle")
class Kaggle(Source):
    """The layout of the CSE455 competition: `train/<class number>/`, `test`, and the tables that belong to them."""

    strictness = 2
    is_competition = True
    resource = Resource(
        name="cse455",
        data="the CSE455 birds from Kaggle",
        size="gigabytes",
        place="resources/cse455/birds21sp.zip",
        signs={
            "resources/cse455/birds/train": "resources/cse455/birds",
            "resources/cse455/birds21sp.zip": "resources/cse455/birds21sp.zip",
        },
        downloader="dreambirds.data.download.kaggle:fetch_cse455",
    )

    def find(self, path: Path) -> Tree | None:
        """Return the tree that holds `train`: at the path, in a sub-folder of it, or in a zip; None if there is none.

        Raises OSError if it is a damaged zip.
        """
        return find_below(Tree(path, zipped=path.is_file()), lambda tree: bool(_numbers(tree)))

    def misfit(self, path: Path) -> str:
        """Return what was expected there."""
        what = "'train' folder with a class number a sub-folder ('train/0', 'train/1', …)"
        return f"holds no {what}, nor is it a zip of one" if path.exists() else f"is not there; it must hold a {what}"

    def labels(self, tree: Tree, dataset: dict) -> list[Label]:
        """Return the classes that have photographs, by number; `names.txt` names them, line by line from 0.

        Raises UserError if a number is beyond its lines. Without it the number is the name.
        """
        names = tree.lines(NAMES) if tree.has(NAMES) else None
        numbers = [number for number in _numbers(tree) if tree.photographs(f"train/{number}")]
        beyond = [number for number in numbers if names is not None and number >= len(names)]
        if beyond:
            place = tree.say(f"train/{beyond[0]}")
            raise UserError(
                f"dataset.path: '{place}' has no name, since '{NAMES}' has {len(names)} line(s), counted from 0"
            )
        return make_labels(_names(number, names) for number in numbers)

    def photographs(self, tree: Tree, dataset: dict, labels: list[Label]) -> list[Photograph]:
        """Return the photographs of these classes, and those that `labels.csv` names and that are not there.

        The folder says the class; how many the table puts elsewhere, or does not name, goes to the log.
        """
        table = _read_table(tree)
        found = {number: tree.photographs(f"train/{number}") for number in _numbers(tree)}
        _compare(table, found, tree)
        there = {file for files in found.values() for file in files}
        gone: dict[int, list[str]] = {}
        for file in sorted(table.keys() - there):
            gone.setdefault(table[file], []).append(file)
        photographs = []
        for label in labels:
            number = int(label.folder)
            for file in sorted([*found[number], *gone.get(number, [])]):
                problem = "" if file in there else GONE
                photographs.append(Photograph(label, *tree.place(f"train/{number}/{file}"), problem=problem))
        return photographs

    def tables(self, tree: Tree, dataset: dict) -> list[str]:
        """Return the tables that are read for training."""
        return [name for name in (NAMES, TABLE) if tree.has(name)]

    def tests(self, tree: Tree) -> list[tuple[str, Photograph]]:
        """Return the pictures to be classified, each with how a submission names it, in the order of `sample.csv`.

        Without that table: all below `test`, by name. One that is named and not there has a `problem`.
        """
        there = {file: f"{folder}/{file}" for folder in _test_folders(tree) for file in tree.photographs(folder)}
        if not tree.has(SAMPLE):
            named = [f"test/{file}" for file in sorted(there)]
        else:
            named = [name for _, name, _ in _rows(tree, SAMPLE)]
        if not named:
            raise UserError(
                f"dataset.path: '{tree.say('')}' has no pictures below 'test' and no '{SAMPLE}' to classify"
            )
        tests = []
        for name in named:
            file = name.rpartition("/")[2]
            problem = "" if file in there else f"{SAMPLE} names the file, but there is none"
            tests.append((name, Photograph(TEST, *tree.place(there.get(file, name)), problem=problem)))
        return tests

    def test_tables(self, tree: Tree) -> list[str]:
        """Return the table that names the pictures to be classified, if it is there."""
        return [SAMPLE] if tree.has(SAMPLE) else []


def _numbers(tree: Tree) -> list[int]:
    return sorted(int(name) for name in tree.listing("train")[0] if _is_number(name))


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdecimal() and str(int(word)) == word


def _names(number: int, names: list[str] | None) -> tuple[str, str, str]:
    name = (names[number].strip() if names else "") or str(number)
    return unaccented(name), readable(name), str(number)


def _test_folders(tree: Tree) -> list[str]:
    return ["test", *(f"test/{name}" for name in tree.listing("test")[0])]


def _read_table(tree: Tree) -> dict[str, int]:
    if not tree.has(TABLE):
        return {}
    table = {}
    for number, name, word in _rows(tree, TABLE):
        if not _is_number(word):
            raise UserError(f"{where(tree, TABLE, number)} the class must be a whole number, not '{word}'")
        table[name.rpartition("/")[2]] = int(word)
    return table


def _rows(tree: Tree, name: str) -> Iterator[tuple[int, str, str]]:
    """Return (line, file, class) of a table; its first line is a header unless it gives a class number."""
    reader = csv.reader(tree.lines(name), quoting=csv.QUOTE_NONE)
    for row in reader:
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if len(cells) < 2 or not cells[0]:
            place = where(tree, name, reader.line_num)
            raise UserError(f"{place} must hold a file's name and a class, not '{','.join(row)[:80]}'")
        if reader.line_num > 1 or _is_number(cells[1]):
            yield reader.line_num, cells[0], cells[1]


def _compare(table: dict[str, int], found: dict[int, list[str]], tree: Tree) -> None:
    strange = [name for name in tree.listing("train")[0] if not _is_number(name)]
    if strange:
        named = ", ".join(map(shown, strange[:5]))
        log.info("%d sub-folder(s) of train are no class number and left out: %s", len(strange), named)
    if not table:
        return
    pairs = [(number, table.get(file)) for number, files in found.items() for file in files]
    unnamed = sum(named is None for _, named in pairs)
    other = sum(named not in (None, number) for number, named in pairs)
    if unnamed:
        log.info("%d photograph(s) are not named in %s: their folder says the class", unnamed, TABLE)
    if other:
        log.info("%d photograph(s) have another class in %s: their folder says the class", other, TABLE)

"""Which classes a data set has, and which photographs, whatever the layout that its source comes in."""

from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from dreambirds.data.image_files import is_opened
from dreambirds.data.labels import Label, choose_labels
from dreambirds.data.sources import cub, folder, kaggle
from dreambirds.data.sources.source import Photograph
from dreambirds.data.sources.tree import Tree
from dreambirds.data.synthetic import SPECIES
from dreambirds.errors import UserError
from dreambirds.io import expand

LAYOUTS = {"kaggle": kaggle, "cub": cub, "folder": folder}


def list_labels(dataset: dict) -> list[Label]:
    """Return the classes that a study trains on, in the order of their class numbers.

    `dataset` is the config's section. Raises UserError if its path does not hold what its source asks for, or a
    wanted label is not there. Reads names and small tables only.
    """
    check_keys(dataset)
    _check_path(dataset)
    if dataset["source"] == "drawn":
        found = [Label(label, species.name) for label, species in SPECIES.items()]
    else:
        with _plain_errors(dataset):
            found = _layout(dataset).list_labels(_tree(dataset), dataset)
        if len(found) < 2:
            raise UserError(
                f"dataset.path: '{dataset['path']}' has photographs of {len(found)} class(es), not of 2 or more"
            )
    chosen = choose_labels(found, dataset["labels"], "dataset.labels")
    if len(chosen) < 2:
        raise UserError("dataset.labels: must name at least 2 classes, since a classifier has to tell them apart")
    return chosen


def list_photographs(dataset: dict, labels: list[Label]) -> list[Photograph]:
    """Return the photographs of these classes, by class and then by file; some are known to have a `problem`.

    `dataset` is the config's section, of any source but ``drawn``. What its tables and folders disagree on goes to the
    log. Raises UserError for a wrong table, and for a class with too few photographs or none to train on.
    """
    with _plain_errors(dataset):
        photographs = _layout(dataset).list_photographs(_tree(dataset), dataset, labels)
    _check_parts(photographs, labels, dataset)
    return photographs


def list_tests(dataset: dict) -> list[tuple[str, Photograph]]:
    """Return the competition's pictures to be classified, each with how a submission names it, in its order.

    Raises UserError for another source than ``kaggle``, or if there are none.
    """
    check_competition(dataset)
    with _plain_errors(dataset):
        return kaggle.list_tests(_tree(dataset))


def check_competition(dataset: dict) -> None:
    """Raise UserError unless the source is a competition, that takes submissions."""
    if dataset["source"] != "kaggle":
        raise UserError(f"dataset.source: a submission can be made for 'kaggle' only, not for '{dataset['source']}'")


def list_files(dataset: dict, labels: list[Label]) -> dict[str, Path]:
    """Return the photographs and tables that decide what is learnt from, by their names below the layout's root.

    A zip stands for all that it holds. Some may not be there, and what is never opened is left out.
    """
    with _plain_errors(dataset):
        tree = _tree(dataset)
        tables = _layout(dataset).list_tables(tree, dataset)
    return _by_name(tree, list_photographs(dataset, labels), tables)


def list_test_files(dataset: dict) -> dict[str, Path]:
    """Return likewise what decides a submission, beside the model."""
    tests = list_tests(dataset)
    with _plain_errors(dataset):
        tree = _tree(dataset)
        return _by_name(tree, [photograph for _, photograph in tests], list(filter(tree.has, [kaggle.SAMPLE])))


def _by_name(tree: Tree, photographs: list[Photograph], tables: list[str]) -> dict[str, Path]:
    if tree.zipped:
        return {tree.file.name: tree.file}
    files = [*(photograph.file for photograph in photographs), *(tree.place(name)[0] for name in tables)]
    return {str(file).removeprefix(f"{tree.file}/"): file for file in files if is_opened(file)}


def check_keys(dataset: dict) -> None:
    """Raise UserError unless the keys of the config's section fit its source, wherever the data lies."""
    if dataset["source"] != "cub" and dataset["crop_margin"] is not None:
        raise UserError(f"dataset.crop_margin: is only used with 'source: cub', not 'source: {dataset['source']}'")


def _check_path(dataset: dict) -> None:
    source, path = dataset["source"], dataset["path"]
    if source == "drawn" and path is not None:
        raise UserError("dataset.path: is only used with 'source: folder', 'kaggle' or 'cub', not 'source: drawn'")
    if source == "folder" and path is None:
        raise UserError("dataset.path: must name a folder with one sub-folder a class when 'source: folder' is set")
    if source in ("kaggle", "cub") and path is None:
        raise UserError(f"dataset.path: is null, and the data of 'source: {source}' must be fetched first")
    if path is not None and "\0" in path:
        raise UserError(f"dataset.path: '{path}' contains a NUL character, which no path may; remove it")


def _layout(dataset: dict) -> ModuleType:
    return LAYOUTS[dataset["source"]]


def _tree(dataset: dict) -> Tree:
    """Return where the source's layout lies. Raises UserError that says what was looked for."""
    path, source = expand(dataset["path"]), dataset["source"]
    tree = _layout(dataset).find(path)
    other = "" if tree and _is_filled(tree, source) else _recognize(path, source)
    if tree is None or other:
        told = _layout(dataset).misfit(path) if tree is None else "holds no photographs of classes"
        raise UserError(f"dataset.path: '{dataset['path']}' {told}{other}")
    return tree


def _is_filled(tree: Tree, source: str) -> bool:
    return source != "folder" or folder.holds_photographs(tree)


def _recognize(path: Path, source: str) -> str:
    """Return the sentence's end that says which other source's layout this is, nothing if none."""
    for name, layout in LAYOUTS.items():
        if name != source:
            try:
                tree = layout.find(path)
            except (UserError, OSError):
                continue
            if tree and _is_filled(tree, name):
                return f"; it looks like 'source: {name}'"
    return ""


@contextmanager
def _plain_errors(dataset: dict):
    """Turn what the file system says into a sentence."""
    try:
        yield
    except OSError as error:
        named = f" '{error.filename}'" if error.filename else ""
        reason = error.strerror or str(error)
        raise UserError(f"dataset.path: '{dataset['path']}' can't be read:{named} {reason}") from error


def _check_parts(photographs: list[Photograph], labels: list[Label], dataset: dict) -> None:
    parts: dict[Label, list[str]] = {label: [] for label in labels}
    for photograph in photographs:
        if not photograph.problem:
            parts[photograph.label].append(photograph.part)
    for label, found in parts.items():
        if set(found) == {"validation"}:
            raise UserError(
                f"dataset.path: class '{label.label}' has photographs to validate with, and none to train on; set "
                "dataset.split to random, or leave it out of dataset.labels"
            )
    few = [label for label, found in parts.items() if len(found) < 2 and "train" not in found]
    if few:
        count, more = len(parts[few[0]]), f", and {len(few) - 1} more have too few" if len(few) > 1 else ""
        raise UserError(
            f"dataset.path: class '{few[0].folder}' in '{dataset['path']}' has {count} photograph(s){more}; "
            "at least 2 JPEG, PNG or WebP files are needed; add some, or leave the class out of dataset.labels"
        )

"""List the classes, images and files of a data set, whatever its source.

Each function takes the config's section ``dataset`` with all defaults. This module imports all others of the package,
so that each registers its source. None of them imports torch.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from dreambirds.data import sources
from dreambirds.data.image_files import is_opened
from dreambirds.data.labels import Label, choose_labels
from dreambirds.data.sources.source import SOURCES, Drawing, Photograph, Resource, Source, by_strictness
from dreambirds.data.sources.tree import Tree
from dreambirds.errors import UserError
from dreambirds.io import expand

for module in iter_modules(sources.__path__):
    import_module(f"{sources.__name__}.{module.name}")
RESOURCES: dict[str, Resource] = {name: source.resource for name, source in SOURCES.items() if source.resource}


def check_keys(dataset: dict) -> None:
    """Raise UserError unless the keys of the section fit its source, wherever the data lies."""
    SOURCES[dataset["source"]].check_keys(dataset)


def list_labels(dataset: dict) -> list[Label]:
    """Return the classes that a study trains on, in the order of their class numbers.

    Raises UserError if the path does not hold what the source requires, or a wanted label is not there. Reads names and
    small tables only.
    """
    source = SOURCES[dataset["source"]]
    source.check_keys(dataset)
    source.check_path(dataset["path"])
    with _plain_errors(dataset):
        found = source.labels(_find(source, dataset), dataset)
    if len(found) < 2:
        raise UserError(
            f"dataset.path: '{dataset['path']}' has photographs of {len(found)} class(es), not of 2 or more"
        )
    chosen = choose_labels(found, dataset["labels"], "dataset.labels")
    if len(chosen) < 2:
        raise UserError("dataset.labels: must name at least 2 classes, since a classifier has to tell them apart")
    return chosen


def list_photographs(dataset: dict, labels: list[Label]) -> list[Photograph] | list[Drawing]:
    """Return the images of these classes, by class and then by file; some are known to have a `problem`.

    The log records where tables and folders disagree. Raises UserError for a wrong table, and for a class with too few
    photographs or none to train on.
    """
    source = SOURCES[dataset["source"]]
    with _plain_errors(dataset):
        photographs = source.photographs(_find(source, dataset), dataset, labels)
    _check_parts(photographs, labels, dataset)
    return photographs


def list_files(dataset: dict, labels: list[Label]) -> dict[str, Path]:
    """Return the photographs and tables that decide what is learnt, by their names below the layout's root.

    A zip stands for all that it contains. Some may not be there; files that are never opened are left out. A source
    that reads nothing has none.
    """
    source = SOURCES[dataset["source"]]
    with _plain_errors(dataset):
        tree = _find(source, dataset)
        tables = source.tables(tree, dataset) if tree else []
    return _by_name(tree, list_photographs(dataset, labels), tables) if tree else {}


def check_competition(dataset: dict) -> None:
    """Raise UserError unless the source is a competition, which takes submissions."""
    SOURCES[dataset["source"]].check_competition()


def list_tests(dataset: dict) -> list[tuple[str, Photograph]]:
    """Return the competition's test images, each with its name in a submission, in the submission's order.

    Raises UserError if the source is not a competition, or if there are none.
    """
    source = SOURCES[dataset["source"]]
    source.check_competition()
    with _plain_errors(dataset):
        return source.tests(_find(source, dataset))


def list_test_files(dataset: dict) -> dict[str, Path]:
    """Return the test images and tables that decide a submission besides the model, as `list_files` does."""
    source, tests = SOURCES[dataset["source"]], list_tests(dataset)
    with _plain_errors(dataset):
        tree = _find(source, dataset)
        return _by_name(tree, [photograph for _, photograph in tests], source.test_tables(tree))


def _by_name(tree: Tree, photographs: list[Photograph], tables: list[str]) -> dict[str, Path]:
    if tree.zipped:
        return {tree.file.name: tree.file}
    files = [*(photograph.file for photograph in photographs), *(tree.place(name)[0] for name in tables)]
    return {str(file).removeprefix(f"{tree.file}/"): file for file in files if is_opened(file)}


def _find(source: Source, dataset: dict) -> Tree | None:
    """Return where the source's layout lies, None if it needs no path. Raises UserError with what was expected."""
    if not source.needs_path:
        return None
    path = expand(dataset["path"])
    tree = source.find(path)
    other = "" if tree and source.has_photographs(tree) else _recognize(path, source)
    if tree is None or other:
        reason = source.misfit(path) if tree is None else "holds no photographs of classes"
        raise UserError(f"dataset.path: '{dataset['path']}' {reason}{other}")
    return tree


def _recognize(path: Path, source: Source) -> str:
    """Return the end of a sentence that names the other source whose layout this is, empty if there is none."""
    for other in reversed(by_strictness()):
        if other is not source:
            try:
                tree = other.find(path)
            except (UserError, OSError):
                continue
            if tree and other.has_photographs(tree):
                return f"; it looks like 'source: {other.name}'"
    return ""


@contextmanager
def _plain_errors(dataset: dict) -> Iterator[None]:
    """Turn an OSError into a UserError of one sentence."""
    try:
        yield
    except OSError as error:
        named = f" '{error.filename}'" if error.filename else ""
        reason = error.strerror or str(error)
        raise UserError(f"dataset.path: '{dataset['path']}' can't be read:{named} {reason}") from error


def _check_parts(photographs: list[Photograph] | list[Drawing], labels: list[Label], dataset: dict) -> None:
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


def missing(config: Mapping) -> Resource | None:
    """Return what a study must download before its classes can be known; None if it names its data, or has it."""
    dataset = config.get("dataset")
    source = dataset.get("source") if isinstance(dataset, Mapping) else None
    resource = RESOURCES.get(source) if isinstance(source, str) else None
    return None if resource is None or dataset.get("path") is not None or resource.found() else resource


def locate(config: dict) -> dict:
    """Return a checked config whose `dataset.path` is filled in where its data has been downloaded."""
    dataset = config["dataset"]
    resource = RESOURCES.get(dataset["source"])
    if resource is None or dataset["path"] is not None:
        return config
    return {**config, "dataset": {**dataset, "path": resource.found()}}

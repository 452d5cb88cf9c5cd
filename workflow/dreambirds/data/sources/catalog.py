"""List the classes, images and files of a data set, for any source.

Each function takes the config's section ``dataset`` with all defaults. This module imports all other modules of the
package, so that each registers its source. None of them imports torch.
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
from dreambirds.errors import UserError, counted, reason_of, remedy_for
from dreambirds.io import expand

for module in iter_modules(sources.__path__):
    import_module(f"{sources.__name__}.{module.name}")
RESOURCES: dict[str, Resource] = {name: source.resource for name, source in SOURCES.items() if source.resource}


def check_keys(dataset: dict) -> None:
    """Raise UserError unless the keys of the section fit its source."""
    SOURCES[dataset["source"]].check_keys(dataset)


def has_photographs(dataset: object) -> bool:
    """Return whether a section, which may not be checked yet, has a source with images."""
    name = dataset.get("source") if isinstance(dataset, Mapping) else None
    return not isinstance(name, str) or name not in SOURCES or SOURCES[name].has_images


def list_labels(dataset: dict) -> list[Label]:
    """Return the classes that a study trains on, in the order of their class numbers.

    Raises UserError if the path does not have the layout of the source, or a requested label does not exist. Reads only
    file names and small tables.
    """
    source = SOURCES[dataset["source"]]
    source.check_keys(dataset)
    source.check_path(dataset["path"])
    with _user_errors(dataset):
        found = source.labels(_find(source, dataset), dataset)
    if len(found) < 2:
        problem = f"'{dataset['path']}' contains images of {counted(len(found), 'class')}, but at least 2 are needed"
        raise UserError(f"dataset.path: {problem}; add another class, or set another path")
    chosen = choose_labels(found, dataset["labels"], "dataset.labels")
    if len(chosen) < 2:
        raise UserError("dataset.labels: must name at least 2 classes, because a classifier distinguishes classes")
    return chosen


def list_photographs(dataset: dict, labels: list[Label]) -> list[Photograph] | list[Drawing]:
    """Return the images of these classes, sorted by class and then by file.

    An image that is known to be unreadable has a `problem`. The log records where tables and folders disagree. Raises
    UserError for an invalid table, and for a class with too few photographs or none for training, unless the source has
    no images at all.
    """
    source = SOURCES[dataset["source"]]
    with _user_errors(dataset):
        photographs = source.photographs(_find(source, dataset), dataset, labels)
    if source.has_images:
        _check_parts(photographs, labels, dataset)
    return photographs


def list_files(dataset: dict, labels: list[Label]) -> dict[str, Path]:
    """Return the photographs and tables that training depends on, by relative name.

    Names are relative to the layout's root. A zip represents all files that it contains. Some files may not exist;
    files that are never opened are excluded. A source that reads no files has none.
    """
    source = SOURCES[dataset["source"]]
    with _user_errors(dataset):
        tree = _find(source, dataset)
        tables = source.tables(tree, dataset) if tree else []
    return _by_name(tree, list_photographs(dataset, labels), tables) if tree else {}


def check_competition(dataset: dict) -> None:
    """Raise UserError unless the source is a competition that accepts submissions."""
    SOURCES[dataset["source"]].check_competition()


def list_tests(dataset: dict) -> list[tuple[str, Photograph]]:
    """Return the competition's test images in the order of a submission.

    Each has its name in the submission. Raises UserError if the source is not a competition, or has no test images.
    """
    source = SOURCES[dataset["source"]]
    source.check_competition()
    with _user_errors(dataset):
        return source.tests(_find(source, dataset))


def list_test_files(dataset: dict) -> dict[str, Path]:
    """Return the test images and tables of a submission, like `list_files`."""
    source, tests = SOURCES[dataset["source"]], list_tests(dataset)
    with _user_errors(dataset):
        tree = _find(source, dataset)
        return _by_name(tree, [photograph for _, photograph in tests], source.test_tables(tree))


def _by_name(tree: Tree, photographs: list[Photograph], tables: list[str]) -> dict[str, Path]:
    if tree.zipped:
        return {tree.file.name: tree.file}
    files = [*(photograph.file for photograph in photographs), *(tree.locate(name)[0] for name in tables)]
    return {str(file).removeprefix(f"{tree.file}/"): file for file in files if is_opened(file)}


def _find(source: Source, dataset: dict) -> Tree | None:
    """Return the tree with the source's layout, or None if the source needs no path.

    Raises UserError, with the expected layout, if there is none.
    """
    if not source.needs_path:
        return None
    path = expand(dataset["path"])
    tree = source.find(path)
    other = "" if tree and source.has_photographs(tree) else _recognize(path, source)
    if tree is None or other:
        reason = source.misfit(path) if tree is None else "contains no images in its class folders"
        raise UserError(f"dataset.path: '{dataset['path']}' {reason}{other}")
    return tree


def _recognize(path: Path, source: Source) -> str:
    """Return the end of an error that names the source with this layout, or ''."""
    for other in reversed(by_strictness()):
        if other is not source:
            try:
                tree = other.find(path)
            except (UserError, OSError):
                continue
            if tree and other.has_photographs(tree):
                return f"; it has the layout of '{other.name}': set dataset.source to {other.name}"
    return ""


@contextmanager
def _user_errors(dataset: dict) -> Iterator[None]:
    """Turn an OSError into a UserError about `dataset.path`."""
    try:
        yield
    except OSError as error:
        problem = f"cannot read '{error.filename or dataset['path']}' ({reason_of(error)})"
        fix = f"{remedy_for(error, '')}, or " if remedy_for(error, "") else ""
        raise UserError(f"dataset.path: {problem}; {fix}set another path") from error


def _check_parts(photographs: list[Photograph] | list[Drawing], labels: list[Label], dataset: dict) -> None:
    parts: dict[Label, list[str]] = {label: [] for label in labels}
    for photograph in photographs:
        if not photograph.problem:
            parts[photograph.label].append(photograph.part)
    for label, found in parts.items():
        if set(found) == {"validation"}:
            raise has_no_training(label)
    few = [label for label, found in parts.items() if len(found) < 2 and "train" not in found]
    if few:
        more = f" (also too few in {counted(len(few) - 1, 'more class')})" if len(few) > 1 else ""
        raise has_too_few(few[0], len(parts[few[0]]), dataset, more)


def has_no_training(label: Label, note: str = "") -> UserError:
    """Return the error for a class whose readable images are all for validation."""
    return UserError(
        f"dataset.split: class '{label.label}' has images for validation but none for training{note}; set it to "
        "random, or remove the class from dataset.labels"
    )


def has_too_few(label: Label, count: int, dataset: dict, note: str) -> UserError:
    """Return the error for a class with `count` readable images, too few for training."""
    return UserError(
        f"dataset.path: class '{label.label}' has {counted(count, 'readable image')} in '{dataset['path']}'{note}, but "
        "at least 2 JPEG, PNG or WebP files are needed; add some, or remove the class from dataset.labels"
    )


def missing(config: Mapping) -> Resource | None:
    """Return the resource that a study must download before its classes are known.

    Return None if the config sets the path of the data, or if the data is already downloaded.
    """
    dataset = config.get("dataset")
    source = dataset.get("source") if isinstance(dataset, Mapping) else None
    resource = RESOURCES.get(source) if isinstance(source, str) else None
    return None if resource is None or dataset.get("path") is not None or resource.found() else resource


def locate(config: dict) -> dict:
    """Return a checked config with `dataset.path` set if its data was downloaded."""
    dataset = config["dataset"]
    resource = RESOURCES.get(dataset["source"])
    if resource is None or dataset["path"] is not None:
        return config
    return {**config, "dataset": {**dataset, "path": resource.found()}}

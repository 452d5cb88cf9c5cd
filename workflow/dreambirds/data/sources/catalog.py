"""List the classes, images and files of a data set, for any source.

Each function takes the config's section ``dataset`` with all defaults. This module imports all other modules of the
package, so that each registers its source. None of them imports torch.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from dreambirds.data import sources
from dreambirds.data.image_files import is_opened
from dreambirds.data.labels import Label
from dreambirds.data.names import escaped, folded
from dreambirds.data.sources.classes import is_left_out, remedy_for_few, shortened, survey, too_few_classes
from dreambirds.data.sources.layout import find_tree, user_errors
from dreambirds.data.sources.source import SOURCES, Drawing, Photograph, Resource
from dreambirds.data.sources.tree import Tree
from dreambirds.errors import counted
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

    Classes with fewer photographs than `min_photographs`, or none for training, are left out. Raises UserError if the
    path does not have the layout of the source, if a requested label does not exist or is left out, or if fewer than
    two classes remain. Reads file names and small tables, and the first bytes of a few files of each class.
    """
    chosen, few = survey(dataset)
    if few and isinstance(dataset["labels"], list):
        raise is_left_out(*next(iter(few.items())), dataset, "dataset.labels")
    kept = [label for label in chosen if label not in few]
    if len(kept) < 2:
        raise too_few_classes(kept, few, dataset)
    return kept


def refuse_left_out(dataset: dict, labels: list[Label], requested: list[str] | str | None) -> None:
    """Raise UserError if `dreams.labels` requests a class that is left out of the data set, unlike `labels`."""
    known = {folded(name) for label in labels for name in _names(label)}
    unknown = {folded(name) for name in requested} - known if isinstance(requested, list) else set()
    if unknown and SOURCES[dataset["source"]].needs_path:
        for label, reason in survey(dataset)[1].items():
            if unknown & set(map(folded, _names(label))):
                raise is_left_out(label, reason, dataset, "dreams.labels")


def _names(label: Label) -> list[str]:
    return [label.label, label.name, label.folder or label.name]


def left_out(dataset: dict) -> list[str]:
    """Return sentences about the classes, folders and photographs that are left out, or used in an unexpected way."""
    source = SOURCES[dataset["source"]]
    if not source.needs_path:
        return []
    _, few = survey(dataset)
    with user_errors(dataset):
        tree = find_tree(source, dataset)
        notes = source.notes(tree, dataset)
        if not tree.is_at(expand(dataset["path"])):
            notes.insert(0, f"the class folders are in '{escaped(tree.full_name(''))}'")
    by_reason: dict[str, list[str]] = {}
    for label, reason in few.items():
        by_reason.setdefault(reason, []).append(f"'{escaped(label.folder or label.label)}'")
    lines = [
        f"left out {counted(len(names), 'class')} with {reason}: {shortened(names)}"
        for reason, names in by_reason.items()
    ]
    return [
        f"{line}{remedy_for_few(few, reason, dataset)}" for line, reason in zip(lines, by_reason, strict=True)
    ] + notes


def list_photographs(dataset: dict, labels: list[Label]) -> list[Photograph] | list[Drawing]:
    """Return the files of these classes that may be photographs, sorted by class and then by file; or drawings.

    An image that is known to be unreadable has a `problem`. The log records where tables and folders disagree. Raises
    UserError for an invalid table.
    """
    source = SOURCES[dataset["source"]]
    with user_errors(dataset):
        return source.photographs(find_tree(source, dataset), dataset, labels)


def count_others(dataset: dict, labels: list[Label]) -> int:
    """Return how many files and folders of these classes are left out without a row, such as hidden ones."""
    source = SOURCES[dataset["source"]]
    with user_errors(dataset):
        return len(source.others(find_tree(source, dataset), dataset, labels)) if source.needs_path else 0


def list_files(dataset: dict, labels: list[Label]) -> dict[str, Path]:
    """Return the photographs and tables that training depends on, by relative name.

    Names are relative to the layout's root. A zip represents all files that it contains. Some files may not exist;
    files that are never opened are excluded. A source that reads no files has none.
    """
    source = SOURCES[dataset["source"]]
    with user_errors(dataset):
        tree = find_tree(source, dataset)
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
    with user_errors(dataset):
        return source.tests(find_tree(source, dataset))


def list_test_files(dataset: dict) -> dict[str, Path]:
    """Return the test images and tables of a submission, like `list_files`."""
    source, tests = SOURCES[dataset["source"]], list_tests(dataset)
    with user_errors(dataset):
        tree = find_tree(source, dataset)
        return _by_name(tree, [photograph for _, photograph in tests], source.test_tables(tree))


def _by_name(tree: Tree, photographs: list[Photograph], tables: list[str]) -> dict[str, Path]:
    if tree.zipped:
        return {tree.file.name: tree.file}
    files = [*(photograph.file for photograph in photographs), *(tree.locate(name)[0] for name in tables)]
    return {str(file).removeprefix(f"{tree.file}/"): file for file in files if is_opened(file)}


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

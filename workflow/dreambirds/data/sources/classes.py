"""The classes of a data set: those that have enough photographs, and those that are left out."""

from pathlib import Path

from dreambirds.data.labels import Label, choose_labels
from dreambirds.data.names import escaped
from dreambirds.data.sources.layout import find_tree, user_errors
from dreambirds.data.sources.source import SOURCES
from dreambirds.errors import UserError, counted

MOST_LISTED = 5  # names in a sentence


def survey(dataset: dict) -> tuple[list[Label], dict[Label, str]]:
    """Return the requested classes, and what those that are left out have, such as ``1 photograph``.

    Raises UserError as `list_labels` does.
    """
    source = SOURCES[dataset["source"]]
    source.check_keys(dataset)
    source.check_path(dataset["path"])
    with user_errors(dataset):
        tree = find_tree(source, dataset)
        found = source.labels(tree, dataset)
        if len(found) < 2:
            contents = f"'{dataset['path']}' contains images of {counted(len(found), 'class')}"
            problem = f"{contents}, but at least 2 are needed"
            raise UserError(f"dataset.path: {problem}; add another class, or set another path")
        chosen = choose_labels(found, dataset["labels"], "dataset.labels")
        if len(chosen) < 2:
            raise UserError("dataset.labels: must name at least 2 classes, because a classifier distinguishes classes")
        if not source.needs_path:
            return chosen, {}
        least = dataset["min_photographs"]
        counts = source.count(tree, dataset, chosen, least)
    few = {label: _shortage(*counts[label], least) for label in chosen}
    return chosen, {label: reason for label, reason in few.items() if reason}


def _shortage(training: int, validation: int, least: int) -> str:
    """Return what a class with too few photographs has, '' for another one."""
    if not training + validation:
        return "no photograph"
    if not training:
        return "no photograph for training"
    return "" if training + validation >= least else counted(training + validation, "photograph")


def is_left_out(label: Label, reason: str, dataset: dict, key: str) -> UserError:
    """Return the error for a class that the config requests under `key`, and that is left out."""
    where = f"class '{escaped(label.folder or label.label)}' has {reason} in '{dataset['path']}'"
    return UserError(f"{where}{remedy_for_few({label: reason}, reason, dataset)}, or remove it here", key)


def remedy_for_few(few: dict[Label, str], reason: str, dataset: dict) -> str:
    """Return the end of a sentence about classes that are left out for a reason: what to do."""
    if reason == "no photograph":
        source = SOURCES[dataset["source"]]
        with user_errors(dataset):
            tree = find_tree(source, dataset)
            first = [label for label, other in few.items() if other == reason][:MOST_LISTED]
            inner = [name for label in first for name in source.deeper(tree, label)]
            instead = source.instead(tree, first[0])
        if inner:
            return f", whose photographs are in folders such as '{escaped(inner[0])}'; move these up to use them"
        return f"{f' ({instead})' if instead else ''}; add some to use {'it' if len(few) == 1 else 'them'}"
    if reason == "no photograph for training":
        return "; add some, or set dataset.split to random"
    return f", fewer than dataset.min_photographs ({dataset['min_photographs']}); add some, or set that to 1"


def too_few_classes(kept: list[Label], few: dict[Label, str], dataset: dict) -> UserError:
    """Return the error for a data set with fewer than two classes that have enough photographs."""
    source, path = SOURCES[dataset["source"]], dataset["path"]
    with user_errors(dataset):
        tree = find_tree(source, dataset)
        inner = {label: names for label in few if (names := source.deeper(tree, label))}
        empty = [label for label, reason in few.items() if reason == "no photograph"]
        instead = next(filter(None, (source.instead(tree, label) for label in empty)), "")
    if inner and not kept:
        usable = [label for label, names in inner.items() if len(names) > 1]
        listed = [label.folder or "" for label in usable] or [name for names in inner.values() for name in names]
        folders = shortened([f"'{escaped(str(Path(path, name)))}'" for name in listed])
        remedy = f"set the path to {folders}" if usable else f"move the folders of all classes into one: {folders}"
        return UserError(f"dataset.path: '{path}' has its photographs one level deeper, not in its folders; {remedy}")
    names = [f"'{escaped(label.folder or label.label)}' has {reason}" for label, reason in few.items()]
    enough = f"{counted(len(kept), 'class')} with at least {counted(dataset['min_photographs'], 'photograph')}"
    about = f"{shortened(names)}{f': {instead}' if instead else ''}"
    return UserError(
        f"dataset.path: '{path}' contains {enough}, but at least 2 are needed ({about}); add photographs "
        "such as JPEG, PNG or WebP files, or set another path"
    )


def shortened(names: list[str]) -> str:
    """Return the first few names, and the number of the others."""
    more = len(names) - MOST_LISTED
    return ", ".join(names[:MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def has_no_readable(label: Label, dataset: dict, note: str) -> UserError:
    """Return the error for a class whose photographs for training all turn out to be unreadable."""
    listed = f"class '{label.label}' has no readable photograph for training in '{dataset['path']}'"
    return UserError(
        f"dataset.path: {listed}{note}; replace its files, move its folder away, or list the other classes in "
        "dataset.labels"
    )

"""The classes of a data set: their order, their names for people, and their names for paths."""

import re
from dataclasses import dataclass
from pathlib import Path

from dreambirds.data.drawn import SPECIES
from dreambirds.errors import StudyError, nearest


@dataclass(frozen=True)
class Label:
    """One class: `label` is safe in a path and unique, `name` is for people, `folder` is where its pictures lie."""

    label: str
    name: str
    folder: str | None = None


def list_labels(dataset: dict) -> list[Label]:
    """Return the classes that a study trains on, in the order of their class numbers.

    `dataset` is the config's section. Raises StudyError if its path holds no class folders or a wanted label is
    not there. Reads folder names only.
    """
    if dataset["source"] == "drawn" and dataset["path"] is not None:
        raise StudyError("dataset.path: is only used with 'source: folder', not 'source: drawn'")
    found = _drawn() if dataset["source"] == "drawn" else _folders(dataset["path"])
    chosen = choose(found, dataset["labels"], "dataset.labels")
    if len(chosen) < 2:
        raise StudyError("dataset.labels: must name at least 2 classes, since a classifier has to tell them apart")
    return chosen


def choose(labels: list[Label], wanted: list[str] | None, where: str) -> list[Label]:
    """Return those of `labels` that are wanted, by folder, label or name, in the order of `labels`; None wants all."""
    if wanted is None:
        return labels
    known: dict[str, Label] = {}
    for kind in ("folder", "label", "name"):
        for label in labels:
            known.setdefault(getattr(label, kind), label)
    for word in wanted:
        if word not in known:
            raise StudyError(f"{where}: unknown label '{word}'; {nearest(word, [label.label for label in labels])}")
    chosen = {known[word] for word in wanted}
    return [label for label in labels if label in chosen]


def _drawn() -> list[Label]:
    return [Label(label, species.name) for label, species in SPECIES.items()]


def _folders(path: str | None) -> list[Label]:
    if path is None:
        raise StudyError("dataset.path: must name a folder with one sub-folder a class when 'source: folder' is set")
    root = Path(path).expanduser()
    if not root.is_dir():
        raise StudyError(f"dataset.path: '{path}' is {'a file, not' if root.exists() else 'not'} a folder")
    folders = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if len(folders) < 2:
        raise StudyError(f"dataset.path: '{path}' must hold at least 2 sub-folders, one a class; it has {len(folders)}")
    labels, taken = [], set()
    for folder in folders:
        label = _safe(folder, taken)
        taken.add(label.casefold())
        labels.append(Label(label, re.sub(r"[\s_]+", " ", folder).strip() or label, folder))
    return labels


def _safe(folder: str, taken: set[str]) -> str:
    """Return the folder's name as a path may hold it, made unique also where upper and lower case are the same."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", folder).strip("_-")[:64] or "class"
    label, number = stem, 2
    while label.casefold() in taken:
        label, number = f"{stem}_{number}", number + 1
    return label

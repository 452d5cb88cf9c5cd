"""The classes of a data set: their names for people, and their names for paths."""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from dreambirds.errors import StudyError, nearest


@dataclass(frozen=True)
class Label:
    """One class: `label` is safe in a path and unique, `name` is for people, `folder` is what its source calls it.

    That is the folder where its pictures lie, the class number of a competition, or None for drawn birds.
    """

    label: str
    name: str
    folder: str | None = None


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


def make_labels(names: Iterable[tuple[str, str, str]]) -> list[Label]:
    """Return the labels of classes that are given as (what the label is made from, name for people, folder).

    Labels stay apart also where upper and lower case are the same.
    """
    labels, taken = [], set()
    for word, name, folder in names:
        label = _safe(word, taken)
        taken.add(label.casefold())
        labels.append(Label(label, name or label, folder))
    return labels


def readable(word: str) -> str:
    """Return a name for people: underscores are spaces."""
    return re.sub(r"[\s_]+", " ", word).strip()


def unaccented(name: str) -> str:
    """Return the name with its accents taken off, so that a label keeps the letters below them."""
    letters = unicodedata.normalize("NFKD", name)
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def _safe(word: str, taken: set[str]) -> str:
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", word).strip("_-")[:64] or "class"
    label, number = stem, 2
    while label.casefold() in taken:
        label, number = f"{stem}_{number}", number + 1
    return label

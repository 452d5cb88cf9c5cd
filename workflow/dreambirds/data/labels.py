"""The classes of a data set: their names for people, and their names for paths."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from dreambirds.errors import StudyError, nearest, one_line


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
    labels, taken, counts = [], set(), Counter()
    for word, name, folder in names:
        label = _safe(word, taken, counts)
        taken.add(label.casefold())
        labels.append(Label(label, name or label, folder))
    return labels


def readable(word: str) -> str:
    """Return a name for people: underscores are spaces, and it is shown as `shown` does."""
    return shown(re.sub(r"[\s_]+", " ", word).strip())


def shown(name: str) -> str:
    """Return the name of a file or a folder on one line; what is no letter is shown with backslashes.

    That is line breaks, terminal codes, and bytes that are no UTF-8.
    """
    return one_line(os.fsencode(name).decode(errors="backslashreplace"))


def unaccented(name: str) -> str:
    """Return the name with its accents taken off, so that a label keeps the letters below them."""
    letters = unicodedata.normalize("NFKD", name)
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def _safe(word: str, taken: set[str], counts: Counter[str]) -> str:
    """Return a label that is not taken; `counts` are the numbers that stems have come to, so none is tried twice."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", word).strip("_-")[:64] or "class"
    label, key = stem, stem.casefold()
    while label.casefold() in taken:
        counts[key] += 1
        label = f"{stem}_{counts[key] + 1}"
    return label

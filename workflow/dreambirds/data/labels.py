"""The classes of a data set: labels for paths, names for people, and how names match."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dreambirds.errors import UserError, did_you_mean, one_line


@dataclass(frozen=True)
class Label:
    """One class: `label` is safe in a path and unique, `name` is for people, `folder` is what its source calls it.

    That is the folder where its pictures lie, the class number of a competition, or None for drawn birds.
    """

    label: str
    name: str
    folder: str | None = None


def choose_labels(labels: list[Label], wanted: list[str] | None, where: str) -> list[Label]:
    """Return those of `labels` that are wanted, by folder, label or name, in the order of `labels`; None wants all."""
    if wanted is None:
        return labels
    known: dict[str, Label] = {}
    for kind in ("folder", "label", "name"):
        for label in labels:
            known.setdefault(getattr(label, kind), label)
    for word in wanted:
        if word not in known:
            raise UserError(f"{where}: unknown label '{word}'; {did_you_mean(word, [label.label for label in labels])}")
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


def read_names(path: Path) -> list[str]:
    """Return a file's lines, the names of classes in order; bytes that are not UTF-8 are replaced.

    Raises UserError, of the key ``labels``, if there is no name in it.
    """
    try:
        names = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"'{path}' can't be read ({error.strerror})", "labels") from error
    if not any(name.strip() for name in names):
        raise UserError(f"'{path}' holds no name", "labels")
    return names


def match_classes(labels: list[Label], classes: list[str], names: dict[str, str]) -> dict[str, int]:
    """Return the place among a judge's classes of each of the study's that it knows, by label.

    A class is found under the study's label or name for it, or under what `names` says instead; letters and digits
    count, whatever their case and accents. The judge's name may be the whole of its line, or the part before or in
    brackets: ``Cyanocitta cristata (Blue Jay)``. What is found twice is not known. Raises UserError if `names` says
    what is nowhere to be found, and if no class of the study is known.
    """
    check_labels(labels, names)
    found, places = _places(classes), {}
    for label in labels:
        called = [names[label.label]] if label.label in names else [label.label, label.name]
        known = [found[word] for word in map(_plain, called) if word in found]
        if label.label in names and not known:
            raise UserError(
                f"the judge has no class '{called[0]}'; {did_you_mean(called[0], classes)}", f"names.{label.label}"
            )
        if known and len(known[0]) == 1:
            places[label.label] = known[0][0]
    if not places:
        raise UserError("the judge knows none of the study's classes by name; say what it calls them", "names")
    return places


def check_labels(labels: list[Label], names: dict[str, str]) -> None:
    """Raise UserError unless `names` says of the study's labels alone what a judge calls them."""
    known = {each.label for each in labels}
    for label in names:
        if label not in known:
            raise UserError(f"unknown label '{label}'; {did_you_mean(label, known)}", "names")


def _places(classes: list[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for place, name in enumerate(classes):
        parts = {_plain(part) for part in (name, *re.split(r"[()]", name)) if _plain(part)}
        for part in parts:
            found.setdefault(part, []).append(place)
    return found


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", unaccented(name).casefold())

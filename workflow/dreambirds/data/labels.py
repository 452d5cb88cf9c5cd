"""The classes of a data set: labels for paths, display names, and name matching."""

import difflib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dreambirds.errors import UserError, counted, did_you_mean, one_line, reason_of, remedy_for

ALL = "all"  # requests all classes, however many they are
FEW = 16  # classes whose labels an error lists


@dataclass(frozen=True)
class Label:
    """One class: a unique `label` that is safe in paths, and a display `name`.

    `folder` identifies the class in its source: the folder of its images, the class number of a competition, or None
    for drawn birds. Without photographs, it is the network's name of the class, with its synonyms in brackets.
    """

    label: str
    name: str
    folder: str | None = None


def choose_labels(labels: list[Label], requested: list[str] | str | None, where: str | None) -> list[Label]:
    """Return the requested labels, in the order of `labels`; None and `ALL` request all.

    Each may be requested by folder, label or name, or else by any form of its name that `match_classes` compares, such
    as a synonym in brackets. Raises UserError, for the key `where`, for an unknown or ambiguous one.
    """
    if requested is None or requested == ALL:
        return labels
    known: list[dict[str, list[Label]]] = [{}, {}, {}]
    for label in labels:
        for found, name in zip(known, (label.folder, label.label, label.name), strict=True):
            if name is not None:
                found.setdefault(name, []).append(label)
    forms = class_indices([label.folder or label.name for label in labels])
    chosen = set()
    for name in requested:
        others = [labels[index] for index in forms.get(normalized(name), ())]
        named = next((found[name] for found in known if name in found), others)
        if not named:
            raise UserError(f"unknown label '{name}'; {_closest(name, labels)}", where)
        if len(named) > 1:
            listed = ", ".join(f"'{label.label}' is {label.folder or label.name}" for label in named)
            problem = f"'{name}' is the name of {counted(len(named), 'class')}: {listed}"
            raise UserError(f"{problem}; write one of these labels", where)
        chosen.add(named[0])
    return [label for label in labels if label in chosen]


def _closest(name: str, labels: list[Label]) -> str:
    """Return a hint with the labels closest to a name: those with most of its words, and similar ones."""
    known, words = [label.label for label in labels], _words(name)
    shared = {label.label: len(words & _words(label.folder or label.name)) for label in labels}
    folded = {label.casefold(): label for label in known}
    spelt = [folded[match] for match in difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.7)]
    close = [label for label in sorted(shared, key=shared.__getitem__, reverse=True) if shared[label]][:3]
    close += [label for label in spelt if label not in close]
    if len(known) <= FEW or not close:
        return did_you_mean(name, known, "available")
    *first, last = [f"'{label}'" for label in close]
    return f"did you mean {' or '.join([', '.join(first), last] if first else [last])}?"


def _words(name: str) -> set[str]:
    return {normalized(word) for word in re.split(r"[\W_]+", name) if word}


def labels_of_classes(classes: list[str]) -> list[Label]:
    """Return the label of each output of a network, from its class names with synonyms in brackets.

    The display name is the one before the brackets. Of classes with the same label, each has the number of its output
    at the end of it: ``crane_134`` and ``crane_517``. So a label does not depend on which other classes are dreamt of.
    """
    names = [readable(first_name(name)) for name in classes]
    stems = [_unique_label(unaccented(name), set(), Counter()) for name in names]
    counts = Counter(stem.casefold() for stem in stems)
    texts = [f"{stem}_{index}" if counts[stem.casefold()] > 1 else stem for index, stem in enumerate(stems)]
    return make_labels(zip(texts, names, classes, strict=True))


def first_name(name: str) -> str:
    """Return the name of a class without what follows in brackets."""
    return name.partition(" (")[0].strip() or name


def make_labels(names: Iterable[tuple[str, str, str]]) -> list[Label]:
    """Return labels that are unique, also on file systems that ignore case.

    `names` are (text to derive the label from, name, folder).
    """
    labels, taken, counts = [], set(), Counter()
    for text, name, folder in names:
        label = _unique_label(text, taken, counts)
        taken.add(label.casefold())
        labels.append(Label(label, name or label, folder))
    return labels


def readable(name: str) -> str:
    """Return a display name: underscores become spaces, and `escaped` is applied."""
    return escaped(re.sub(r"[\s_]+", " ", name).strip())


def escaped(name: str) -> str:
    """Return the name of a file or folder on one line, escaped with backslashes.

    Line breaks, terminal codes, and bytes that are not UTF-8 are escaped.
    """
    return one_line(os.fsencode(name).decode(errors="backslashreplace"))


def unaccented(name: str) -> str:
    """Return a name without accents, so that a label keeps the base characters."""
    characters = unicodedata.normalize("NFKD", name)
    return "".join(character for character in characters if not unicodedata.combining(character))


def _unique_label(text: str, taken: set[str], counts: Counter[str]) -> str:
    """Return a label that is not taken; `counts` contains the last number per stem."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_-")[:64] or "class"
    label, key = stem, stem.casefold()
    while label.casefold() in taken:
        counts[key] += 1
        label = f"{stem}_{counts[key] + 1}"
    return label


def read_names(path: Path) -> list[str]:
    """Return the lines of a file of class names, in order.

    Bytes that are not UTF-8 are replaced. Raises UserError for the key ``labels`` if the file contains no name.
    """
    try:
        names = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        remedy = remedy_for(error, "correct the path")
        raise UserError(f"cannot read '{path}' ({reason_of(error)}); {remedy}", "labels") from error
    if not any(name.strip() for name in names):
        raise UserError(f"'{path}' contains no class names; write one class name per line", "labels")
    return names


def match_classes(
    labels: list[Label], classes: list[str], names: dict[str, str], any_number: bool = False
) -> dict[str, int]:
    """Return the index among a network's classes of each class that matches, by label.

    A class matches by the study's label or name for it, or by its entry in `names` instead. Only letters and digits
    are compared, without case and accents. The network's name may be its full line, the part before or in brackets, or
    what follows a number: ``Cyanocitta cristata (Blue Jay)``, ``073.Blue_Jay``. Of several classes with a name, it is
    the one that has it before the brackets. If there are several of these, and as many classes of the study have the
    name, they match in their order; otherwise an ambiguous name does not match. Raises UserError if an entry of `names`
    has no match, and, unless `any_number` may match, if no class of the study does.
    """
    check_labels(labels, names)
    indices, matches = class_indices(classes), {}
    for label in labels:
        candidates = [names[label.label]] if label.label in names else [label.label, label.name]
        found = [name for name in map(normalized, candidates) if name in indices]
        if label.label in names and not found:
            raise UserError(
                f"the network has no class '{candidates[0]}'; {did_you_mean(candidates[0], classes, 'available')}",
                f"names.{label.label}",
            )
        same = indices[found[0]] if found else []
        if len(same) > 1:
            same = [index for index in same if normalized(first_name(classes[index])) == found[0]]
            twins = [each.label for each in labels if each.label not in names and normalized(each.name) == found[0]]
            if len(twins) == len(same) and label.label in twins:
                same = [same[twins.index(label.label)]]
        if len(same) == 1:
            matches[label.label] = same[0]
    if not matches and not any_number:
        raise UserError(
            "no class name of the network matches the study's classes; set its names for them here", "names"
        )
    return matches


def check_labels(labels: list[Label], names: dict[str, str]) -> None:
    """Raise UserError unless all keys of `names` are labels of the study."""
    known = {each.label for each in labels}
    for label in names:
        if label not in known:
            raise UserError(f"unknown label '{label}'; {did_you_mean(label, known, 'available')}", "names")


def class_indices(classes: Sequence[str]) -> dict[str, list[int]]:
    """Return the indices of the classes that each normalized name stands for; `match_classes` lists the forms."""
    found: dict[str, list[int]] = {}
    for index, name in enumerate(classes):
        forms = (name, *re.split(r"[()]", name), re.sub(r"^\d+[\W_]+", "", name))
        parts = {normalized(form) for form in forms if normalized(form)}
        for part in parts:
            found.setdefault(part, []).append(index)
    return found


def normalized(name: str) -> str:
    """Return the letters and digits of a name, without case and accents, by which names are compared."""
    return re.sub(r"[^a-z0-9]", "", unaccented(name).casefold())


def folded(name: str) -> str:
    """Return a name in the form in which names are the same on any file system: composed (NFC) and without case."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())

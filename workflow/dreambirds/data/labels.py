"""The classes of a data set: labels for paths, display names, and finding classes by name."""

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from dreambirds.data.names import (
    class_indices,
    composed,
    first_name,
    folded,
    forms,
    normalized,
    readable,
    transliterated,
    words,
)
from dreambirds.errors import UserError, counted, did_you_mean, reason_of, remedy_for
from dreambirds.io import refuse_pipe

ALL = "all"  # requests all classes, however many they are
FEW = 16  # classes whose labels an error lists
LONGEST = 64  # characters of a label
DIGITS = 6  # of a digest in a label
RESERVED = re.compile(r"con|prn|aux|nul|com\d|lpt\d", re.IGNORECASE)  # names that Windows does not allow for files


@dataclass(frozen=True)
class Label:
    """One class: a unique `label` that is safe in paths, and a display `name`.

    `folder` identifies the class in its source: the folder of its images, the class number of a competition, or None
    for drawn birds. Without photographs, it is the network's name of the class, with its synonyms in brackets.
    """

    label: str
    name: str
    folder: str | None = None

    @property
    def names(self) -> list[str]:
        """What the class is called: its folder, label and name."""
        return [name for name in (self.folder, self.label, self.name) if name is not None]


def make_labels(names: Iterable[tuple[str, str, str]]) -> list[Label]:
    """Return labels that are unique, also on file systems that ignore case.

    `names` are (text to derive the label from, name, folder). A label depends only on these, and not on other classes
    unless they would have the same label. Then a text that is already a label keeps it, and each of the others has a
    digest of its text at the end of its label, or, if the texts are the same, of its text and folder.
    """
    given = [(composed(text), name, folder) for text, name, folder in names]
    stems = [safe_label(text) for text, _, _ in given]
    keys = [(text, f"{text}\0{folder}", f"{text}\0{folder}\0{index}") for index, (text, _, folder) in enumerate(given)]
    labels = stems
    for level, length in enumerate((DIGITS, DIGITS, 2 * DIGITS)):
        counts = Counter(label.casefold() for label in labels)
        own = Counter(label.casefold() for label, (text, _, _) in zip(labels, given, strict=True) if label == text)
        labels = [
            label
            if counts[label.casefold()] == 1 or (label == text and own[label.casefold()] == 1)
            else _with_digest(stem, key[level], length)
            for label, stem, key, (text, _, _) in zip(labels, stems, keys, given, strict=True)
        ]
    return [Label(label, name or label, folder) for label, (_, name, folder) in zip(labels, given, strict=True)]


def safe_label(text: str) -> str:
    """Return a label for a text: at most 64 ASCII letters, digits, underscores and dashes, readable in any script.

    A text of which nothing is left has its digest instead.
    """
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", transliterated(text)).strip("_-")[:LONGEST]
    if not stem:
        return _with_digest("class", text, DIGITS)
    return f"class_{stem}" if RESERVED.fullmatch(stem) else stem


def _with_digest(stem: str, key: str, length: int) -> str:
    digest = sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:length]
    return f"{stem[: LONGEST - length - 1].rstrip('_-')}_{digest}"


def labels_of_classes(classes: list[str]) -> list[Label]:
    """Return the label of each output of a network, from its class names with synonyms in brackets.

    The display name is the one before the brackets. Of classes with the same name, each has the number of its output
    at the end of its label: ``crane_134`` and ``crane_517``. So a label does not depend on which other classes are
    dreamt of.
    """
    names = [readable(first_name(name)) for name in classes]
    counts = Counter(map(folded, names))
    texts = [f"{name} {index}" if counts[folded(name)] > 1 else name for index, name in enumerate(names)]
    return make_labels(zip(texts, names, classes, strict=True))


class Names:
    """What the classes of a study are called, to find them by name."""

    def __init__(self, labels: Sequence[Label]):
        """Take the classes."""
        self.labels = labels

    def find(self, name: str, where: str | None) -> Label:
        """Return the class with a name.

        It may be its folder, label or name; or one of these without case; or any form of it that `match_classes`
        compares, such as a synonym in brackets. Raises UserError, for the key `where`, if no class or several have it.
        """
        for form, known in ((composed, self._exact), (folded, self._caseless)):
            for found in known:
                if form(name) in found:
                    return self._only(found[form(name)], name, where)
        return self._only([self.labels[index] for index in self._loose.get(normalized(name), ())], name, where)

    def _only(self, found: list[Label], name: str, where: str | None) -> Label:
        if not found:
            raise UserError(f"unknown label '{name}'; {_closest(name, self.labels)}", where)
        if len(found) > 1:
            listed = ", ".join(f"'{label.label}' is {label.folder or label.name}" for label in found)
            problem = f"'{name}' is the name of {counted(len(found), 'class')}: {listed}"
            raise UserError(f"{problem}; write one of these labels", where)
        return found[0]

    @cached_property
    def _exact(self) -> list[dict[str, list[Label]]]:
        return self._by(composed)

    @cached_property
    def _caseless(self) -> list[dict[str, list[Label]]]:
        return self._by(folded)

    def _by(self, form: Callable[[str], str]) -> list[dict[str, list[Label]]]:
        """Return the classes by a form of their folders, of their labels, and of their names."""
        known: list[dict[str, list[Label]]] = [{}, {}, {}]
        for label in self.labels:
            for found, name in zip(known, (label.folder, label.label, label.name), strict=True):
                if name is not None:
                    found.setdefault(form(name), []).append(label)
        return known

    @cached_property
    def _loose(self) -> dict[str, list[int]]:
        indices = class_indices([label.folder or label.name for label in self.labels])
        for index, label in enumerate(self.labels):
            for name in {normalized(label.label), normalized(label.name)}:
                if index not in (same := indices.setdefault(name, [])):
                    same.append(index)
        return indices


def choose_labels(labels: list[Label], requested: list[str] | str | None, where: str | None) -> list[Label]:
    """Return the requested labels, in the order of `labels`; None and `ALL` request all.

    Raises UserError as `Names.find` does, for the key `where`.
    """
    if requested is None or requested == ALL:
        return labels
    names = Names(labels)
    chosen = {names.find(name, where) for name in requested}
    return [label for label in labels if label in chosen]


def names_by_label(labels: Sequence[Label], names: Mapping[str, str]) -> dict[str, str]:
    """Return the config's section ``names`` with the labels of its classes as keys; it may have their own names.

    Raises UserError unless each key names another class of the study.
    """
    known, found = Names(labels), dict[str, str]()
    for key, name in names.items():
        label = known.find(key, "names").label
        if label in found:
            raise UserError(f"'{key}' is another name of '{label}', which is also here; remove one of them", "names")
        found[label] = name
    return found


def _closest(name: str, labels: Sequence[Label]) -> str:
    """Return a hint with the labels closest to a name: those with most of its words, and similar ones."""
    known, parts = [label.label for label in labels], words(name)
    shared = {label.label: len(parts & words(label.folder or label.name)) for label in labels}
    spelt = {folded(form): label.label for label in reversed(labels) for form in label.names}
    matches = difflib.get_close_matches(folded(name), spelt, n=3, cutoff=0.7 if name.isascii() else 0.5)
    close = [label for label in sorted(shared, key=shared.__getitem__, reverse=True) if shared[label]][:3]
    close = list(dict.fromkeys([*close, *(spelt[match] for match in matches)]))
    if not close or (len(known) <= FEW and name.isascii()):
        return did_you_mean(name, known, "available")
    shown = {label.label: label.name for label in labels}
    *first, last = [f"'{label}'" if shown[label].isascii() else f"'{label}' ({shown[label]})" for label in close]
    return f"did you mean {' or '.join([', '.join(first), last] if first else [last])}?"


def read_names(path: Path) -> list[str]:
    """Return the lines of a file of class names, in order.

    It is UTF-8, or UTF-16 with a byte order mark. Bytes that are not are replaced. Raises UserError for the key
    ``labels`` if the file contains no name.
    """
    refuse_pipe(path, f"'{path}'", "labels")
    try:
        content = path.read_bytes()
    except OSError as error:
        remedy = remedy_for(error, "correct the path")
        raise UserError(f"cannot read '{path}' ({reason_of(error)}); {remedy}", "labels") from error
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    names = content.decode(encoding, errors="replace").splitlines()
    if not any(name.strip() for name in names):
        raise UserError(f"'{path}' contains no class names; write one class name per line", "labels")
    return names


def match_classes(
    labels: list[Label], classes: list[str], names: Mapping[str, str], any_number: bool = False
) -> dict[str, int]:
    """Return the index among a network's classes of each class that matches, by label.

    A class matches by the study's label or name for it, or by its entry in `names` instead, as `normalized` compares
    them. The network's name may be its full line, the part before or in brackets, or what follows a number:
    ``Cyanocitta cristata (Blue Jay)``, ``073.Blue_Jay``. Of several classes with a name, it is the one that has it
    before the brackets, and of several of these, the one that is spelt the same. If there are several of these, and as
    many classes of the study have the name, they match in their order; otherwise an ambiguous name does not match.
    Raises UserError if an entry of `names` has no match, and, unless `any_number` may match, if no class of the study
    does.
    """
    names = names_by_label(labels, names)
    indices, matches = class_indices(classes), {}
    for label in labels:
        candidates = [names[label.label]] if label.label in names else [label.label, label.name]
        found = [name for name in candidates if normalized(name) in indices]
        if label.label in names and not found:
            raise UserError(
                f"the network has no class '{candidates[0]}'; {did_you_mean(candidates[0], classes, 'available')}",
                f"names.{label.label}",
            )
        same = indices[normalized(found[0])] if found else []
        if len(same) > 1:
            same = [index for index in same if normalized(first_name(classes[index])) == normalized(found[0])]
            same = _spelt_as(candidates, classes, same)
            twins = [
                each.label
                for each in labels
                if each.label not in names and normalized(each.name) == normalized(found[0])
            ]
            if len(twins) == len(same) and label.label in twins:
                same = [same[twins.index(label.label)]]
        if len(same) == 1:
            matches[label.label] = same[0]
    if not matches and not any_number:
        raise UserError(
            "no class name of the network matches the study's classes; set its names for them here", "names"
        )
    return matches


def _spelt_as(names: Sequence[str], classes: Sequence[str], indices: list[int]) -> list[int]:
    """Return the indices of the classes that are spelt as one of the names, apart from case; all if none is."""
    spelt = set(map(folded, names))
    return [index for index in indices if spelt & set(map(folded, map(str.strip, forms(classes[index]))))] or indices

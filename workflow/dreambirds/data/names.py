"""Which of a judge's classes is which of the study's, by what they are called."""

import re
from pathlib import Path

from dreambirds.data.labels import Label, unaccented
from dreambirds.errors import StudyError, nearest


def read_names(path: Path) -> list[str]:
    """Return a file's lines, the names of classes in order; bytes that are not UTF-8 are replaced.

    Raises StudyError, of the key ``labels``, if there is no name in it.
    """
    try:
        names = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise StudyError(f"'{path}' can't be read ({error.strerror})", "labels") from error
    if not any(name.strip() for name in names):
        raise StudyError(f"'{path}' holds no name", "labels")
    return names


def match(labels: list[Label], classes: list[str], names: dict[str, str]) -> dict[str, int]:
    """Return the place among a judge's classes of each of the study's that it knows, by label.

    A class is found under the study's label or name for it, or under what `names` says instead; letters and digits
    count, whatever their case and accents. The judge's name may be the whole of its line, or the part before or in
    brackets: ``Cyanocitta cristata (Blue Jay)``. What is found twice is not known. Raises StudyError if `names` says
    what is nowhere to be found, and if no class of the study is known.
    """
    check_labels(labels, names)
    found, places = _places(classes), {}
    for label in labels:
        called = [names[label.label]] if label.label in names else [label.label, label.name]
        known = [found[word] for word in map(_plain, called) if word in found]
        if label.label in names and not known:
            raise StudyError(
                f"the judge has no class '{called[0]}'; {nearest(called[0], classes)}", f"names.{label.label}"
            )
        if known and len(known[0]) == 1:
            places[label.label] = known[0][0]
    if not places:
        raise StudyError("the judge knows none of the study's classes by name; say what it calls them", "names")
    return places


def check_labels(labels: list[Label], names: dict[str, str]) -> None:
    """Raise StudyError unless `names` says of the study's labels alone what a judge calls them."""
    known = {each.label for each in labels}
    for label in names:
        if label not in known:
            raise StudyError(f"unknown label '{label}'; {nearest(label, known)}", "names")


def _places(classes: list[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for place, name in enumerate(classes):
        parts = {_plain(part) for part in (name, *re.split(r"[()]", name)) if _plain(part)}
        for part in parts:
            found.setdefault(part, []).append(place)
    return found


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", unaccented(name).casefold())

"""Which of a judge's classes is which of the study's, by what they are called."""

import re
from pathlib import Path

from dreambirds.data.labels import Label, unaccented
from dreambirds.errors import StudyError, nearest


def read_names(path: Path, where: str) -> list[str]:
    """Return a file's lines, the names of classes in order; bytes that are not UTF-8 are replaced.

    Raises StudyError, with `where` before it, if there is no name in it.
    """
    try:
        names = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise StudyError(f"{where}: '{path}' can't be read ({error.strerror})") from error
    if not any(name.strip() for name in names):
        raise StudyError(f"{where}: '{path}' holds no name")
    return names


def match(labels: list[Label], classes: list[str], names: dict[str, str]) -> dict[str, int]:
    """Return the place among a judge's classes of each of the study's that it knows, by label.

    A class is found under the study's label or name for it, or under what `names` says instead; letters and digits
    count, whatever their case and accents. The judge's name may be the whole of its line, or the part before or in
    brackets: ``Cyanocitta cristata (Blue Jay)``. What is found twice is not known. Raises StudyError if `names` says
    what is nowhere to be found.
    """
    found = _places(classes)
    strange = [label for label in names if label not in {each.label for each in labels}]
    if strange:
        raise StudyError(f"names: unknown label '{strange[0]}'; {nearest(strange[0], [each.label for each in labels])}")
    places = {}
    for label in labels:
        called = [names[label.label]] if label.label in names else [label.label, label.name]
        known = [found[word] for word in map(_plain, called) if word in found]
        if label.label in names and not known:
            raise StudyError(
                f"names.{label.label}: the judge has no class '{called[0]}'; {nearest(called[0], classes)}"
            )
        if known and len(known[0]) == 1:
            places[label.label] = known[0][0]
    return places


def _places(classes: list[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for place, name in enumerate(classes):
        parts = {_plain(part) for part in (name, *re.split(r"[()]", name)) if _plain(part)}
        for part in parts:
            found.setdefault(part, []).append(place)
    return found


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", unaccented(name).casefold())

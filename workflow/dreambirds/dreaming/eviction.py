"""Keep the store within a size: what was used least recently goes first. ``make store-gc LIMIT=20GB``."""

import argparse
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dreambirds.data.files import store_root
from dreambirds.dreaming.store import CARD, discard, find, sweep
from dreambirds.errors import StudyError

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@dataclass(frozen=True)
class Kept:
    """One thing in the store that is kept or goes as a whole: a dream's folder, or a prepared picture."""

    path: Path
    size: int
    used: float


def evict(root: Path, limit: int) -> tuple[int, int, int]:
    """Remove what was used least recently from the store in `root`, until it holds at most `limit` bytes.

    Return how many things were removed, their bytes, and the bytes that are left. Pictures that a study's results share
    with the store stay there, and then no space is freed. Other jobs may use the store at the same time.
    """
    sweep(root / "dreams")
    kept = sorted([*_dreams(root / "dreams"), *_pictures(root / "prepared")], key=lambda each: each.used)
    left, removed, freed = sum(each.size for each in kept), 0, 0
    for each in kept:
        if left <= limit:
            break
        if _remove(each.path):
            left, removed, freed = left - each.size, removed + 1, freed + each.size
    return removed, freed, left


def _dreams(folder: Path) -> Iterator[Kept]:
    for card in find(folder, f"*/*/*/{CARD}"):
        with suppress(OSError):  # another job may have removed it
            size = sum(path.stat().st_size for path in card.parent.iterdir())
            yield Kept(card.parent, size, card.stat().st_mtime)


def _pictures(folder: Path) -> Iterator[Kept]:
    for path in find(folder, "*/*.png"):
        with suppress(OSError):
            about = path.stat()
            yield Kept(path, about.st_size, about.st_mtime)


def _remove(path: Path) -> bool:
    """Remove one thing, and its folders if they are empty; tell whether it is gone."""
    if path.is_dir():
        discard(path)
    else:
        with suppress(OSError):  # it is another's
            path.unlink()
    for parent in (path.parent, path.parent.parent):
        with suppress(OSError):  # it is not empty
            parent.rmdir()
    return not path.exists()


def as_bytes(text: str) -> int:
    """Return a size such as ``500MB``, ``20GB`` or ``0`` in bytes. Raises StudyError if it is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    if not match:
        raise StudyError(f"--limit: must be a size such as 500MB or 20GB, not '{text}'")
    return round(float(match[1]) * UNITS[match[2].upper()])


def main() -> None:
    """Evict from the store that this folder's studies use, and say what became of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", required=True, help="most that the store may hold, such as 20GB")
    try:
        removed, freed, left = evict(store_root(), as_bytes(parser.parse_args().limit))
    except StudyError as error:
        sys.exit(f"Error: {error}")
    print(f"{store_root()}: removed {removed} entries of {freed / 1e6:.1f} MB, {left / 1e6:.1f} MB are left")


if __name__ == "__main__":
    main()

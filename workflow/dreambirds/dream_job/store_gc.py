"""Keep the store within a size: what was used least recently goes first.

That is asked for by ``make store-gc LIMIT=20GB``, or done after each run where DREAMBIRDS_STORE_LIMIT is set.
"""

import math
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dreambirds.dream_job.store import ABANDONED, RECORD, discard, find, sweep
from dreambirds.errors import UserError, first_line, one_line
from dreambirds.io import remove_stale_temp_files, store_root

LIMIT = "DREAMBIRDS_STORE_LIMIT"
PARTS = ("dreams", "references", "prepared", "judged", "memory", "photographs")
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@dataclass(frozen=True)
class Kept:
    """One thing in the store that is kept or goes as a whole: a dream's folder, a prepared picture, or statistics."""

    path: Path
    size: int
    used: float


def evict(root: Path, limit: int) -> tuple[int, int, int]:
    """Remove what was used least recently from the store in `root`, until it holds at most `limit` bytes.

    Return how many things were removed, their bytes, and the bytes that are left. Pictures that a study's results share
    with the store stay there, and then no space is freed. What killed jobs left half written goes after a day. Other
    jobs may use the store at the same time.
    """
    sweep(root / "dreams")
    for part in PARTS:
        remove_stale_temp_files(root / part, ABANDONED)
    files = [*_files(root / "prepared", "*/*.png"), *_files(root / "references", "*/*.safetensors")]
    kept = sorted([*_dreams(root / "dreams"), *files], key=lambda each: each.used)
    left, removed, freed = sum(each.size for each in kept), 0, 0
    for each in kept:
        if left <= limit:
            break
        if _remove(each.path):
            left, removed, freed = left - each.size, removed + 1, freed + each.size
    return removed, freed, left


def keep_within(limit: int | None) -> None:
    """Evict from the store that this folder's studies use where there is a limit, in bytes, and say on standard error
    in one line what went. A store that can't be looked at is told of there too, and is no reason to fail."""
    if limit is None:
        return
    try:
        removed, freed, left = evict(store_root(), limit)
    except Exception as error:  # what was dreamt is whole, whatever becomes of the store
        print(one_line(f"The store can't be kept within {LIMIT}: {first_line(error)}"), file=sys.stderr)
        return
    if removed:
        print(f"Kept within {LIMIT}: {_said(removed, freed, left)}", file=sys.stderr)


def evict_to(size: str, where: str) -> str:
    """Evict from the store that this folder's studies use until it holds at most a size such as ``20GB``, and return
    what became of it. Raises UserError, which says `where` the size was given, if it is none."""
    return _said(*evict(store_root(), as_bytes(size, where)))


def asked_limit() -> int | None:
    """Return the bytes that the environment variable DREAMBIRDS_STORE_LIMIT allows, None where it is not set.

    Raises UserError if it is no size.
    """
    text = os.environ.get(LIMIT, "").strip()
    return as_bytes(text, LIMIT) if text else None


def _said(removed: int, freed: int, left: int) -> str:
    where = one_line(str(store_root()))
    return f"{where}: removed {removed} entries of {freed / 1e6:.1f} MB, {left / 1e6:.1f} MB are left"


def _dreams(folder: Path) -> Iterator[Kept]:
    for record in find(folder, f"*/*/*/{RECORD}"):
        with suppress(OSError):  # another job may have removed it
            size = sum(path.stat().st_size for path in record.parent.iterdir())
            yield Kept(record.parent, size, record.stat().st_mtime)


def _files(folder: Path, pattern: str) -> Iterator[Kept]:
    for path in find(folder, pattern):
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


def as_bytes(text: str, where: str) -> int:
    """Return a size such as ``500MB``, ``20GB`` or ``0`` in bytes. Raises UserError, which says `where` it was given,
    if it is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    size = float(match[1]) * UNITS[match[2].upper()] if match else math.inf
    if size == math.inf:
        raise UserError(f"{where}: must be a size such as 500MB or 20GB, not '{text}'")
    return round(size)

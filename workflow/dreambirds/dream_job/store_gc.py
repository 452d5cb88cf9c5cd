"""Limit the size of the store: remove the least recently used items.

``make store-gc LIMIT=20GB`` does this, and so does each run if DREAMBIRDS_STORE_LIMIT is set.
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
from dreambirds.io import remove_stale_temp_files, store_roots

LIMIT = "DREAMBIRDS_STORE_LIMIT"
PARTS = ("dreams", "references", "prepared", "judged", "memory", "photographs")
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@dataclass(frozen=True)
class Item:
    """A dream's folder, a prepared image or a statistics file in the store."""

    path: Path
    size: int
    used: float


def evict(root: Path, limit: int) -> tuple[int, int, int]:
    """Remove least recently used items until the store is within `limit` bytes.

    `root` is the folder of the store. Return the number of removed items, their bytes, and the bytes that are left. If
    a study's results are hard links to an item, they remain, and no space is freed. Temporary files of killed jobs are
    removed after a day. Other jobs may use the store at the same time.
    """
    sweep(root / "dreams")
    for part in PARTS:
        remove_stale_temp_files(root / part, ABANDONED)
    files = [*_files(root / "prepared", "*/*.png"), *_files(root / "references", "*/*.safetensors")]
    items = sorted([*_dreams(root / "dreams"), *files], key=lambda item: item.used)
    left, removed, freed = sum(item.size for item in items), 0, 0
    for item in items:
        if left <= limit:
            break
        if _remove(item.path):
            left, removed, freed = left - item.size, removed + 1, freed + item.size
    return removed, freed, left


def enforce_limit(limit: int | None) -> None:
    """Evict from the store of the working directory, and from the user's second store, if there is a limit, in bytes.

    Print one line to standard error if items were removed, or if this failed. Errors are not raised.
    """
    for root in store_roots() if limit is not None else ():
        try:
            removed, freed, left = evict(root, limit)
        except Exception as error:  # the results are complete, so a failure here must not fail the run
            print(one_line(f"{LIMIT}: cannot reduce the size of the store ({first_line(error)})"), file=sys.stderr)
            return
        if removed:
            print(f"{LIMIT}: removed {_summary(root, removed, freed, left)}", file=sys.stderr)


def evict_to(size: str, where: str) -> str:
    """Evict from the store of the working directory, and from the user's second store; return a summary.

    `size` is the maximum size, such as ``20GB``. Raises UserError, prefixed with `where`, if the size is not valid.
    """
    limit = as_bytes(size, where)
    return f"Removed {' and '.join(_summary(root, *evict(root, limit)) for root in store_roots())}."


def limit_from_environment() -> int | None:
    """Return DREAMBIRDS_STORE_LIMIT in bytes, or None if it is not set.

    Raises UserError if it is not a valid size.
    """
    text = os.environ.get(LIMIT, "").strip()
    return as_bytes(text, LIMIT) if text else None


def _summary(root: Path, removed: int, freed: int, left: int) -> str:
    where = one_line(str(root))
    entries = "1 entry" if removed == 1 else f"{removed} entries"
    return f"{entries} ({freed / 1e6:.1f} MB) from '{where}'; the store now takes {left / 1e6:.1f} MB"


def _dreams(folder: Path) -> Iterator[Item]:
    for record in find(folder, f"*/*/*/{RECORD}"):
        with suppress(OSError):  # another job may have removed it
            size = sum(path.stat().st_size for path in record.parent.iterdir())
            yield Item(record.parent, size, record.stat().st_mtime)


def _files(folder: Path, pattern: str) -> Iterator[Item]:
    for path in find(folder, pattern):
        with suppress(OSError):
            status = path.stat()
            yield Item(path, status.st_size, status.st_mtime)


def _remove(path: Path) -> bool:
    """Remove one item, and its parent folders if they are empty.

    Return whether it was removed.
    """
    if path.is_dir():
        discard(path)
    else:
        with suppress(OSError):  # it may belong to another user
            path.unlink()
    for parent in (path.parent, path.parent.parent):
        with suppress(OSError):  # not empty
            parent.rmdir()
    return not path.exists()


def as_bytes(text: str, where: str) -> int:
    """Return a size such as ``500MB``, ``20GB`` or ``0`` in bytes.

    Raises UserError, prefixed with `where`, if it is not valid.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", text.strip(), re.IGNORECASE)
    size = float(match[1]) * UNITS[match[2].upper()] if match else math.inf
    if size == math.inf:
        raise UserError(f"{where}: must be a size such as 500MB or 20GB, not '{text}'")
    return round(size)

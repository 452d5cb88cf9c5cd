"""Photographs that are known again after a `touch`: what each was when it was prepared, by its contents.

A file counts as what its size and time say, as long as nobody has read it. Once it is prepared, its digest is kept too,
so that one whose time alone has changed still counts as what it was.
"""

import contextlib
import hashlib
import json
from dataclasses import astuple, dataclass
from pathlib import Path

from dreambirds.data.files import atomically, sha256_of, store_root


@dataclass(frozen=True)
class _Row:
    size: int
    time: int
    sha256: str
    counts_as: str


class Known:
    """What is known of the files of one place, by the names that they are given."""

    def __init__(self, place: str):
        """Take the name of the place, such as the path in the config; what is known of it lies in the store."""
        self.path = store_root() / "photographs" / f"{hashlib.sha256(place.encode()).hexdigest()[:16]}.json"
        self.rows, self.changed = _read(self.path), False

    def counts_as(self, name: str, file: Path) -> str:
        """Return what a file counts as; it is read only where its size is what it was and its time is not."""
        try:
            about = file.stat()
        except OSError:
            return "gone"
        row, size, time = self.rows.get(name), about.st_size, about.st_mtime_ns
        if row is None or row.size != size:
            return f"{size} {time}"
        if row.time != time:
            if _digest(file) != row.sha256:
                return f"{size} {time}"
            self._set(name, _Row(size, time, row.sha256, row.counts_as))
        return row.counts_as

    def learn(self, name: str, file: Path) -> None:
        """Read a file, unless it is known, and keep its digest."""
        counts_as = self.counts_as(name, file)
        row = self.rows.get(name)
        if counts_as == "gone" or (row is not None and row.counts_as == counts_as):
            return
        digest, about = _digest(file), file.stat()
        size, time = about.st_size, about.st_mtime_ns
        if counts_as == f"{size} {time}":  # else it was edited while it was read
            self._set(name, _Row(size, time, digest, counts_as))

    def keep(self) -> None:
        """Write down what is new; where the store can't be written to, files will be read again."""
        if self.changed:
            rows = _read(self.path) | self.rows  # another process may have learnt too
            with contextlib.suppress(OSError):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with atomically(self.path) as temporary:
                    temporary.write_text(json.dumps({name: astuple(row) for name, row in rows.items()}))

    def _set(self, name: str, row: _Row) -> None:
        self.rows[name], self.changed = row, True


def _read(path: Path) -> dict[str, _Row]:
    try:
        return {name: _Row(*row) for name, row in json.loads(path.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _digest(file: Path) -> str:
    try:
        return sha256_of(file)
    except OSError:
        return "unreadable"

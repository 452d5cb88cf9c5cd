"""Fingerprints of photographs and tables, which run a job again if an input changes."""

import contextlib
import hashlib
import json
from dataclasses import astuple, dataclass
from pathlib import Path

from dreambirds.config.load import Section
from dreambirds.data.labels import Label
from dreambirds.data.sources.catalog import list_files
from dreambirds.io import atomic_write, sha256_of, store_entry, store_root, store_target


@dataclass(frozen=True)
class _Row:
    size: int
    time: int
    sha256: str
    fingerprint: str


class FileDigests:
    """Digests of files, by name, so that a `touch` does not count as a change."""

    def __init__(self, source: str, store: str | None = None):
        """Read the digests from the folder `store`, by default that of this process.

        `source` identifies the set of files, such as the path in the config.
        """
        names = "photographs", f"{hashlib.sha256(source.encode()).hexdigest()[:16]}.json"
        folder = store_root(store) / names[0]
        self.path, self.target = store_entry(*names, folder=folder), store_target(*names, folder=folder)
        self.rows, self.changed = _read_digests(self.path), False

    def fingerprint(self, name: str, file: Path) -> str:
        """Return a text that changes with a file's content.

        The file is read only if its time changed and its size did not.
        """
        try:
            status = file.stat()
        except OSError:
            return "gone"
        row, size, time = self.rows.get(name), status.st_size, status.st_mtime_ns
        if row is None or row.size != size:
            return f"{size} {time}"
        if row.time != time:
            if _digest(file) != row.sha256:
                return f"{size} {time}"
            self._set(name, _Row(size, time, row.sha256, row.fingerprint))
        return row.fingerprint

    def add(self, name: str, file: Path) -> None:
        """Read a file and record its digest, unless it is already recorded."""
        fingerprint = self.fingerprint(name, file)
        row = self.rows.get(name)
        if fingerprint == "gone" or (row is not None and row.fingerprint == fingerprint):
            return
        digest, status = _digest(file), file.stat()
        size, time = status.st_size, status.st_mtime_ns
        if fingerprint == f"{size} {time}":  # otherwise the file was edited while it was read
            self._set(name, _Row(size, time, digest, fingerprint))

    def save(self) -> None:
        """Write new digests to the store, if it is writable."""
        if self.changed:
            rows = _read_digests(self.path) | self.rows  # another process may have added some
            with contextlib.suppress(OSError):
                self.target.parent.mkdir(parents=True, exist_ok=True)
                with atomic_write(self.target) as temporary:
                    text = json.dumps({name: astuple(row) for name, row in rows.items()})
                    temporary.write_text(text, encoding="utf-8")

    def _set(self, name: str, row: _Row) -> None:
        self.rows[name], self.changed = row, True


def _read_digests(path: Path) -> dict[str, _Row]:
    try:
        return {name: _Row(*row) for name, row in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _digest(file: Path) -> str:
    try:
        return sha256_of(file)
    except OSError:
        return "unreadable"


def fingerprint(dataset: Section, labels: list[Label], store: str | None = None) -> str:
    """Return a digest of the names, sizes and times of all photographs and tables.

    It is empty if the source reads no files. `dataset` and `store` are those of the config. A new time with the same
    content does not change the digest. For a zip, its own size and time count. Raises UserError if a table is invalid.
    """
    return digest_files(dataset["path"], list_files(dataset, labels), store)


def remember_photographs(dataset: Section, labels: list[Label]) -> None:
    """Record the digests of photographs and tables, so a later `touch` does not count."""
    files = list_files(dataset, labels)
    if files:
        known = FileDigests(dataset["path"])
        for name, file in files.items():
            known.add(name, file)
        known.save()


def digest_files(source: str, files: dict[str, Path], store: str | None = None) -> str:
    """Return a digest of the names, sizes and times of files; empty without files.

    `source` is the path in the config, `store` the folder of the store. Files may be missing.
    """
    if not files:
        return ""
    digest, known = hashlib.sha256(), FileDigests(source, store)
    for name, file in files.items():
        digest.update(f"{name}\0{known.fingerprint(name, file)}\n".encode(errors="surrogateescape"))
    known.save()
    return digest.hexdigest()

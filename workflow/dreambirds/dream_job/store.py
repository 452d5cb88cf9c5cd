"""The store of dreams: each is computed once for all studies, and found again by what decides its pixels.

An entry is a folder ``<first two>/<digest>/<name>`` of files, with an ``entry.json`` that says what they are and holds
their digests. Entries are written in a stage beside the store and become part of it by renaming, all those of a stage
or none, so that any number of jobs may read, write and be killed at once, on network file systems too.
"""

import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any
from uuid import uuid4

from dreambirds.io import digest_of, sha256_of, store_root, unwritable

RECORD = "entry.json"
STAGED, READY = ".stage-", ".ready-"
ABANDONED = 24 * 3600  # seconds after which a stage is a killed job's
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredSnapshot:
    """One entry: its folder, its facts, and the sha256 of each of its files by name."""

    folder: Path
    facts: dict[str, Any]
    files: dict[str, str]


class Transaction:
    """Entries that are being written; they join the store together when its ``with`` block ends well."""

    def __init__(self, folder: Path):
        """Take the stage's folder."""
        self.folder = folder
        self.entries: list[tuple[StoredSnapshot, bool]] = []

    @contextmanager
    def entry(self, key: str, name: str, facts: dict[str, Any], keep: bool = True) -> Iterator[Path]:
        """Give a folder to write an entry's files into, with JSON facts; one that is not to be kept stays outside the
        store, and can be read until the stage ends."""
        folder = self.folder / key / name
        folder.mkdir(parents=True)
        yield folder
        files = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
        entry = StoredSnapshot(folder, facts, files)
        record = {"facts": facts, "files": files, "sha256": dream_key([facts, files])}
        (folder / RECORD).write_text(json.dumps(record, indent=1, ensure_ascii=False))
        self.entries.append((entry, keep))

    def last(self) -> StoredSnapshot:
        """Return the entry that was written last."""
        return self.entries[-1][0]

    def dismiss(self) -> None:
        """Remove what is not to be kept."""
        for entry, keep in self.entries:
            if not keep:
                shutil.rmtree(entry.folder)


class DreamStore:
    """The dreams in one folder. Many jobs may use it at once."""

    def __init__(self, folder: Path):
        """Take the folder, which is made when something is put there; finish what a killed job was about to add."""
        self.folder = folder
        for ready in find(folder, f"{READY}*"):
            self._join(ready)

    def get(self, key: str, name: str) -> StoredSnapshot | None:
        """Return an entry, None if there is none; one whose files are not what was put there is discarded, with a line
        in the log."""
        folder = self._path(key) / name
        try:
            record = json.loads((folder / RECORD).read_text())
            entry = StoredSnapshot(folder, record["facts"], record["files"])
            if dream_key([entry.facts, entry.files]) != record["sha256"]:
                raise ValueError(f"{RECORD} is not what was put there")
            for file, digest in entry.files.items():
                if sha256_of(folder / file) != digest:
                    raise ValueError(f"{file} is not what was put there")
            with suppress(OSError):
                os.utime(folder / RECORD)  # eviction goes by it; a store may be another's
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError) as error:
            if folder.exists():
                log.warning("the stored dream '%s' is damaged (%s) and dreamt anew", folder, error)
                discard(folder)
            return None
        except OSError as error:  # it may be as good as ever, for others or later
            if folder.exists():
                log.warning("the stored dream '%s' can't be read (%s) and is dreamt anew", folder, error)
            return None
        return entry

    @contextmanager
    def stage(self) -> Iterator[Transaction]:
        """Give a stage for new entries. Raises UserError where the store can't be written to."""
        stage = Transaction(self.folder / f"{STAGED}{uuid4().hex}")
        try:
            stage.folder.mkdir(parents=True)
            yield stage
            stage.dismiss()
            ready = stage.folder.with_name(stage.folder.name.replace(STAGED, READY))
            stage.folder.rename(ready)  # from here on the whole stage is kept, whatever happens
            self._join(ready)
        except OSError as error:
            raise unwritable("dreams", self.folder, error) from error
        finally:
            shutil.rmtree(stage.folder, ignore_errors=True)

    def _join(self, ready: Path) -> None:
        """Move the entries of a stage to their places; another job may be doing the same.

        What can't be moved now stays aside, and the next job tries again.
        """
        for folder in find(ready, "*/*"):
            place = self._path(folder.parent.name) / folder.name
            try:
                place.parent.mkdir(parents=True, exist_ok=True)
                folder.rename(place)
            except OSError as error:
                if place.exists():
                    shutil.rmtree(folder, ignore_errors=True)
                elif folder.exists():
                    log.warning("the dream '%s' can't be added to the store yet (%s)", folder, error)
        for folder in (*find(ready, "*"), ready):
            with suppress(OSError):  # another job was first, or something stays
                folder.rmdir()

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / key


def find(folder: Path, pattern: str) -> list[Path]:
    """Return what is there of a pattern in a folder, while other jobs may add and remove."""
    return [folder / name for name in glob(pattern, root_dir=folder)]  # noqa: PTH207, Path.glob fails where one goes


def discard(folder: Path) -> None:
    """Remove an entry at once: under its name, nobody sees it half removed."""
    hidden = folder.with_name(f".gone-{uuid4().hex}")
    with suppress(OSError):
        folder.rename(hidden)
        shutil.rmtree(hidden)


def sweep(folder: Path) -> None:
    """Remove what killed jobs left: stages and hidden folders that nothing has touched for a day."""
    for path in (*find(folder, f"{STAGED}*"), *find(folder, "*/*/.gone-*")):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED:
                shutil.rmtree(path)


def dream_store() -> DreamStore:
    """Return the store of dreams: below ``results/.store``, or below what DREAMBIRDS_STORE names."""
    return DreamStore(store_root() / "dreams")


def dream_key(facts: dict[str, Any] | list[Any]) -> str:
    """Return the digest of JSON facts: all that decides the pixels of a dream."""
    return digest_of(facts)[:40]

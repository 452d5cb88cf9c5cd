"""The store of dreams: a cache that all studies share.

It is addressed by what determines a dream's pixels. An entry is a folder ``<first two>/<digest>/<name>`` of files. Its
``entry.json`` contains their metadata and digests. Entries are written to a stage, a temporary folder, and are moved
into the store by renaming, either all entries of a stage or none. So any number of jobs may read and write at the same
time, and may be killed, also on network file systems.
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

from dreambirds.errors import reason_of
from dreambirds.io import digest_of, sha256_of, store_root, unwritable

RECORD = "entry.json"
STAGED, READY = ".stage-", ".ready-"
ABANDONED = 24 * 3600  # seconds after which a stage is assumed to be left by a killed job
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredSnapshot:
    """One entry: its folder, its metadata, and the sha256 of its files by name."""

    folder: Path
    facts: dict[str, Any]
    files: dict[str, str]


class Transaction:
    """Entries that are being written.

    They are added to the store together when the ``with`` block succeeds.
    """

    def __init__(self, folder: Path):
        """Write entries below `folder`."""
        self.folder = folder
        self.entries: list[tuple[StoredSnapshot, bool]] = []

    @contextmanager
    def entry(self, key: str, name: str, facts: dict[str, Any], keep: bool = True) -> Iterator[Path]:
        """Yield a folder for the files of an entry; `facts` is its metadata, as JSON.

        With `keep` false, the entry is not added to the store, and can be read until the stage ends.
        """
        folder = self.folder / key / name
        folder.mkdir(parents=True)
        yield folder
        files = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
        entry = StoredSnapshot(folder, facts, files)
        record = {"facts": facts, "files": files, "sha256": dream_key([facts, files])}
        (folder / RECORD).write_text(json.dumps(record, indent=1, ensure_ascii=False))
        self.entries.append((entry, keep))

    def last(self) -> StoredSnapshot:
        """Return the most recently written entry."""
        return self.entries[-1][0]

    def remove_unkept(self) -> None:
        """Remove the entries that are not to be kept."""
        for entry, keep in self.entries:
            if not keep:
                shutil.rmtree(entry.folder)


class DreamStore:
    """The dreams in one folder. Many jobs may use it at the same time."""

    def __init__(self, folder: Path):
        """Use `folder`, which may be missing; add complete stages of killed jobs."""
        self.folder = folder
        for ready in find(folder, f"{READY}*"):
            self._publish(ready)

    def get(self, key: str, name: str) -> StoredSnapshot | None:
        """Return an entry, or None if it does not exist.

        A corrupt entry is removed, with a warning in the log.
        """
        folder = self._path(key) / name
        try:
            record = json.loads((folder / RECORD).read_text())
            entry = StoredSnapshot(folder, record["facts"], record["files"])
            if dream_key([entry.facts, entry.files]) != record["sha256"]:
                raise ValueError(f"{RECORD} does not match its digest")
            for file, digest in entry.files.items():
                if sha256_of(folder / file) != digest:
                    raise ValueError(f"{file} does not match its digest")
            with suppress(OSError):
                os.utime(folder / RECORD)  # eviction uses this time; the file may belong to another user
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError) as error:
            if folder.exists():
                log.warning("the stored dream '%s' is corrupt (%s); recomputing it", folder, reason_of(error))
                discard(folder)
            return None
        except OSError as error:  # not removed: it may be readable for other users, or later
            if folder.exists():
                log.warning("cannot read the stored dream '%s' (%s); recomputing it", folder, reason_of(error))
            return None
        return entry

    @contextmanager
    def stage(self) -> Iterator[Transaction]:
        """Yield a stage for new entries.

        Raises UserError if the store cannot be written to.
        """
        stage = Transaction(self.folder / f"{STAGED}{uuid4().hex}")
        try:
            stage.folder.mkdir(parents=True)
            yield stage
            stage.remove_unkept()
            ready = stage.folder.with_name(stage.folder.name.replace(STAGED, READY))
            stage.folder.rename(ready)  # from here on, all its entries survive a kill
            self._publish(ready)
        except OSError as error:
            raise unwritable("dreams", self.folder, error) from error
        finally:
            shutil.rmtree(stage.folder, ignore_errors=True)

    def _publish(self, ready: Path) -> None:
        """Move the entries of a complete stage into the store.

        Another job may be doing the same. Entries that cannot be moved stay in the stage, and the next job tries again.
        """
        for folder in find(ready, "*/*"):
            target = self._path(folder.parent.name) / folder.name
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                folder.rename(target)
            except OSError as error:
                if target.exists():
                    shutil.rmtree(folder, ignore_errors=True)
                elif folder.exists():
                    message = "cannot add the dream '%s' to the store (%s); the next job tries again"
                    log.warning(message, folder, reason_of(error))
        for folder in (*find(ready, "*"), ready):
            with suppress(OSError):  # another job removed it, or it is not empty
                folder.rmdir()

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / key


def find(folder: Path, pattern: str) -> list[Path]:
    """Return the paths in a folder that match a pattern.

    Other jobs may add and remove files in the meantime.
    """
    # Path.glob fails if a folder is removed meanwhile
    return [folder / name for name in glob(pattern, root_dir=folder)]  # noqa: PTH207


def discard(folder: Path) -> None:
    """Remove an entry atomically.

    It is renamed first, so other jobs never find it partly removed.
    """
    hidden = folder.with_name(f".gone-{uuid4().hex}")
    with suppress(OSError):
        folder.rename(hidden)
        shutil.rmtree(hidden)


def sweep(folder: Path) -> None:
    """Remove what killed jobs left.

    These are stages and hidden folders that have not been modified for a day.
    """
    for path in (*find(folder, f"{STAGED}*"), *find(folder, "*/*/.gone-*")):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED:
                shutil.rmtree(path)


def dream_store() -> DreamStore:
    """Return the store in ``results/.store``, or where DREAMBIRDS_STORE is set."""
    return DreamStore(store_root() / "dreams")


def dream_key(facts: dict[str, Any] | list[Any]) -> str:
    """Return a digest of JSON facts that determine stored results."""
    return digest_of(facts)[:40]

"""The store of dreams: a cache that all studies share.

It is addressed by what determines a dream's pixels. An entry is a folder ``<first two>/<digest>/<name>`` of files. Its
``entry.json`` contains their metadata and digests. Entries are written to a stage, a temporary folder, and are moved
into the store by renaming, either all entries of a stage or none. So any number of jobs may read and write at the same
time, and may be killed, also on network file systems.
"""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any
from uuid import uuid4

from dreambirds.errors import reason_of
from dreambirds.io import OWN_STORE, digest_of, is_forbidden, sha256_of, store_root, unwritable

RECORD = "entry.json"
STAGED, READY = ".stage-", ".ready-"
ABANDONED = 24 * 3600  # seconds after which a stage is assumed to be left by a killed job
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredSnapshot:
    """One entry: its folder, its metadata, and the sha256 of its files by name.

    An entry that is not in the store has its files in `contents`, or in the folder `waiting` if it could not be added.
    """

    folder: Path
    facts: dict[str, Any]
    files: dict[str, str]
    contents: Mapping[str, bytes] | None = None
    waiting: Path | None = None

    def read(self, name: str) -> bytes:
        """Return the content of a file. Raises OSError if it cannot be read, for example after it was evicted."""
        if self.contents is not None:
            return self.contents[name]
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            if self.waiting is None:
                raise
            return (self.waiting / name).read_bytes()


class Transaction:
    """Entries that are being written.

    They are added to the store together when the ``with`` block succeeds.
    """

    def __init__(self, store: "DreamStore"):
        """Write entries into a new folder of a store."""
        name, self.store = uuid4().hex, store
        self.folder, self.ready = store.folder / f"{STAGED}{name}", store.folder / f"{READY}{name}"

    def add(
        self, key: str, name: str, facts: dict[str, Any], contents: Mapping[str, bytes], keep: bool = True
    ) -> StoredSnapshot:
        """Write an entry, and return it, to be read after the ``with`` block.

        `facts` is its metadata, as JSON, and `contents` are its files by name. If the store has the entry already, that
        one is returned. With `keep` false, or if the dream's folder may not be written to, the entry stays in memory.
        """
        files = {file: hashlib.sha256(contents[file]).hexdigest() for file in sorted(contents)}
        target = key_folder(self.store.folder, key) / name
        if not keep or target.exists() or is_forbidden(target):
            existing = self.store.get(key, name) if keep else None
            return existing or StoredSnapshot(target, facts, files, contents=contents)
        folder = self.folder / key / name
        folder.parent.mkdir(exist_ok=True)
        folder.mkdir()
        for file, content in contents.items():
            (folder / file).write_bytes(content)
        record = {"facts": facts, "files": files, "sha256": dream_key([facts, files])}
        (folder / RECORD).write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
        return StoredSnapshot(target, facts, files, waiting=self.ready / key / name)


class DreamStore:
    """The dreams in one folder. Many jobs may use it at the same time.

    If the folder may not be written to, because it belongs to another user, entries are read from it, and new ones go
    to the user's second store.
    """

    def __init__(self, folder: Path):
        """Use `folder`, which may be missing; add complete stages of killed jobs."""
        second = OWN_STORE / "dreams"
        self.folders = [folder] if is_writable(folder) else list(dict.fromkeys([second, folder]))
        self.folder = self.folders[0]
        for ready in find(self.folder, f"{READY}*"):
            if not is_forbidden(ready / STAGED):  # else it is another user's
                self._publish(ready)

    def get(self, key: str, name: str) -> StoredSnapshot | None:
        """Return an entry, or None if it does not exist.

        A corrupt entry is removed, with a warning in the log.
        """
        found = (self._read(key_folder(folder, key) / name) for folder in self.folders)
        return next((entry for entry in found if entry is not None), None)

    def _read(self, folder: Path) -> StoredSnapshot | None:
        try:
            record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
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
        stage = Transaction(self)
        try:
            stage.folder.mkdir(parents=True)
            yield stage
            stage.folder.rename(stage.ready)  # from here on, all its entries survive a kill
            self._publish(stage.ready)
        except OSError as error:
            raise unwritable("dreams", self.folder, error) from error
        finally:
            shutil.rmtree(stage.folder, ignore_errors=True)

    def _publish(self, ready: Path) -> None:
        """Move the entries of a complete stage into the store.

        Another job may be doing the same. Entries that cannot be moved stay in the stage, and the next job tries again.
        """
        for folder in find(ready, "*"):
            with suppress(OSError):  # the store has entries of this dream already: they are moved one by one
                target = key_folder(self.folder, folder.name)
                target.parent.mkdir(parents=True, exist_ok=True)
                folder.rename(target)
        for folder in find(ready, "*/*"):
            target = key_folder(self.folder, folder.parent.name) / folder.name
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


def is_writable(folder: Path) -> bool:
    """Return whether this user may add entries to the folder of a store.

    Another user who shares it may own the folder, or some of the folders in it.
    """
    folders = (folder, *find(folder, "[0-9a-f][0-9a-f]"))
    return not any(is_forbidden(Path(path, STAGED)) for path in folders)


def key_folder(store: Path, key: str) -> Path:
    """Return the folder of the entries of a dream in the folder of a store."""
    return store / key[:2] / key


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

"""Expand paths of the config, read YAML, write files atomically, and compute digests."""

import bz2
import hashlib
import json
import os
import re
import shutil
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml

from dreambirds.errors import AGAIN, FULL, UserError, reason_of

try:
    from yaml import CSafeLoader as SafeLoader
except ImportError:
    from yaml import SafeLoader

STORE = "DREAMBIRDS_STORE"  # the environment variable
OWN_STORE = Path("results/.store")  # the default, and the user's second store if another one may not be written to
TEMPORARY_NAME = re.compile(r"\.[0-9a-f]{32}(\.[^.]*)?")  # a temporary name that `atomic_write` gives


def expand(path: str) -> Path:
    """Return a path of the config with ``~`` and ``$VARIABLES`` replaced.

    Unknown variables and users are kept unchanged.
    """
    expanded = Path(os.path.expandvars(path))
    try:
        return expanded.expanduser()
    except RuntimeError:  # there is no such user
        return expanded


def is_file(path: Path) -> bool:
    """Return whether a path is a file; False for an invalid path, such as a long one."""
    try:
        return path.is_file()
    except OSError:
        return False


def exists(path: Path) -> bool:
    """Return whether a path exists; False for an invalid path, such as a long one."""
    try:
        return path.exists()
    except OSError:
        return False


def refuse_pipe(path: Path, name: str, key: str | None = None) -> None:
    """Raise UserError, which calls a path `name`, if it is a pipe, a socket or a device: reading it may never end."""
    if exists(path) and not path.is_file() and not path.is_dir():
        raise UserError(f"{name} is a pipe, a socket or a device, not a file; pass the path of a file", key)


def file_problem(path: Path, kind: str = "is not a file") -> str:
    """Return the problem of a path that is not such a file: it does not exist, or is of another `kind`."""
    return kind if exists(path) else "does not exist"


def store_root(folder: str | None = None) -> Path:
    """Return the folder of the store: `folder`, else DREAMBIRDS_STORE, else ``results/.store``."""
    return expand(folder or os.environ.get(STORE) or str(OWN_STORE))


def is_forbidden(path: Path) -> bool:
    """Return whether this user may not create a file at a path, with its missing parents, or not replace it.

    It is False if that fails for another reason, for example because a file is in place of a folder.
    """
    parent = next(parent for parent in path.absolute().parents if exists(parent))
    return parent.is_dir() and not os.access(parent, os.W_OK | os.X_OK)


def store_entry(*names: str, folder: Path | None = None) -> Path:
    """Return where an entry of the store is read, or must be written: in the store, or in the user's second store.

    The second store, ``results/.store``, has what may not be written to the store, which may belong to another user.
    What the store has is read there, unless the second store replaces it. The first of `names` is a part of the store,
    such as ``dreams``; `folder` is its folder, by default that in the store.
    """
    path, second = _places(names, folder)
    return second if is_forbidden(path) and (exists(second) or not exists(path)) else path


def store_target(*names: str, folder: Path | None = None) -> Path:
    """Return where an entry of the store is written: in the store, or in the second store if it may not be there."""
    path, second = _places(names, folder)
    return second if is_forbidden(path) else path


def _places(names: tuple[str, ...], folder: Path | None) -> tuple[Path, Path]:
    """Return the paths of an entry in the store and in the second store; `folder` replaces that of the first name."""
    root = store_root() / names[0] if folder is None else folder
    return root.joinpath(*names[1:]), OWN_STORE.joinpath(*names)


def store_roots() -> list[Path]:
    """Return the folders of the store: `store_root`, and the second store if it has what may not be written there."""
    root, parts = store_root(), []
    with suppress(OSError):
        parts = list(root.iterdir())
    forbidden = any(is_forbidden(part / "entry") for part in (root, *parts))
    return list(dict.fromkeys([root, *([OWN_STORE] if forbidden and OWN_STORE.is_dir() else [])]))


def use_store(folder: str | None) -> None:
    """Use `folder` as the store in this process and in the processes that it starts; None changes nothing."""
    if folder:
        os.environ[STORE] = folder


def read_yaml(path: Path) -> Any:
    """Return the contents of a YAML file of this project, read by PyYAML's parser in C where it has one."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=SafeLoader)


def plain_copy(value: Any) -> Any:
    """Return nested plain dicts and lists.

    Snakemake passes ordered ones, and shared defaults must not be modified.
    """
    if isinstance(value, dict):
        return {key: plain_copy(entry) for key, entry in value.items()}
    return [plain_copy(entry) for entry in value] if isinstance(value, (list, tuple)) else value


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `path`, or is deleted on an exception."""
    temporary = path.with_name(f".{uuid4().hex}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_stale_temp_files(folder: Path, age: float) -> None:
    """Remove temporary files of killed jobs that are older than `age` seconds."""
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in names if TEMPORARY_NAME.fullmatch(name)):
            with suppress(OSError):  # it was renamed, or belongs to another user
                if time.time() - path.stat().st_mtime > age:
                    path.unlink()


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's contents, read in chunks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(facts: object) -> str:
    """Return the sha256 of JSON data, independent of the order of keys."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def to_parameter(value: object) -> str:
    """Return JSON data as one compressed base64 string, for the parameters of a rule.

    Snakemake interprets braces in a parameter as wildcards, and its report repeats all parameters of a job for each
    image of the job. The compressed string is short, and keeps the user's names and paths out of the page.
    """
    return b64encode(bz2.compress(json.dumps(value).encode())).decode()


def from_parameter(text: str) -> Any:
    """Return the data that `to_parameter` encoded."""
    return json.loads(bz2.decompress(b64decode(text)))


def unwritable(content: str, folder: Path, error: OSError) -> UserError:
    """Return the UserError for a part of the store that cannot be written to."""
    if error.errno in FULL:
        return UserError(f"the disk is full (cannot write to '{folder}'); free some space and {AGAIN}")
    return UserError(
        f"cannot write to the store of {content} '{folder}' ({reason_of(error)}); set the environment variable "
        "DREAMBIRDS_STORE to a writable folder"
    )


def link_or_copy(file: Path, path: Path) -> None:
    """Hard-link `file` to `path`, or copy it if that fails; replace what exists."""
    try:
        path.hardlink_to(file)
    except OSError:  # it exists already, or the file system does not support links
        with atomic_write(path) as temporary:
            try:
                temporary.hardlink_to(file)
            except OSError:
                shutil.copyfile(file, temporary)

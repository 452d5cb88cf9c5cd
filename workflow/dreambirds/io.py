"""Paths as a user writes them, and files that appear when they are whole."""

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

from dreambirds.errors import UserError

HALF = re.compile(r"\.[0-9a-f]{32}(\.[^.]*)?")  # a name that `atomic_write` gives


def expand(path: str) -> Path:
    """Return a path of the config with ``~`` and ``$VARIABLES`` replaced; a variable or a
    user that is not known stays as it is."""
    expanded = Path(os.path.expandvars(path))
    try:
        return expanded.expanduser()
    except RuntimeError:  # nobody is called so
        return expanded


def is_file(path: Path) -> bool:
    """Tell whether a path of the config is a file; one that no file system takes, such as a very long one, is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def store_root() -> Path:
    """Return the folder of all that is kept for other studies: ``results/.store``, or what DREAMBIRDS_STORE names."""
    return expand(os.environ.get("DREAMBIRDS_STORE") or "results/.store")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`, which becomes it when all went well and is removed otherwise."""
    temporary = path.with_name(f".{uuid4().hex}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_stale_temp_files(folder: Path, age: float) -> None:
    """Remove below a folder what killed jobs left half written under temporary names, `age` seconds ago or before."""
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names if HALF.fullmatch(name)):
            with suppress(OSError):  # it became whole, or is another's
                if time.time() - path.stat().st_mtime > age:
                    path.unlink()


def sha256_of(path: Path) -> str:
    """Return the digest of a file's contents, read a piece at a time."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(facts: object) -> str:
    """Return the sha256 of JSON facts, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def to_parameter(value: object) -> str:
    """Return JSON facts as one packed word, for a rule's parameters.

    Snakemake takes braces in a parameter for wildcards, and its report repeats all parameters of a job at each of the
    job's pictures. Packed, the facts are short, and no name or path of the user's becomes part of a page.
    """
    return b64encode(bz2.compress(json.dumps(value).encode())).decode()


def from_parameter(text: str) -> Any:
    """Return the facts that `to_parameter` packed."""
    return json.loads(bz2.decompress(b64decode(text)))


def unwritable(what: str, folder: Path, error: OSError) -> UserError:
    """Return the sentence that a part of the store can't be written to."""
    return UserError(
        f"the store of {what} '{folder}' can't be written to ({error.strerror or error}); the environment variable "
        "DREAMBIRDS_STORE names the folder that it lies in"
    )


def link_or_copy(file: Path, path: Path) -> None:
    """Put a file at `path` too: as the same file where the disk allows, else as a copy; what was there is replaced."""
    with atomic_write(path) as temporary:
        try:
            temporary.hardlink_to(file)
        except OSError:
            shutil.copyfile(file, temporary)

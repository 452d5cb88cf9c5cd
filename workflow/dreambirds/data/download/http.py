"""Download one large file over HTTP: resumable, verified by checksum, and atomic."""

import contextlib
import hashlib
import logging
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import requests
from filelock import FileLock, Timeout
from requests.exceptions import ChunkedEncodingError, InvalidSchema, InvalidURL, MissingSchema
from tqdm import tqdm

from dreambirds.errors import AGAIN, FULL, UserError, first_line, reason_of

log = logging.getLogger(__name__)
CHUNK = 1 << 16  # bytes per read, the most that a stalled read can lose
REMINDER = 600.0  # seconds between log lines of a process that waits for another one
RETRYABLE = {408, 425, 429}  # status codes below 500 for which a retry may succeed


@dataclass(frozen=True)
class RemoteFile:
    """A file to download: its address, and its checksum ``md5:…`` or ``sha256:…``.

    `variables` are the environment variables that set `address` or `checksum`, by these names, for messages. Raises
    UserError if the checksum is not of this form, in hexadecimal digits.
    """

    address: str
    checksum: str
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        """Check the form of the checksum, so that a typo is found before the download."""
        if not re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", self.checksum):
            form = "'md5:' and 32, or 'sha256:' and 64 lowercase hexadecimal digits"
            key = self.variables.get("checksum", f"the checksum of '{self.address}'")
            raise UserError(f"must be {form}, not '{self.checksum}'", key)

    def by_hand(self, to: Path) -> str:
        """Return what to do if the server does not provide the file."""
        variable = self.variables.get("address")
        return f"copy the file to '{to}'" + (f", or correct {variable}" if variable else "")

    def sum_of(self, path: Path) -> str:
        """Return the checksum of a file, in the form of `checksum`."""
        algorithm = self.checksum.partition(":")[0]
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
        return f"{algorithm}:{digest.hexdigest()}"


@dataclass(frozen=True)
class RetryPolicy:
    """When to retry a download.

    `timeout` is the number of seconds without data before a try fails, `tries` the number of successive tries without
    new data, and `pause` the number of seconds between tries.
    """

    timeout: float = 60
    tries: int = 5
    pause: float = 5


RETRIES = RetryPolicy()


def download(remote: RemoteFile, to: Path, policy: RetryPolicy = RETRIES) -> None:
    """Download a file to `to`, through ``<to>.part``.

    After a failure, the next call resumes from the partial file. Raises UserError if the server does not have the file
    or sends no more data, if the disk is full, or if the checksum is wrong. Only a wrong checksum deletes the partial
    file.
    """
    part = to.with_name(f"{to.name}.part")
    with disk_errors(part):
        to.parent.mkdir(parents=True, exist_ok=True)
        if not (part.is_file() and remote.sum_of(part) == remote.checksum):
            _fetch(remote, part, to, policy)
            log.info("verifying the checksum of '%s'", part)
            found = remote.sum_of(part)
            if found != remote.checksum:
                part.unlink()
                raise UserError(
                    f"the file from '{remote.address}' has the checksum {found}, not {remote.checksum}, and was "
                    f"deleted; run the same command again to download it, or copy the correct file to '{to}'"
                )
        part.replace(to)


@contextlib.contextmanager
def download_lock(path: Path) -> Iterator[None]:
    """Hold the lock file ``<path>.lock``: one process downloads, others wait, and say so every `REMINDER` seconds."""
    lock = FileLock(f"{path}.lock")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        patience = 0.0
        while not lock.is_locked:
            try:
                lock.acquire(timeout=patience)
            except Timeout:
                patience = REMINDER
                log.info(
                    "another process is downloading '%s'; waiting for it (if none is, stop this one, delete '%s', and "
                    "run the same command again)",
                    path,
                    lock.lock_file,
                )
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into a UserError about `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise UserError(
                f"the disk is full (cannot write to '{path}'); free some space and {_resume(_size(path))}"
            ) from None
        raise UserError(f"cannot write to '{path}' ({reason_of(error)}); fix that and {AGAIN}") from None


def _fetch(remote: RemoteFile, part: Path, to: Path, policy: RetryPolicy) -> None:
    """Download to `part`; give up after `policy.tries` tries without new data."""
    address, most, failures = remote.address, _size(part), 0
    while True:
        try:
            return _request_rest(remote, part, to, policy.timeout)
        except (MissingSchema, InvalidSchema, InvalidURL) as error:
            problem = f"'{address}' is not a valid address ({first_line(error)})"
            raise UserError(f"{problem}; {remote.by_hand(to)}") from None
        except requests.RequestException as error:
            reason = _reason(error, policy.timeout)
        size = _size(part)
        failures = 0 if size > most else failures + 1
        most = max(most, size)
        if failures >= policy.tries:
            raise UserError(f"cannot download '{address}' ({reason}); {_resume(size)}, or copy the file to '{to}'")
        log.warning("'%s': %s; retrying from %s", address, reason, _size_text(size))
        time.sleep(policy.pause)


def _request_rest(remote: RemoteFile, part: Path, to: Path, timeout: float) -> None:
    """Request the missing bytes once, and write them.

    Raises the exceptions of requests if a retry may help.
    """
    have = _size(part)
    # identity, because the checksum is of the file itself, not of a compressed transfer
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with requests.get(remote.address, headers=headers, stream=True, timeout=timeout) as reply:
        if reply.status_code == 416:
            if reply.headers.get("Content-Range") == f"bytes */{have}":
                return
            part.unlink()
            raise ChunkedEncodingError("the server has a different file than before")
        if 400 <= reply.status_code < 500 and reply.status_code not in RETRYABLE:
            problem = f"cannot download '{remote.address}' (the server responded {reply.status_code} {reply.reason})"
            raise UserError(f"{problem}; {remote.by_hand(to)}")
        reply.raise_for_status()
        begin = _first_byte(reply)
        if begin > have:
            raise ChunkedEncodingError("the server sent a different range of bytes than requested")
        _write(reply, part, begin)


def _first_byte(reply: requests.Response) -> int:
    """Return the offset of a reply's first byte: 0 unless the server supports `Range`."""
    given = re.match(r"bytes (\d+)-", reply.headers.get("Content-Range", ""))
    return int(given[1]) if reply.status_code == 206 and given else 0


def _write(reply: requests.Response, part: Path, begin: int) -> None:
    length = reply.headers.get("Content-Length", "")
    total = begin + int(length) if length.isdigit() else None
    size = _size_text(total) if total else "an unknown size"
    log.info("%s from %s of %s", "resuming" if begin else "starting", _size_text(begin), size)
    reply.raw.headers.pop("Content-Encoding", None)  # some servers set it for a .tgz, and requests would decompress it
    bar = tqdm(initial=begin, total=total, unit="B", unit_scale=True, desc=part.stem, disable=None)
    with bar, part.open("r+b" if part.is_file() else "wb") as file:
        file.seek(begin)
        file.truncate()
        for chunk in reply.iter_content(CHUNK):
            file.write(chunk)
            bar.update(len(chunk))


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _size_text(size: int) -> str:
    """Return a number of bytes as text, such as ``1.15 GB``."""
    return re.sub(r"(?<=\d)(?=[A-Za-z])", " ", tqdm.format_sizeof(size, "B"))


def _resume(size: int) -> str:
    return f"run the same command again to resume from {_size_text(size)}"


def _reason(error: requests.RequestException, timeout: float) -> str:
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"no data for {timeout:g} s"
    if isinstance(error, requests.HTTPError):
        return f"the server responded {error.response.status_code} {error.response.reason}"
    if isinstance(error, ChunkedEncodingError):
        return str(error) if str(error).startswith("the server") else "the connection was lost"
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's certificate is not trusted"
    return "no connection" if isinstance(error, requests.ConnectionError) else first_line(error)

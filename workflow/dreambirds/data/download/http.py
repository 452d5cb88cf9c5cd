"""Download one large file over HTTP: resumable, verified by checksum, and atomic."""

import contextlib
import hashlib
import logging
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests
from filelock import FileLock, Timeout
from requests.exceptions import ChunkedEncodingError, InvalidSchema, InvalidURL, MissingSchema
from tqdm import tqdm

from dreambirds.errors import FULL, UserError, first_line

log = logging.getLogger(__name__)
CHUNK = 1 << 16  # bytes per read, the most that a stalled read can lose
RETRYABLE = {408, 425, 429}  # status codes below 500 for which a retry may succeed


@dataclass(frozen=True)
class RemoteFile:
    """A file to download: its address, and its checksum ``md5:…`` or ``sha256:…``.

    Raises UserError if the checksum is not of this form, in hexadecimal digits.
    """

    address: str
    checksum: str

    def __post_init__(self):
        """Check the form of the checksum, so that a typo is found before the download."""
        if not re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", self.checksum):
            form = "'md5:' and 32, or 'sha256:' and 64 lowercase hexadecimal digits"
            raise UserError(f"the checksum of {self.address} must be {form}, not '{self.checksum}'")

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
            _fetch(remote.address, part, to, policy)
            log.info("verifying the checksum of %s", part)
            found = remote.sum_of(part)
            if found != remote.checksum:
                part.unlink()
                raise UserError(
                    f"the file from {remote.address} has the checksum {found}, not {remote.checksum}, and was deleted; "
                    f"run the same command again, or copy the correct file to {to}"
                )
        part.replace(to)


@contextlib.contextmanager
def download_lock(path: Path) -> Iterator[None]:
    """Hold the lock file ``<path>.lock``: one process downloads, the others wait."""
    lock = FileLock(f"{path}.lock")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("another process is downloading %s; waiting for it", path)
            lock.acquire()
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
                f"the disk is full (cannot write {path}); free some space and {_resume(_size(path))}"
            ) from None
        raise UserError(f"cannot write {path}: {error.strerror or first_line(error)}") from None


def _fetch(address: str, part: Path, to: Path, policy: RetryPolicy) -> None:
    """Download to `part`; give up after `policy.tries` tries without new data."""
    most, failures = _size(part), 0
    while True:
        try:
            return _request_rest(address, part, policy.timeout)
        except (MissingSchema, InvalidSchema, InvalidURL) as error:
            raise UserError(f"'{address}' is not a valid address: {first_line(error)}") from None
        except requests.RequestException as error:
            reason = _reason(error, policy.timeout)
        size = _size(part)
        failures = 0 if size > most else failures + 1
        most = max(most, size)
        if failures >= policy.tries:
            raise UserError(f"cannot download {address}: {reason}; {_resume(size)}, or copy the file to {to}")
        log.warning("%s: %s; retrying at %s", address, reason, _size_text(size))
        time.sleep(policy.pause)


def _request_rest(address: str, part: Path, timeout: float) -> None:
    """Request the missing bytes once, and write them.

    Raises the exceptions of requests if a retry may help.
    """
    have = _size(part)
    # identity, because the checksum is of the file itself, not of a compressed transfer
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with requests.get(address, headers=headers, stream=True, timeout=timeout) as reply:
        if reply.status_code == 416:
            if reply.headers.get("Content-Range") == f"bytes */{have}":
                return
            part.unlink()
            raise ChunkedEncodingError("the server has a different file than before")
        if 400 <= reply.status_code < 500 and reply.status_code not in RETRYABLE:
            raise UserError(f"cannot download {address}: the server responded {reply.status_code} {reply.reason}")
        reply.raise_for_status()
        begin = _first_byte(reply)
        if begin > have:
            raise ChunkedEncodingError("the server sent another range of bytes than requested")
        _write(reply, part, begin)


def _first_byte(reply: requests.Response) -> int:
    """Return the offset of a reply's first byte: 0 unless the server supports `Range`."""
    given = re.match(r"bytes (\d+)-", reply.headers.get("Content-Range", ""))
    return int(given[1]) if reply.status_code == 206 and given else 0


def _write(reply: requests.Response, part: Path, begin: int) -> None:
    length = reply.headers.get("Content-Length", "")
    total = begin + int(length) if length.isdigit() else None
    size = _size_text(total) if total else "an unknown size"
    log.info("%s at %s of %s", "resuming" if begin else "starting", _size_text(begin), size)
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
    return f"run the same command again to resume at {_size_text(size)}"


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

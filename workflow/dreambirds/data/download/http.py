"""Fetch one large file over HTTP: resumed where it broke off, checked against a published sum, whole or not there."""

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
CHUNK = 1 << 16  # bytes; what a stalled read may lose
LATER = {408, 425, 429}  # the answers below 500 that another try may change


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch: its address, and its sum as ``md5:…`` or ``sha256:…`` in hexadecimal digits.

    Raises UserError if the sum is neither.
    """

    address: str
    checksum: str

    def __post_init__(self):
        """Check the sum's form, so that a typo is not taken for a damaged file after an hour."""
        if not re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", self.checksum):
            form = "'md5:' and 32, or 'sha256:' and 64 digits and letters a to f"
            raise UserError(f"the checksum of {self.address} must be {form}, not '{self.checksum}'")

    def sum_of(self, path: Path) -> str:
        """Return a file's sum in the form of this file's own."""
        algorithm = self.checksum.partition(":")[0]
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
        return f"{algorithm}:{digest.hexdigest()}"


@dataclass(frozen=True)
class RetryPolicy:
    """Seconds to wait for a byte, tries in a row that may bring nothing new, and seconds to pause between tries."""

    timeout: float = 60
    tries: int = 5
    pause: float = 5


RETRIES = RetryPolicy()


def download(remote: RemoteFile, to: Path, patience: RetryPolicy = RETRIES) -> None:
    """Fetch a file to `to` by way of ``<to>.part``, which stays where this fails, and from which the next call goes on.

    Raises UserError with one sentence if the server does not have it, if no more of it comes, if the disk is full, or
    if the sum is wrong; only then the part is deleted.
    """
    part = to.with_name(f"{to.name}.part")
    with disk_errors(part):
        to.parent.mkdir(parents=True, exist_ok=True)
        if not (part.is_file() and remote.sum_of(part) == remote.checksum):
            _fetch(remote.address, part, to, patience)
            log.info("checking the sum of %s", part)
            found = remote.sum_of(part)
            if found != remote.checksum:
                part.unlink()
                raise UserError(
                    f"what {remote.address} sent has the checksum {found}, not {remote.checksum}, and was deleted; "
                    f"run the same command again, or put the right file at {to} by hand"
                )
        part.replace(to)


@contextlib.contextmanager
def download_lock(path: Path) -> Iterator[None]:
    """Hold a lock beside `path`, so that one process at a time fetches it; others wait for as long as it takes."""
    lock = FileLock(f"{path}.lock")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("another process fetches %s; waiting for it", path)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into one sentence about `path`, a UserError; a full disk has a sentence of its own."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise UserError(f"the disk is full, no space for {path}; free some ({_kept(_size(path))})") from None
        raise UserError(f"cannot write {path}: {error.strerror or first_line(error)}") from None


def _fetch(address: str, part: Path, to: Path, patience: RetryPolicy) -> None:
    """Bring the whole file into `part`; try again as long as more arrives, and `patience.tries` times beyond that."""
    most, fruitless = _size(part), 0
    while True:
        try:
            return _go_on(address, part, patience.timeout)
        except (MissingSchema, InvalidSchema, InvalidURL) as error:
            raise UserError(f"'{address}' is no address to fetch from: {first_line(error)}") from None
        except requests.RequestException as error:
            reason = _reason(error, patience.timeout)
        there = _size(part)
        fruitless = 0 if there > most else fruitless + 1
        most = max(most, there)
        if fruitless >= patience.tries:
            raise UserError(f"could not fetch {address}: {reason}; {_kept(there)}; or put the file at {to} by hand")
        log.warning("%s: %s; %s is there, trying again", address, reason, _said(there))
        time.sleep(patience.pause)


def _go_on(address: str, part: Path, timeout: float) -> None:
    """Ask once for what is missing and write what comes. Raises requests' exceptions where another try may help."""
    have = _size(part)
    # identity, since the sum is of the file as it is, not of what a server packs for the way
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with requests.get(address, headers=headers, stream=True, timeout=timeout) as reply:
        if reply.status_code == 416:
            if reply.headers.get("Content-Range") == f"bytes */{have}":
                return
            part.unlink()
            raise ChunkedEncodingError("the server has another file than the one begun")
        if 400 <= reply.status_code < 500 and reply.status_code not in LATER:
            raise UserError(f"{address} cannot be fetched: the server answers {reply.status_code} {reply.reason}")
        reply.raise_for_status()
        begin = _begin(reply)
        if begin > have:
            raise ChunkedEncodingError("the server sent another part than was asked for")
        _write(reply, part, begin)


def _begin(reply: requests.Response) -> int:
    """Return the place in the file of a reply's first byte: 0 unless the server heeds `Range`."""
    given = re.match(r"bytes (\d+)-", reply.headers.get("Content-Range", ""))
    return int(given[1]) if reply.status_code == 206 and given else 0


def _write(reply: requests.Response, part: Path, begin: int) -> None:
    length = reply.headers.get("Content-Length", "")
    total = begin + int(length) if length.isdigit() else None
    log.info("%s at %s of %s", "going on" if begin else "beginning", _said(begin), _said(total) if total else "unknown")
    reply.raw.headers.pop("Content-Encoding", None)  # some servers call a .tgz packed, and requests would unpack it
    bar = tqdm(initial=begin, total=total, unit="B", unit_scale=True, desc=part.stem, disable=None)
    with bar, part.open("r+b" if part.is_file() else "wb") as file:
        file.seek(begin)
        file.truncate()
        for chunk in reply.iter_content(CHUNK):
            file.write(chunk)
            bar.update(len(chunk))


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _said(size: int) -> str:
    """Return a number of bytes for people, such as ``1.15 GB``."""
    return re.sub(r"(?<=\d)(?=[A-Za-z])", " ", tqdm.format_sizeof(size, "B"))


def _kept(size: int) -> str:
    return f"{_said(size)} is there, and the same command goes on from there"


def _reason(error: requests.RequestException, timeout: float) -> str:
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"no byte came for {timeout:g} s"
    if isinstance(error, requests.HTTPError):
        return f"the server answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, ChunkedEncodingError):
        return str(error) if str(error).startswith("the server") else "the connection broke off"
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's certificate is not accepted"
    return "no connection" if isinstance(error, requests.ConnectionError) else first_line(error)

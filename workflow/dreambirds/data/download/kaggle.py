"""Download the CSE455 birds with Kaggle's own client.

The data set contains 38,562 photographs of 555 species for training, and 10,000 without labels. A course at the
University of Washington repeated the competition each term with the same photographs. `birds21sp`
(https://www.kaggle.com/c/birds21sp) is that of spring 2021, the year of the original study: many reports of that course
link to it and give these counts. The study does not report whether it used this one or `birds21wi`, of winter.
"""

import logging
import re
import selectors
import shutil
import subprocess
import sys
import zipfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from dreambirds.data.download.http import disk_errors, download_lock
from dreambirds.data.sources.catalog import RESOURCES
from dreambirds.errors import UserError

log = logging.getLogger(__name__)
COMPETITION = "birds21sp"
RULES = f"https://www.kaggle.com/competitions/{COMPETITION}/rules"
BY_HAND = f"copy the zip to '{RESOURCES['kaggle'].place}' or set dataset.path to it"

# Patterns in the client's output, and the errors for them; the first match counts.
ERRORS = {
    r"accept its rules|accept this competition's rules": "Kaggle requires that you accept the competition's rules; do "
    f"so at {RULES} with the token's account, then run the same command again",
    r"Authentication required": "Kaggle requires a valid API token; create one at https://www.kaggle.com/settings/api, "
    "save it in ~/.kaggle/access_token or in KAGGLE_API_TOKEN (~/.kaggle/kaggle.json, or KAGGLE_USERNAME and "
    f"KAGGLE_KEY, also work), and accept the competition's rules at {RULES}",
    r"resource was not found": f"Kaggle has no competition '{COMPETITION}', or this account has no access to it; use "
    "another account",
    r"rate limited": "Kaggle limits the requests of this account; run the same command again in a few minutes",
    r"problem on Kaggle's side": "Kaggle's servers failed; run the same command again later",
    r"No space left on device|quota": "the disk is full; free some space and run the same command again to resume",
    r"Connection|Max retries|timed out|IncompleteRead": "the connection to Kaggle failed or was lost, but the partial "
    "download is kept; run the same command again to resume",
}


def fetch_cse455(timeout: float = 600) -> None:
    """Download the competition's zip to its path below ``resources``.

    Nothing is downloaded if the zip or the unpacked folder exists. The client is stopped after `timeout` seconds
    without output. Raises UserError.
    """
    target = Path(RESOURCES["kaggle"].place)
    with download_lock(target):
        if found := RESOURCES["kaggle"].found():
            log.info("'%s' already exists", found)
            return
        if find_spec("kaggle") is None:
            raise UserError(f"Kaggle's client is not installed; run `pip install kaggle six`, or {BY_HAND}")
        folder = target.with_name("download")
        log.info("downloading the data of the competition '%s' from Kaggle", COMPETITION)
        _run_client(folder, timeout)
        _check(folder / f"{COMPETITION}.zip")
        with disk_errors(target):
            (folder / f"{COMPETITION}.zip").replace(target)
            shutil.rmtree(folder)
        log.info("'%s' is ready", target)


def _run_client(folder: Path, timeout: float) -> None:
    """Run the client, which resumes a partial download in `folder`.

    Raises UserError if it fails.
    """
    # a separate process, because importing the client logs in; -P ignores a folder named kaggle
    command = [sys.executable, "-P", "-m", "kaggle", "-W", "competitions", "download", COMPETITION, "-p", str(folder)]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, **pipes) as client:
        try:
            output = _read_output(client, timeout)
        finally:
            client.kill()  # does nothing if the client has ended
    if client.returncode != 0:
        log.warning("Kaggle's client: %s", next(iter(output.strip().splitlines()), "no output"))
        raise UserError(f"{_explain(output)}; or else {BY_HAND}")


def _read_output(client: subprocess.Popen, timeout: float) -> str:
    """Wait for the client to end, and return its output; also copy it to a terminal."""
    output = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(client.stdout, selectors.EVENT_READ)
        while selector.select(timeout):
            chunk = client.stdout.read1(1 << 16)
            if not chunk:
                with suppress(subprocess.TimeoutExpired):  # then it is killed
                    client.wait(timeout)
                return output.decode(errors="replace")
            output += chunk
            if sys.stderr.isatty():
                sys.stderr.write(chunk.decode(errors="replace"))
    raise UserError(
        f"Kaggle sent no data for {timeout:g} s, but the partial download is kept; run the same command again to "
        f"resume, or {BY_HAND}"
    )


def _explain(output: str) -> str:
    """Return the error for the client's output: a known one, or its last line."""
    for pattern, message in ERRORS.items():
        if re.search(pattern, output):
            return message
    lines = [line.strip() for line in re.split(r"[\r\n]+", output) if line.strip()]
    return f"Kaggle's client failed ({lines[-1] if lines else 'no output'}); run the same command again"


def _check(file: Path) -> None:
    """Delete the download and raise UserError unless it is a zip of training images."""
    try:
        with zipfile.ZipFile(file) as archive:
            wrong = "" if any("train/" in name for name in archive.namelist()) else "contains no folder 'train'"
    except (OSError, zipfile.BadZipFile):
        wrong = "is not a zip"
    if wrong:
        shutil.rmtree(file.parent, ignore_errors=True)
        raise UserError(
            f"the file from Kaggle {wrong} and was deleted; run the same command again to download it, or {BY_HAND}"
        )

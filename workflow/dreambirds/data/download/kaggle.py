"""The CSE455 birds: 38,562 photographs of 555 species to train on, and 10,000 without a label, by Kaggle's own client.

The course at the University of Washington ran the competition anew each term on the same photographs. `birds21sp`
(https://www.kaggle.com/c/birds21sp) is that of spring 2021, the year of the original study: many reports of that course
link it, with these counts. The study does not say whether it took this one or `birds21wi`, of winter.
"""

import logging
import re
import selectors
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

from dreambirds.data.download.http import disk_errors, download_lock
from dreambirds.data.sources.catalog import RESOURCES
from dreambirds.errors import UserError

log = logging.getLogger(__name__)
COMPETITION = "birds21sp"
RULES = f"https://www.kaggle.com/competitions/{COMPETITION}/rules"
BY_HAND = f"or put the zip, had otherwise, at {RESOURCES['kaggle'].place}, or name its place in dataset.path"

# What the client says, and what the user can do then; the first that is found counts.
ANSWERS = {
    r"accept its rules|accept this competition's rules": "Kaggle gives the data only to those who accepted the "
    f"competition's rules: do so at {RULES} with the token's account, then run the same command again",
    r"Authentication required": "Kaggle wants a token and got none that it takes: make one at "
    "https://www.kaggle.com/settings/api, save it as ~/.kaggle/access_token or in KAGGLE_API_TOKEN (a kaggle.json as "
    "~/.kaggle/kaggle.json, or KAGGLE_USERNAME and KAGGLE_KEY, serve too), and accept the competition's rules at "
    f"{RULES}",
    r"resource was not found": f"Kaggle has no competition '{COMPETITION}', or does not show it to this account",
    r"rate limited": "Kaggle wants fewer questions from this account; run the same command again in some minutes",
    r"problem on Kaggle's side": "Kaggle's servers have a fault; run the same command again later",
    r"No space left on device|quota": "the disk is full; free some, and the same command goes on",
    r"Connection|Max retries|timed out|IncompleteRead": "no connection to Kaggle, or it broke off; what came is kept, "
    "and the same command goes on from it",
}


def fetch_cse455(patience: float = 600) -> None:
    """Bring the competition's zip to its place below ``resources``, unless it or the unpacked folder is there.

    The client is stopped when it says nothing for `patience` seconds. Raises UserError with one sentence.
    """
    place = Path(RESOURCES["kaggle"].place)
    with download_lock(place):
        if found := RESOURCES["kaggle"].found():
            log.info("%s is there already", found)
            return
        if find_spec("kaggle") is None:
            raise UserError(f"Kaggle's client is not installed: pip install kaggle six; {BY_HAND}")
        folder = place.with_name("download")
        log.info("fetching the data of the competition %s from Kaggle", COMPETITION)
        _ask(folder, patience)
        _check(folder / f"{COMPETITION}.zip")
        with disk_errors(place):
            (folder / f"{COMPETITION}.zip").replace(place)
            shutil.rmtree(folder)
        log.info("%s is ready", place)


def _ask(folder: Path, patience: float) -> None:
    """Let the client download into a folder, where it goes on with what it left there; raise UserError if it fails."""
    # a process of its own, since importing the client logs in; -P keeps a folder named kaggle out of its way
    command = [sys.executable, "-P", "-m", "kaggle", "-W", "competitions", "download", COMPETITION, "-p", str(folder)]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, **pipes) as client:
        try:
            told = _listen(client, patience)
        finally:
            client.kill()  # does nothing to one that has ended
    if client.returncode != 0:
        log.warning("Kaggle's client: %s", next(iter(told.strip().splitlines()), "nothing"))
        raise UserError(f"{_meaning(told)}; {BY_HAND}")


def _listen(client: subprocess.Popen, patience: float) -> str:
    """Return all that the client says, shown as it comes where there is a terminal, and wait for its end."""
    told = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(client.stdout, selectors.EVENT_READ)
        while selector.select(patience):
            chunk = client.stdout.read1(1 << 16)
            if not chunk:
                client.wait()
                return told.decode(errors="replace")
            told += chunk
            if sys.stderr.isatty():
                sys.stderr.write(chunk.decode(errors="replace"))
    raise UserError(
        f"Kaggle is silent for {patience:g} s; what came is kept, the same command goes on from it; {BY_HAND}"
    )


def _meaning(told: str) -> str:
    """Return the sentence for what the client said; its own last line where no known answer is in it."""
    for sign, meaning in ANSWERS.items():
        if re.search(sign, told):
            return meaning
    lines = [line.strip() for line in re.split(r"[\r\n]+", told) if line.strip()]
    return f"Kaggle's client failed: {lines[-1] if lines else 'it said nothing'}"


def _check(got: Path) -> None:
    """Raise UserError, and delete it, unless the client brought a zip with photographs to train on."""
    try:
        with zipfile.ZipFile(got) as file:
            wrong = "" if any("train/" in name for name in file.namelist()) else "holds no folder train/"
    except (OSError, zipfile.BadZipFile):
        wrong = "is no zip"
    if wrong:
        shutil.rmtree(got.parent, ignore_errors=True)
        raise UserError(f"what Kaggle sent {wrong} and was deleted; run the same command again, {BY_HAND}")

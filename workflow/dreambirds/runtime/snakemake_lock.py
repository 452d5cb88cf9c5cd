"""Killing Snakemake leaves nothing to clean up by hand: its stale locks go with the next run, its jobs end with it."""

import atexit
import logging
import os
import re
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import psutil
from filelock import FileLock, Timeout

log = logging.getLogger(__name__)
BEAT = 60  # seconds between two signs of life
SILENT = 600  # seconds without one after which another machine's Snakemake is taken for dead
PATIENCE = 10  # seconds to wait for others that look at the locks
POLL = 1.0  # seconds between two looks whether Snakemake lives
SNAKEMAKE = re.compile(
    r"([^\0]*/)?(python|pypy)[\d.]*\0(-[XW]\0[^\0]*\0|-[^mc\0][^\0]*\0)*(-m\0snakemake|([^\0]*/)?\.?snakemake[\w-]*)\0",
    re.IGNORECASE,
)
held: list[FileLock] = []  # until the process ends


def acquire_workdir_lock(folder: Path) -> None:
    """Mark `folder`, Snakemake's own ``.snakemake``, as in use by this process, and remove what killed ones left there.

    Snakemake's locks are removed, with a line on standard error, if a process that had marked the folder was killed and
    no other that has marked it lives; those that live are Snakemake's matter. Nothing is done, and nothing made, where
    there is no such folder yet, where it can't be written to, or where the file system has no locks (flock).
    """
    if held:
        return
    place = folder / "dreambirds"
    try:
        place.mkdir(exist_ok=True)  # but not the folder itself: where it is not, nothing is stale
        # one at a time, so that nobody takes the locks of one who came later for stale
        with FileLock(place / "turn.lock", timeout=PATIENCE, fallback_to_soft=False):
            others = sorted(place.glob("main-*.lock"))
            _mark(place / f"main-{uuid4().hex}.lock")
            dead = [other for other in others if _is_dead(other)]
            if dead and len(dead) == len(others):
                _clear(folder / "locks")
                for other in dead:
                    other.unlink(missing_ok=True)
    except (OSError, Timeout) as error:
        log.debug("no lock in '%s': %s", place, error)


def _mark(path: Path) -> None:
    def sign(descriptor: int) -> None:
        os.write(descriptor, _machine().encode())

    lock = FileLock(path, thread_local=False, fallback_to_soft=False, on_acquired=sign)
    try:
        lock.acquire(blocking=False)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    held.append(lock)
    atexit.register(_unmark, path, os.getpid())
    threading.Thread(target=_beat, args=(path,), daemon=True).start()


def _unmark(path: Path, owner: int) -> None:
    if os.getpid() == owner:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _beat(path: Path) -> None:
    while True:
        time.sleep(BEAT)
        with suppress(OSError):
            os.utime(path)


def _machine() -> str:
    """Return the machine's names: its host's, and its kernel's since it started, which containers share."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        boot = ""
    return f"{socket.gethostname()} {boot}"


def _is_dead(mark: Path) -> bool:
    """Tell whether the process that marked the folder is gone; what can't be known means no."""
    try:
        with FileLock(mark, blocking=False, fallback_to_soft=False):
            names, silence = mark.read_text().split(), time.time() - mark.stat().st_mtime
    except (OSError, Timeout):
        return False
    # Some file systems know locks of their own machine only.
    if not names or set(names) & set(_machine().split()) or silence > SILENT:
        return True
    print(
        f"A Snakemake on the machine '{names[0]}' may be at work in this folder; {silence:.0f} s ago it was. "
        f"If it was killed, its locks can be removed {SILENT} s after that.",
        file=sys.stderr,
    )
    return False


def _clear(locks: Path) -> None:
    stale = list(locks.glob("*.lock"))
    for path in stale:
        path.unlink(missing_ok=True)
    if stale:
        print("A Snakemake was killed in this folder; the locks that it left are removed.", file=sys.stderr)


def exit_with_parent(poll: float = POLL) -> None:
    """Let this process, and its children, end at once when a Snakemake that it runs under is gone.

    That is each process above it whose command is Snakemake's: under SLURM the job's own, not the one that submitted
    it. Nothing is done if there is none. What is written at that time must be written so that a half is never seen.
    """
    if above := snakemake_processes():
        threading.Thread(target=_watch, args=(above, poll), daemon=True).start()


def snakemake_processes() -> list[psutil.Process]:
    """Return the Snakemake processes that this process runs under, the closest first; none if that is unknown."""
    try:
        return [process for process in psutil.Process().parents() if _is_snakemake(process)]
    except psutil.Error:
        return []


def _is_snakemake(process: psutil.Process) -> bool:
    try:
        return bool(SNAKEMAKE.match("\0".join([*process.cmdline(), ""])))
    except psutil.Error:
        return False


def _watch(above: list[psutil.Process], poll: float) -> None:
    while all(map(_lives, above)):
        time.sleep(poll)
    # In a thread of its own, since a pipe that nobody reads any more may be full.
    last_words = threading.Thread(target=log.error, args=("Snakemake is gone, so this job ends",), daemon=True)
    last_words.start()
    last_words.join(0.5)
    with suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
    os._exit(1)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True

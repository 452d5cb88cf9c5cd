"""Clean up after a killed Snakemake: remove its stale locks, and end its jobs."""

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
BEAT = 60  # seconds between heartbeats
SILENT = 600  # seconds without a heartbeat after which Snakemake on another machine counts as dead
PATIENCE = 10  # seconds to wait for other processes that check the locks
POLL = 1.0  # seconds between checks whether Snakemake is alive
SNAKEMAKE = re.compile(
    r"([^\0]*/)?(python|pypy)[\d.]*\0(-[XW]\0[^\0]*\0|-[^mc\0][^\0]*\0)*(-m\0snakemake|([^\0]*/)?\.?snakemake[\w-]*)\0",
    re.IGNORECASE,
)
held: list[FileLock] = []  # for the lifetime of the process
client: int | None = None  # in a fork of the fork server, the process that Snakemake started for this job


def acquire_workdir_lock(folder: Path) -> None:
    """Mark `folder` (``.snakemake``) as in use, and remove stale locks.

    Snakemake's locks are removed, with a line on standard error, if a process that marked the folder was killed and no
    other process that marked it is alive. Locks of live processes are left to Snakemake. Nothing is done or created if
    the folder does not exist yet or is not writable, or if the file system does not support locks (flock).
    """
    if held:
        return
    marks = folder / "dreambirds"
    try:
        marks.mkdir(exist_ok=True)  # but not the folder itself: without it, nothing is stale
        # one process at a time, so none mistakes the locks of a later one for stale
        with FileLock(marks / "turn.lock", timeout=PATIENCE, fallback_to_soft=False):
            others = sorted(marks.glob("main-*.lock"))
            _mark(marks / f"main-{uuid4().hex}.lock")
            dead = [other for other in others if _is_dead(other)]
            if dead and len(dead) == len(others):
                _clear(folder / "locks")
                for other in dead:
                    other.unlink(missing_ok=True)
    except (OSError, Timeout) as error:
        log.debug("no lock in '%s': %s", marks, error)


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
    """Return the host name, and the boot id of the kernel, which containers share."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8")
    except OSError:
        boot = ""
    return f"{socket.gethostname()} {boot}"


def _is_dead(mark: Path) -> bool:
    """Return whether the process that marked the folder has ended; False if unknown."""
    try:
        with FileLock(mark, blocking=False, fallback_to_soft=False):
            names = mark.read_text(encoding="utf-8").split()
            silence = time.time() - mark.stat().st_mtime
    except (OSError, Timeout):
        return False
    # Some file systems know only the locks of the same machine.
    if not names or set(names) & set(_machine().split()) or silence > SILENT:
        return True
    print(
        f"Snakemake on the machine '{names[0]}' may be running in this folder: it was active {silence:.0f} s ago. "
        f"If it was killed, run the same command again {SILENT} s after that; "
        "the locks are then removed automatically.",
        file=sys.stderr,
    )
    return False


def _clear(locks: Path) -> None:
    stale = list(locks.glob("*.lock"))
    for path in stale:
        path.unlink(missing_ok=True)
    if stale:
        print("Snakemake was killed in this folder; its locks have been removed.", file=sys.stderr)


def exit_with_parent(poll: float = POLL) -> None:
    """End this process and its children when a parent Snakemake process ends.

    A parent is any ancestor process that runs Snakemake's command: under SLURM the one in the job, not the one that
    submitted it. Nothing is done if there is none. Files must be written atomically, because the process can end at
    any time.
    """
    if parents := snakemake_processes():
        threading.Thread(target=_watch, args=([job_process(), *parents], poll), daemon=True).start()


def job_process() -> psutil.Process:
    """Return the process that Snakemake started for this job: this process, or the one that it was forked for."""
    return psutil.Process(client)


def snakemake_processes() -> list[psutil.Process]:
    """Return the Snakemake processes that this job runs under, the closest first; none if that is unknown."""
    try:
        return [process for process in job_process().parents() if _is_snakemake(process)]
    except psutil.Error:
        return []


def _is_snakemake(process: psutil.Process) -> bool:
    try:
        return bool(SNAKEMAKE.match("\0".join([*process.cmdline(), ""])))
    except psutil.Error:
        return False


def _watch(processes: list[psutil.Process], poll: float) -> None:
    while all(map(_is_alive, processes)):
        time.sleep(poll)
    # In a separate thread, because a pipe that is no longer read may be full.
    message = threading.Thread(target=log.error, args=("Snakemake has ended, so this job ends too",), daemon=True)
    message.start()
    message.join(0.5)
    with suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
    os._exit(1)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True

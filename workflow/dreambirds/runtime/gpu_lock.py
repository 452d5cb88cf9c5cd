"""GPUs are leased among the jobs of one machine, so that jobs that run side by side compute on different ones."""

import logging
import os
import re
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import SystemRandom

from filelock import FileLock, Timeout

from dreambirds.errors import UserError

log = logging.getLogger(__name__)
VISIBLE = "CUDA_VISIBLE_DEVICES"
SCHEDULERS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")  # set by SLURM, PBS, LSF, SGE
POLL = 0.5  # seconds between two looks whether a GPU is free
PATIENCE = 60  # seconds for the driver to count its devices
PROBE = """
import ctypes
cuda, count = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()
cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count))
print(count.value)
"""


def count_gpus() -> int:
    """Return how many GPUs CUDA sees, 0 where it is not installed; in the words of its own driver, without a context.

    A process of its own asks, since CUDA reads CUDA_VISIBLE_DEVICES only once in each.
    """
    try:
        told = subprocess.run([sys.executable, "-IS", "-c", PROBE], capture_output=True, timeout=PATIENCE, check=True)
        return int(told.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0


@contextmanager
def reserve_gpus(gpus: int, count: Callable[[], int] = count_gpus, poll: float = POLL) -> Iterator[list[str]]:
    """Give a job GPUs of its own for the time of the block, and wait for them first; yield their names.

    To be entered before CUDA starts, since CUDA_VISIBLE_DEVICES then names these GPUs only. Nothing is done, and no
    name given, if no GPU is asked for or there is none, or if CUDA_VISIBLE_DEVICES was set by a scheduler such as SLURM
    and lists no more than are asked for. A lease ends with its process, however that ends, and is not its children's.
    Raises UserError if the leases can't be kept.
    """
    devices = _choice(gpus, count)
    if not devices:
        yield []
        return
    with ExitStack() as held:
        mine = _wait(held, devices, min(gpus, len(devices)), poll)
        log.info("computing on GPU %s", ", ".join(mine))
        before = os.environ.get(VISIBLE)
        os.environ[VISIBLE] = ",".join(mine)
        try:
            yield mine
        finally:
            if before is None:
                os.environ.pop(VISIBLE, None)
            else:
                os.environ[VISIBLE] = before


def _choice(gpus: int, count: Callable[[], int]) -> list[str]:
    if gpus <= 0:
        return []
    told = os.environ.get(VISIBLE)
    if told is None:
        return [str(index) for index in range(count())]
    listed = _listed(told)
    # Two jobs of a scheduler may each call their GPU 0, so there is no lease on a GPU that was given to the job alone.
    return [] if len(listed) <= gpus and any(map(os.environ.get, SCHEDULERS)) else listed


def _listed(told: str) -> list[str]:
    """Return the devices that CUDA_VISIBLE_DEVICES lists; as CUDA does, only those before the first that is none."""
    devices = []
    for word in map(str.strip, told.split(",")):
        if not re.fullmatch(r"\d+|(GPU|MIG)-.+", word):
            break
        devices.append(word)
    return list(dict.fromkeys(devices))


def _wait(held: ExitStack, devices: list[str], wanted: int, poll: float) -> list[str]:
    told = False
    while not (mine := _take(held, devices, wanted)):
        if not told:
            log.info(
                "waiting until %d of the %d GPU(s) can be had; `--resources gpu=%d` keeps Snakemake from starting more "
                "jobs than there are GPUs",
                wanted,
                len(devices),
                len(devices),
            )
            told = True
        time.sleep(poll * SystemRandom().uniform(0.5, 1))  # not in step with others that want several
    return mine


def _take(held: ExitStack, devices: list[str], wanted: int) -> list[str]:
    """Lock so many of the devices, or none of them if there are fewer free ones; return which."""
    folder, mine = _folder(), []
    with ExitStack() as taken:
        for device in devices:
            # A lock that is a mere file would outlive a killed job, so there is no falling back to one.
            lock = FileLock(folder / _name(device), mode=0o600, thread_local=False, fallback_to_soft=False)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            except OSError as error:
                raise UserError(_refusal(folder, error.strerror or str(error))) from error
            taken.callback(lock.release)
            mine.append(device)
            if len(mine) == wanted:
                held.push(taken.pop_all())
                return mine
    return []


def _name(device: str) -> str:
    job = os.environ.get("SLURM_JOB_ID")
    return re.sub(r"[^\w.-]", "_", f"{f'slurm-{job}-' if job else ''}gpu-{device}.lock")


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"dreambirds-gpus-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        about = folder.lstat()
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid():
            raise UserError(_refusal(folder, "it is someone else's"))
        if stat.S_IMODE(about.st_mode) != 0o700:
            folder.chmod(0o700)
    except OSError as error:
        raise UserError(_refusal(folder, error.strerror or str(error))) from error
    return folder


def _refusal(folder: Path, why: str) -> str:
    return (
        f"the locks that share out the GPUs can't be kept in '{folder}' ({why}); remove it, or let the environment "
        "variable TMPDIR name another folder"
    )

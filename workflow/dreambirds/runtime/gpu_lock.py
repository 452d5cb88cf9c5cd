"""Reserve GPUs of a machine, so jobs that run at the same time use different ones."""

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

from dreambirds.errors import UserError, counted, reason_of

log = logging.getLogger(__name__)
VISIBLE = "CUDA_VISIBLE_DEVICES"
SCHEDULERS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")  # set by SLURM, PBS, LSF, SGE
POLL = 0.5  # seconds between checks for a free GPU
REMINDER = 600  # seconds between log lines of a job that waits, which may rightly take hours
PATIENCE = 60  # seconds for the driver to count its devices
PROBE = """
import ctypes
cuda, count = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()
cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count))
print(count.value)
"""


def count_gpus() -> int:
    """Return how many GPUs the CUDA driver counts; 0 if it is not installed.

    No context is created. The count runs in a separate process, because CUDA reads CUDA_VISIBLE_DEVICES only once per
    process.
    """
    try:
        result = subprocess.run([sys.executable, "-IS", "-c", PROBE], capture_output=True, timeout=PATIENCE, check=True)
        return int(result.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0


@contextmanager
def reserve_gpus(gpus: int, count: Callable[[], int] = count_gpus, poll: float = POLL) -> Iterator[list[str]]:
    """Wait for free GPUs, reserve them during the block, and yield their names.

    Enter this before CUDA starts: it sets CUDA_VISIBLE_DEVICES to the reserved GPUs. It does nothing and yields an
    empty list if the job requests no GPU, if there is none, or if a scheduler such as SLURM set CUDA_VISIBLE_DEVICES to
    no more GPUs than requested. A reservation ends with its process, however that ends; child processes do not
    inherit it. Raises UserError if the locks cannot be created.
    """
    devices = _choice(gpus, count)
    if not devices:
        yield []
        return
    with ExitStack() as held:
        reserved = _wait(held, devices, min(gpus, len(devices)), poll)
        log.info("reserved GPU %s", ", ".join(reserved))
        before = os.environ.get(VISIBLE)
        os.environ[VISIBLE] = ",".join(reserved)
        try:
            yield reserved
        finally:
            if before is None:
                os.environ.pop(VISIBLE, None)
            else:
                os.environ[VISIBLE] = before


def _choice(gpus: int, count: Callable[[], int]) -> list[str]:
    if gpus <= 0:
        return []
    visible = os.environ.get(VISIBLE)
    if visible is None:
        return [str(index) for index in range(count())]
    listed = _listed(visible)
    # Two jobs of a scheduler may each call their GPU 0, so a GPU that was granted to this job alone is not locked.
    return [] if len(listed) <= gpus and any(map(os.environ.get, SCHEDULERS)) else listed


def _listed(visible: str) -> list[str]:
    """Return the devices of CUDA_VISIBLE_DEVICES before the first invalid one."""
    devices = []
    for device in map(str.strip, visible.split(",")):
        if not re.fullmatch(r"\d+|(GPU|MIG)-.+", device):
            break
        devices.append(device)
    return list(dict.fromkeys(devices))


def _wait(held: ExitStack, devices: list[str], count: int, poll: float) -> list[str]:
    due = time.monotonic()
    while not (reserved := _take(held, devices, count)):
        if time.monotonic() >= due:
            log.info(
                "waiting for %d of %s to become free; with `--resources gpu=%d`, Snakemake does not start more jobs "
                "than there are GPUs",
                count,
                counted(len(devices), "GPU"),
                len(devices),
            )
            due = time.monotonic() + REMINDER
        time.sleep(poll * SystemRandom().uniform(0.5, 1))  # out of step with other jobs that wait for several
    return reserved


def _take(held: ExitStack, devices: list[str], count: int) -> list[str]:
    """Lock `count` of the devices, or none if fewer are free; return the locked ones."""
    folder, reserved = _folder(), []
    with ExitStack() as taken:
        for device in devices:
            # A lock that is only a file would outlive a killed job, so do not fall back to it.
            lock = FileLock(folder / _name(device), mode=0o600, thread_local=False, fallback_to_soft=False)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            except OSError as error:
                raise UserError(_refusal(folder, reason_of(error))) from error
            taken.callback(lock.release)
            reserved.append(device)
            if len(reserved) == count:
                held.push(taken.pop_all())
                return reserved
    return []


def _name(device: str) -> str:
    job = os.environ.get("SLURM_JOB_ID")
    return re.sub(r"[^\w.-]", "_", f"{f'slurm-{job}-' if job else ''}gpu-{device}.lock")


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"dreambirds-gpus-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise UserError(_refusal(folder, "it belongs to another user"))
        if stat.S_IMODE(status.st_mode) != 0o700:
            folder.chmod(0o700)
    except OSError as error:
        raise UserError(_refusal(folder, reason_of(error))) from error
    return folder


def _refusal(folder: Path, why: str) -> str:
    return (
        f"cannot create the locks of the GPUs in '{folder}' ({why}); remove it, or set the environment variable TMPDIR "
        "to another folder"
    )

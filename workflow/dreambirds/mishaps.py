"""What a machine does to a job, as sentences: a full disk, no memory, a lost GPU, a killed process."""

import errno
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from dreambirds.errors import first_line

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_MEMORY = re.compile(
    r"DefaultCPUAllocator|out of memory|not enough memory|cannot allocate memory|failed to map segment", re.I
)
NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded|os error (28|122)\b")
NO_WORKER = re.compile(r"DataLoader worker \(pid\(?s?\)? [\d, ]+\)")
NO_GPU = re.compile(r"CUDA error|CUDA driver error|cuDNN error|CUBLAS_STATUS|NCCL error|NVML", re.IGNORECASE)
KILLED = re.compile(r"exit status (137|-9)\b|Signals\.SIGKILL")
AGAIN = "the same command goes on from what is done"


def mishap(error: BaseException) -> str | None:
    """Return the sentence for what befell a job, None if the exception tells of no mishap of the machine."""
    said = first_line(error)
    if (isinstance(error, OSError) and error.errno in FULL) or NO_SPACE.search(str(error)):
        return f"the disk is full{_where(error)}; free some space, and {AGAIN}"
    if is_out_of_memory(error):
        return (
            f"memory ran out ({said}); let fewer jobs run at once (--cores), or make batch_size, image_size or size "
            f"smaller, and {AGAIN}"
        )
    if NO_WORKER.search(str(error)):
        return (
            "a process that loads pictures was ended by something else, for lack of memory maybe; 'threads: {load: 0}' "
            f"needs none, and {AGAIN}"
        )
    if NO_GPU.search(said):
        return f"the GPU failed or was lost ({said}); {AGAIN}, and 'gpu: 0' computes on the processor"
    if isinstance(error, OSError) and error.filename is not None:
        return f"'{_name(error)}' can't be read or written ({error.strerror}); mend that, and {AGAIN}"
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception says that a GPU or the machine has no memory left."""
    return isinstance(error, MemoryError) or NO_MEMORY.search(str(error)) is not None


def tell_killed(logs: Iterable[str]) -> None:
    """Say on standard error, in one sentence, if something killed jobs, as Snakemake's logs of a run tell."""
    with suppress(OSError):
        if any(KILLED.search(Path(log).read_text(errors="replace")) for log in logs):
            print(
                "Error: a job was killed from outside (signal 9), as a machine does that runs out of memory; let fewer "
                f"jobs run at once (--cores, or --resources mem_mb=...), and {AGAIN}",
                file=sys.stderr,
            )


def _where(error: BaseException) -> str:
    return f", no space for '{_name(error)}'" if getattr(error, "filename", None) else ""


def _name(error: OSError) -> str:
    return str(error.filename2 or error.filename)

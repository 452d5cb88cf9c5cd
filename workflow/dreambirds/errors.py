"""Errors that users see, and machine failures (disk full, out of memory, GPU lost) as messages."""

import difflib
import errno
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

LONGEST = 600  # letters of a sentence
MAKE_AGAIN = "delete it, and the same command makes it again"
TRAIN_AGAIN = "delete it to train that epoch again"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_MEMORY = re.compile(
    r"DefaultCPUAllocator|out of memory|not enough memory|cannot allocate memory|failed to map segment", re.I
)
NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded|os error (28|122)\b")
NO_WORKER = re.compile(r"DataLoader worker \(pid\(?s?\)? [\d, ]+\)")
NO_GPU = re.compile(r"CUDA error|CUDA driver error|cuDNN error|CUBLAS_STATUS|NCCL error|NVML", re.IGNORECASE)
KILLED = re.compile(r"exit status (137|-9)\b|Signals\.SIGKILL")
AGAIN = "the same command goes on from what is done"


class UserError(ValueError):
    """Something that the user can mend: what is wrong, where, and what is allowed; always one line."""

    def __init__(self, sentence: str, key: str | None = None):
        """Take the sentence, and the path of the config's key that it is about, which goes before it; what names in it
        would do to a terminal is shown instead, and a very long one is cut."""
        self.sentence, self.key = sentence, key
        line = one_line(f"{key}: {sentence}" if key else sentence)
        super().__init__(line if len(line) <= LONGEST else f"{line[: LONGEST * 2 // 3]} … {line[-LONGEST // 3 :]}")


def one_line(text: str) -> str:
    """Return a text without line breaks, terminal codes and broken letters: these are shown with backslashes."""
    return "".join(
        letter
        if letter.isprintable() or unicodedata.category(letter) == "Zs"
        else letter.encode("unicode_escape").decode()
        for letter in text
    )


def did_you_mean(word: object, allowed: Iterable[object]) -> str:
    """Return the sentence end that names the closest of the allowed words, and all of them if they are few."""
    allowed = sorted(map(str, allowed))
    if not allowed:
        return "nothing is allowed here"
    folded = {name.casefold(): name for name in reversed(allowed)}
    close = difflib.get_close_matches(str(word).casefold(), folded, n=1, cutoff=0.5)
    hint = [f"did you mean '{folded[close[0]]}'?"] if close else []
    if len(allowed) <= 16 or not hint:
        shown = ", ".join(allowed[:16]) + (f", … ({len(allowed)} in all)" if len(allowed) > 16 else "")
        hint.append(f"allowed: {shown}")
    return " ".join(hint)


@contextmanager
def error_context(where: str) -> Iterator[None]:
    """Put the path `where` before the sentence of a UserError that is raised inside, or before its own key."""
    try:
        yield
    except UserError as error:
        raise UserError(error.sentence, f"{where}.{error.key}" if error.key else where) from error


def first_line(error: BaseException) -> str:
    """Return the first line of what a library's exception says, or its name if it says nothing."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def explain_failure(error: BaseException) -> str | None:
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
            "a process that loads pictures was ended by something else, for lack of memory maybe; "
            f"'threads: {{loader_workers: 0}}' needs none, and {AGAIN}"
        )
    if NO_GPU.search(said):
        return f"the GPU failed or was lost ({said}); {AGAIN}, and 'gpu: 0' computes on the processor"
    if isinstance(error, OSError) and error.filename is not None:
        return f"'{_name(error)}' can't be read or written ({error.strerror}); mend that, and {AGAIN}"
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception says that a GPU or the machine has no memory left."""
    return isinstance(error, MemoryError) or NO_MEMORY.search(str(error)) is not None


def report_killed(logs: Iterable[str]) -> None:
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


def _name(error: Any) -> str:
    return str(error.filename2 or error.filename)

"""User errors, and messages for machine failures (disk full, out of memory, ...)."""

import difflib
import errno
import math
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any

MAX_LENGTH = 600  # characters of a message
REBUILD = "delete it and run the same command again to rebuild it"
RETRAIN = "delete it and run the same command again to retrain its epoch"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NO_FILES = re.compile(r"Too many open files|received 0 items of ancdata", re.IGNORECASE)
NO_PROCESS = re.compile(r"can't start new thread|Resource temporarily unavailable|fork: retry", re.IGNORECASE)
NO_MEMORY = re.compile(
    r"DefaultCPUAllocator|out of memory|not enough memory|cannot allocate memory|failed to map segment", re.I
)
NO_SPACE = re.compile(r"No space left on device|Disk quota exceeded|os error (28|122)\b")
NO_SHARED_MEMORY = re.compile(r"out of shared memory|shared memory\(shm\)|</?torch_\w+>|/dev/shm\b")
NO_BATCH = re.compile(r"DataLoader timed out after (\d+) seconds")
NO_WORKER = re.compile(r"DataLoader worker \(pid\(?s?\)? [\d, ]+\)")
NO_GPU = re.compile(r"CUDA error|CUDA driver error|cuDNN error|CUBLAS_STATUS|NCCL error|NVML", re.IGNORECASE)
NO_MPS = re.compile(r"not (currently )?(implemented|supported) .*\bMPS\b", re.IGNORECASE)
JOINERS = "\u200c\u200d"  # invisible characters inside of words of some scripts, and of emoji
NUMBER = re.compile(r"\d+(\.\d+)?")
KILLED = re.compile(r"exit status (137|-9)\b|Signals\.SIGKILL")
AGAIN = "run the same command again to resume"


class UserError(ValueError):
    """An error that the user can fix.

    Its message is one line: where, what is wrong, and what is allowed or what to do.
    """

    def __init__(self, message: str, key: str | None = None):
        """Set the message, and the path of the config key that it begins with.

        Control characters are escaped with backslashes. A message longer than MAX_LENGTH characters is shortened.
        """
        self.message, self.key = message, key
        line = one_line(f"{key}: {message}" if key else message)
        if len(line) > MAX_LENGTH:
            line = f"{line[: MAX_LENGTH * 2 // 3]} … {line[-MAX_LENGTH // 3 :]}"
        super().__init__(line)


def one_line(text: str) -> str:
    """Escape line breaks, terminal codes and invalid characters with backslashes, but not what joins characters."""
    return "".join(
        character
        if character.isprintable() or character in JOINERS or unicodedata.category(character) == "Zs"
        else character.encode("unicode_escape").decode()
        for character in text
    )


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is one."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def in_yaml(value: object) -> str:
    """Return a value of a config as the user wrote it in YAML, with text in quotes."""
    if isinstance(value, list):
        return f"[{', '.join(map(in_yaml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {in_yaml(inner)}' for key, inner in value.items())}}}"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, float) and not abs(value) < float("inf"):
        return str(value).replace("inf", ".inf").replace("nan", ".nan")
    return str(value) if isinstance(value, date) else repr(value)


def did_you_mean(value: object, allowed: Iterable[object], word: str = "allowed") -> str:
    """Return a hint for an error: the closest allowed value, and all if they are few, numbers in ascending order.

    `word` introduces the list: ``allowed`` for values of a fixed set, ``available`` for files, epochs or other things
    that happen to exist. None is listed as ``null``, as in a config.
    """
    given = ("null" if value is None else str(value) for value in allowed)
    names = sorted(given, key=lambda name: (float(name) if NUMBER.fullmatch(name) else math.inf, name))
    if not names:
        return "no value is allowed here" if word == "allowed" else "none is available"
    folded = {unicodedata.normalize("NFC", name.casefold()): name for name in reversed(names)}
    close = difflib.get_close_matches(unicodedata.normalize("NFC", str(value).casefold()), folded, n=1, cutoff=0.5)
    hint = f"did you mean '{folded[close[0]]}'?" if close else ""
    if len(names) > 16 and hint:
        return hint
    listed = f"{word}: {', '.join(names[:16])}"
    if len(names) > 16:
        listed += f", … ({len(names)} in total)"
    return f"{hint} ({listed})" if hint else listed


@contextmanager
def reading(path: Path, end: str, damaged: tuple[type[Exception], ...]) -> Iterator[None]:
    """Raise UserError, which ends with `end`, if a file cannot be read inside.

    `damaged` are the exceptions of a corrupt file.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"'{path}' does not exist; {end.removeprefix('delete it and ')}") from error
    except OSError as error:
        raise UserError(f"cannot read '{path}' ({reason_of(error)}); {remedy_for(error, end)}") from error
    except damaged as error:
        raise UserError(f"'{path}' is corrupt ({reason_of(error)}); {end}") from error


@contextmanager
def error_context(where: str) -> Iterator[None]:
    """Prefix the key of any UserError raised inside with the path `where`."""
    try:
        yield
    except UserError as error:
        raise UserError(error.message, f"{where}.{error.key}" if error.key else where) from error


@contextmanager
def renamed_key(old: str, new: str) -> Iterator[None]:
    """Replace the key `old` of any UserError raised inside by `new`."""
    try:
        yield
    except UserError as error:
        if error.key != old:
            raise
        raise UserError(error.message, new) from error


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or its class name if empty."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def reason_of(error: BaseException) -> str:
    """Return why an operation failed, without the path that an OSError's message repeats."""
    return (error.strerror if isinstance(error, OSError) else None) or first_line(error)


def remedy_for(error: BaseException, remedy: str) -> str:
    """Return what to do if a file cannot be read: fix its permissions if these are the cause, else `remedy`."""
    return "fix its permissions" if isinstance(error, PermissionError) else remedy


def explain_failure(error: BaseException) -> str | None:
    """Return the message for a machine failure; None for any other exception."""
    reason = first_line(error)
    if NO_SHARED_MEMORY.search(str(error)) and not isinstance(error, FileNotFoundError):
        return (
            "shared memory (/dev/shm) is full; give a container more (`docker run --shm-size=1g`), or set "
            f"threads.loader_workers to 0 to load images in the main process, and {AGAIN}"
        )
    if waited := NO_BATCH.search(reason):
        return (
            f"the data loader processes sent no images for {waited[1]} s; set threads.loader_workers to 0 to load "
            f"images in the main process, and {AGAIN}"
        )
    if (isinstance(error, OSError) and error.errno in FULL) or NO_SPACE.search(str(error)):
        limit = " or raise the limit of a file's size (`ulimit -f`)" * (getattr(error, "errno", 0) == errno.EFBIG)
        return f"the disk is full{_where(error)}; free some space{limit} and {AGAIN}"
    if NO_FILES.search(str(error)):
        return f"too many files are open at the same time; raise the limit (`ulimit -n 4096`), and {AGAIN}"
    if NO_PROCESS.search(str(error)):
        return f"no more processes may be started; lower --cores, or raise the limit (`ulimit -u`), and {AGAIN}"
    if is_out_of_memory(error):
        keys = "--cores, 'batch_size', 'image_size' or 'size'"
        return f"out of memory ({reason}); lower {keys}, and run the command again to resume"
    if NO_WORKER.search(str(error)):
        return (
            "a data loader worker process was killed, possibly for lack of memory; set threads.loader_workers to 0 "
            f"to load images in the main process, and {AGAIN}"
        )
    if NO_GPU.search(reason):
        return f"the GPU failed or was lost ({reason}); {AGAIN}, or set 'gpu' to 0 to compute on the CPU"
    if isinstance(error, NotImplementedError) and NO_MPS.search(reason):
        again = "set PYTORCH_ENABLE_MPS_FALLBACK=1 in the environment, or compute on the CPU"
        return f"torch does not implement an operation on Apple's GPUs ({reason}); {again}"
    if isinstance(error, ModuleNotFoundError) and not (error.name or "dreambirds").startswith("dreambirds"):
        return f"the library '{error.name}' is not installed; run `pip install -r requirements.txt`, and {AGAIN}"
    if isinstance(error, OSError) and error.filename is not None:
        return f"cannot read or write '{_name(error)}' ({reason_of(error)}); fix that and {AGAIN}"
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception means that the GPU or the machine is out of memory."""
    return isinstance(error, MemoryError) or NO_MEMORY.search(str(error)) is not None


def report_killed(logs: Iterable[str]) -> None:
    """Print an error to standard error if Snakemake's logs record a killed job."""
    with suppress(OSError):
        if any(KILLED.search(Path(log).read_text(errors="replace", encoding="utf-8")) for log in logs):
            print(
                "Error: a job was killed (signal 9), usually because the machine ran out of memory; run fewer jobs at "
                "the same time (lower --cores, or set --resources mem_mb=...), and run the command again to resume",
                file=sys.stderr,
            )


def _where(error: BaseException) -> str:
    return f" (cannot write to '{_name(error)}')" if getattr(error, "filename", None) else ""


def _name(error: Any) -> str:
    return str(error.filename2 or error.filename)

"""Logging of jobs: one line per message, and a limit for repeated messages."""

import io
import logging
import sys
from collections import Counter
from pathlib import Path
from threading import Lock

from dreambirds.errors import one_line

MOST_MESSAGES = 1000  # messages from one line of code, such as epochs
MOST_WARNINGS = 20  # warnings from one line of code, such as unreadable photographs

PREFIXES = {logging.ERROR: "Error: ", logging.WARNING: "Warning: "}
OTHERS = "… further messages like these are not logged"


class SingleLineFormatter(logging.Formatter):
    """A formatter that escapes the line breaks and terminal codes of file names.

    Its field ``prefix`` is ``Warning: `` or ``Error: ``, and empty below these levels.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802, logging's own name
        """Return the message of a record as one line; a traceback follows unchanged."""
        record.prefix = next((prefix for level, prefix in PREFIXES.items() if record.levelno >= level), "")
        return one_line(super().formatMessage(record))


class RateLimitFilter(logging.Filter):
    """A filter that drops repeated messages beyond a limit; errors always pass.

    Messages repeat if they come from the same line of code. The first one above the limit is replaced by a note, which
    ``extra={"others": "images.csv lists the others"}`` sets. Several threads may log at the same time.
    """

    def __init__(self):
        """Create a filter that has counted no messages yet."""
        super().__init__()
        self._counts, self._lock = Counter(), Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log a record; turn the first one above the limit into a note."""
        if record.levelno >= logging.ERROR:
            return True
        most, kind = (
            MOST_WARNINGS if record.levelno >= logging.WARNING else MOST_MESSAGES,
            (record.pathname, record.lineno),
        )
        with self._lock:
            self._counts[kind] += 1
            count = self._counts[kind]
        if count == most + 1:
            record.msg, record.args = getattr(record, "others", OTHERS), ()
        return count <= most + 1


def escape_unencodable() -> None:
    """Let standard output and error escape the characters that their encoding lacks, where they would raise errors."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def log_to(file: Path) -> None:
    """Log to the terminal and to a file, which is overwritten."""
    escape_unencodable()
    handlers = [logging.StreamHandler(), logging.FileHandler(file, mode="w", encoding="utf-8")]
    for handler, form in zip(handlers, ("%(prefix)s%(message)s", "%(asctime)s %(prefix)s%(message)s"), strict=True):
        handler.setFormatter(SingleLineFormatter(form))
        handler.addFilter(RateLimitFilter())
    logging.basicConfig(level=logging.WARNING, handlers=handlers, force=True)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # no traceback if the log cannot be written, as on a full disk
    logging.getLogger("dreambirds").setLevel(logging.INFO)

"""What a job says: on the terminal and in its rule's log, one line a sentence, and never more than a person reads."""

import logging
from collections import Counter
from pathlib import Path
from threading import Lock

from dreambirds.errors import one_line

MOST_ALIKE = 1000  # lines of one kind, such as epochs
MOST_WARNINGS = 20  # of one kind, such as photographs that can't be read

OTHERS = "… and more lines like those before, which are left out"


class SingleLineFormatter(logging.Formatter):
    """Show line breaks and terminal codes of a message with backslashes, since names of files may hold them."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802, logging's own name
        """Return the line of a record; a traceback that belongs to it follows as it is."""
        return one_line(super().formatMessage(record))


class RateLimitFilter(logging.Filter):
    """Let the first lines of a kind pass, and say once that there are more; errors always pass.

    Lines are of one kind if they come from the same place in the code. Where the others are told, a line may say with
    ``extra={"others": "the table lists them all"}``. Many threads may log at once.
    """

    def __init__(self):
        """Begin with nothing seen."""
        super().__init__()
        self._seen, self._lock = Counter(), Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is to be written; the first one that is too many becomes the line that says so."""
        if record.levelno >= logging.ERROR:
            return True
        most, kind = (
            MOST_WARNINGS if record.levelno >= logging.WARNING else MOST_ALIKE,
            (record.pathname, record.lineno),
        )
        with self._lock:
            self._seen[kind] += 1
            count = self._seen[kind]
        if count == most + 1:
            record.msg, record.args = getattr(record, "others", OTHERS), ()
        return count <= most + 1


def log_to(file: Path) -> None:
    """Send what the package logs from now on to the terminal and to a file, which begins anew."""
    handlers = [logging.StreamHandler(), logging.FileHandler(file, mode="w", encoding="utf-8")]
    for handler, form in zip(handlers, ("%(message)s", "%(asctime)s %(message)s"), strict=True):
        handler.setFormatter(SingleLineFormatter(form))
        handler.addFilter(RateLimitFilter())
    logging.basicConfig(level=logging.WARNING, handlers=handlers, force=True)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a log that can't be written, on a full disk, is no reason for a traceback
    logging.getLogger("dreambirds").setLevel(logging.INFO)

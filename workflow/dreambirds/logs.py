"""What a job says: on the terminal and in its rule's log, one line a sentence, and never more than a person reads."""

import logging
from collections import Counter
from pathlib import Path

from dreambirds.errors import one_line

MOST_ALIKE = 100  # lines of one kind, such as photographs that can't be read


class OneLine(logging.Formatter):
    """Show line breaks and terminal codes of a message with backslashes, since names of files may hold them."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802, logging's own name
        """Return the line of a record; a traceback that belongs to it follows as it is."""
        return one_line(super().formatMessage(record))


class Few(logging.Filter):
    """Let the first lines of a kind pass, and say once that there are more; errors always pass.

    Lines are of one kind if they come from the same place in the code.
    """

    def __init__(self, most: int = MOST_ALIKE):
        """Take how many lines of a kind pass."""
        super().__init__()
        self.most, self.seen = most, Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is to be written; the first one that is too many becomes the line that says so."""
        if record.levelno >= logging.ERROR:
            return True
        kind = record.pathname, record.lineno
        self.seen[kind] += 1
        if self.seen[kind] == self.most + 1:
            record.msg, record.args = "… and more lines like those before, which are left out", ()
        return self.seen[kind] <= self.most + 1


def log_to(file: Path) -> None:
    """Send what the package logs from now on to the terminal and to a file, which begins anew."""
    handlers = [logging.StreamHandler(), logging.FileHandler(file, mode="w", encoding="utf-8")]
    for handler, form in zip(handlers, ("%(message)s", "%(asctime)s %(message)s"), strict=True):
        handler.setFormatter(OneLine(form))
        handler.addFilter(Few())
    logging.basicConfig(level=logging.WARNING, handlers=handlers, force=True)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a log that can't be written, on a full disk, is no reason for a traceback
    logging.getLogger("dreambirds").setLevel(logging.INFO)

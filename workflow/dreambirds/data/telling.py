"""Say of many pictures the same thing a few times only."""

import logging
from collections import Counter
from threading import Lock

MOST = 20  # lines of one kind


class Teller:
    """Writes warnings to a log, of each kind `MOST` and then one more, that says where the others are told."""

    def __init__(self, log: logging.Logger):
        """Take the log."""
        self._log, self._counts, self._lock = log, Counter(), Lock()

    def warn(self, kind: str, *values: object, more: str) -> None:
        """Warn with a sentence that is filled with values; `more` is said once in place of all beyond the most.

        The sentence with its gaps is the kind. Many threads may warn at once.
        """
        with self._lock:
            self._counts[kind] += 1
            count = self._counts[kind]
        if count <= MOST:
            self._log.warning(kind, *values)
        elif count == MOST + 1:
            self._log.warning(more)

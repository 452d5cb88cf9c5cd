"""Studies to be spoilt, and a count of what was done to them: `pytest tests/faults` ends with it as a table."""

import io
import logging
import sys
from collections import Counter

import pytest
from studies import Study, tiny

from dreambirds.logs import log_to

COUNTS: Counter[str] = Counter()


@pytest.fixture
def counted():
    """Return the function that adds to a row of the table, such as ``counted("configs refused", 3)``."""

    def count(row: str, number: int = 1) -> None:
        COUNTS[row] += number

    return count


@pytest.fixture
def fresh(tmp_path) -> Study:
    """Return a tiny study of one's own."""
    return Study(tmp_path, tiny())


@pytest.fixture
def terminal() -> io.StringIO:
    """Return what stands for the terminal."""
    return io.StringIO()


@pytest.fixture
def own_log(tmp_path, monkeypatch, terminal):
    """Return a file that the package logs to; afterwards nothing of it is left in `logging`."""
    root, package = logging.getLogger(), logging.getLogger("dreambirds")
    before, level, loud = root.handlers[:], package.level, logging.raiseExceptions
    monkeypatch.setattr(sys, "stderr", terminal)
    log_to(tmp_path / "job.log")
    yield tmp_path / "job.log"
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = before
    package.setLevel(level)
    logging.captureWarnings(False)
    logging.raiseExceptions = loud


def pytest_terminal_summary(terminalreporter):
    """Print the table of docs/reliability.md."""
    if COUNTS:
        terminalreporter.section("faults")
        for row, number in COUNTS.items():
            terminalreporter.write_line(f"| {row} | {number} |")

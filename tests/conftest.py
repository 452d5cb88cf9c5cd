"""A count of what tests do to a study: a run that counted anything ends with it as the table of docs/reliability.md."""

from collections import Counter

import pytest

COUNTS: Counter[str] = Counter()


@pytest.fixture
def counted():
    """Return the function that adds to a row of the table, such as ``counted("configs refused", 3)``."""

    def count(row: str, number: int = 1) -> None:
        COUNTS[row] += number

    return count


def pytest_sessionfinish(session):
    """Hand the counts of a worker of pytest-xdist over."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["counts"] = dict(COUNTS)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Take over what a worker of pytest-xdist counted; one that crashed has nothing to say."""
    COUNTS.update(getattr(node, "workeroutput", {}).get("counts", {}))


def pytest_terminal_summary(terminalreporter):
    """Print the table."""
    if COUNTS:
        terminalreporter.section("faults")
        for row, number in COUNTS.items():
            terminalreporter.write_line(f"| {row} | {number} |")

"""Studies to be spoilt, and a count of what was done to them: `pytest tests/faults` ends with it as a table."""

from collections import Counter

import pytest
from studies import Study, tiny

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


def pytest_terminal_summary(terminalreporter):
    """Print the table of docs/reliability.md."""
    if COUNTS:
        terminalreporter.section("faults")
        for row, number in COUNTS.items():
            terminalreporter.write_line(f"| {row} | {number} |")

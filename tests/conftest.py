"""Finished studies, marks, and the counts of faults in docs/reliability.md."""

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.helpers.reports import make_report
from tests.helpers.studies import Study, shared_study, tiny

FOLDERS = {"faults": "faults", "browser": "browser"}
COUNTS: Counter[str] = Counter()


@pytest.fixture
def counted():
    """Return a function that adds to a row of the table of counts.

    For example, ``counted("configs refused", 3)``.
    """

    def count(row: str, number: int = 1) -> None:
        COUNTS[row] += number

    return count


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    """Return a folder that all processes of this test run share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def finished_study(base) -> Study:
    """Return the finished tiny study; tests may read and copy it."""
    return shared_study(base / "finished", lambda folder: Study(folder, tiny()).run())


@pytest.fixture(scope="session")
def reported_study(base, finished_study) -> Study:
    """Return the tiny study with its report; tests may read it."""

    def build(folder: Path) -> None:
        folder.rmdir()
        make_report(finished_study.copy(folder))

    return shared_study(base / "reported", build)


def pytest_collection_modifyitems(items):
    """Mark each test by its folder."""
    for item in items:
        if marker := FOLDERS.get(item.path.parent.name):
            item.add_marker(marker)


def pytest_sessionfinish(session):
    """Pass on the counts of a pytest-xdist worker."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["counts"] = dict(COUNTS)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Add the counts of a pytest-xdist worker; one that crashed has none."""
    COUNTS.update(getattr(node, "workeroutput", {}).get("counts", {}))


def pytest_terminal_summary(terminalreporter):
    """Print the table of counts."""
    if COUNTS:
        terminalreporter.section("faults")
        for row, number in COUNTS.items():
            terminalreporter.write_line(f"| {row} | {number} |")

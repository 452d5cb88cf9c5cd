"""Fixtures: a tiny study whose files a test may corrupt, and a log that it reads."""

import io
import logging
import sys

import pytest

from dreambirds.log import log_to
from tests.helpers.studies import Study, tiny

# the row of the table in which each test of a file counts
ROWS = {
    "test_colors": "photographs of any mode and color profile read",
    "test_folders": "layouts of folders understood or refused",
    "test_fonts": "figures with names in any script written",
    "test_formats": "files of weights read",
    "test_formats_refused": "files of weights refused",
    "test_labels": "names in any script compared or made into labels",
    "test_machine_limits": "limits of containers respected",
    "test_process": "processes completed that lack a name, a home or a plain path",
    "test_second_store": "stores of another user used",
}


@pytest.fixture(autouse=True)
def count_test(request, counted):
    """Count a test of one of the files of `ROWS`."""
    if row := ROWS.get(request.path.stem):
        counted(row)


@pytest.fixture
def fresh(tmp_path) -> Study:
    """Return a tiny study for a single test."""
    return Study(tmp_path, tiny())


@pytest.fixture
def terminal() -> io.StringIO:
    """Return a stream that replaces the terminal."""
    return io.StringIO()


@pytest.fixture
def own_log(tmp_path, monkeypatch, terminal):
    """Return a file that the package logs to; restore `logging` after the test."""
    root, package = logging.getLogger(), logging.getLogger("dreambirds")
    before, level, raise_exceptions = root.handlers[:], package.level, logging.raiseExceptions
    monkeypatch.setattr(sys, "stderr", terminal)
    log_to(tmp_path / "job.log")
    yield tmp_path / "job.log"
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = before
    package.setLevel(level)
    logging.captureWarnings(False)
    logging.raiseExceptions = raise_exceptions

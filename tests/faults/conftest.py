"""Fixtures: a tiny study whose files a test may corrupt, and a log that it reads."""

import io
import logging
import sys

import pytest

from dreambirds.log import log_to
from tests.helpers.studies import Study, tiny


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

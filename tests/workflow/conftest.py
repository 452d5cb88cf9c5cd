"""Tiny studies for tests that run the real workflow."""

import pytest

from tests.helpers.studies import Study, tiny


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """Return the tiny study of a module, whose tests run in order and share it."""
    return Study(tmp_path_factory.mktemp("study"), tiny())


@pytest.fixture
def fresh(tmp_path) -> Study:
    """Return a tiny study for a single test."""
    return Study(tmp_path, tiny())

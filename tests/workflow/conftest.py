"""Tiny studies for the tests that run the real workflow."""

import pytest

from tests.helpers.studies import Study, tiny


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """Return the tiny study of a test module; its tests run in order and build on each other."""
    return Study(tmp_path_factory.mktemp("study"), tiny())


@pytest.fixture
def fresh(tmp_path) -> Study:
    """Return a tiny study of one's own."""
    return Study(tmp_path, tiny())

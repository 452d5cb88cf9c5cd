"""What several unit tests share: a tiny prepared data set, a run's section, and one thread."""

import pytest
import torch
from small import network

from dreambirds.data.labels import list_labels
from dreambirds.data.prepare import prepare
from dreambirds.study.schema import check

torch.set_num_threads(1)


def section(**changes) -> dict:
    """Return a run's section with all defaults, for a tiny model."""
    config = {"runs": {"a": {"model": "test_resnet", "batch_size": 8, **changes}}, "dreams": {"recipes": {"a": {}}}}
    check(config, "config")
    return config["runs"]["a"]


@pytest.fixture
def run():
    """Return the function that makes a run's section."""
    return section


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """Return a prepared folder of 2 species, 10 pictures each, 32 pixels wide."""
    folder = tmp_path_factory.mktemp("dataset")
    config = {
        "dataset": {"image_size": 32, "images_per_label": 10, "labels": ["blue_jay", "northern_cardinal"]},
        "runs": {"a": {}},
        "dreams": {"recipes": {"a": {}}},
    }
    check(config, "config")
    prepare(config["dataset"], list_labels(config["dataset"]), folder)
    return folder


@pytest.fixture(scope="module")
def model():
    """Return the small network in float64, so that nothing hides in rounding."""
    return network()

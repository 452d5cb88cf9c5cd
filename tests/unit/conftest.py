"""Fixtures of the unit tests: a tiny prepared data set, a run's section, and one thread."""

import os
import threading

import pytest
import torch

from dreambirds.config.load import check
from dreambirds.data import prepare as preparing
from dreambirds.data.prepare import prepare
from dreambirds.data.sources.catalog import RESOURCES, list_labels
from dreambirds.plan import measurements
from tests.helpers.bench import Bench
from tests.helpers.dream_bench import DreamBench
from tests.helpers.sections import section
from tests.helpers.serving import BODY, Server
from tests.helpers.small import network

torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def store(tmp_path_factory):
    """Keep prepared photographs out of the project's folder."""
    os.environ["DREAMBIRDS_STORE"] = str(tmp_path_factory.mktemp("store"))


@pytest.fixture
def run():
    """Return the function that creates a run's section."""
    return section


@pytest.fixture(scope="session")
def dataset(store, tmp_path_factory):
    """Return a prepared folder of 2 species, 10 images each, 32 pixels wide."""
    folder = tmp_path_factory.mktemp("dataset")
    config = {
        "dataset": {"image_size": 32, "images_per_label": 10, "labels": ["blue_jay", "northern_cardinal"]},
        "runs": {"a": {}},
        "dreams": {"recipes": {"a": {}}},
    }
    check(config, "config")
    prepare(config["dataset"], list_labels(config["dataset"]), folder)
    return folder


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """Return a bench of 3 classes of 6 photographs."""
    bench, make_image = Bench(tmp_path), preparing.make_image

    def counted(*arguments):
        bench.decoded.append(threading.get_ident())
        return make_image(*arguments)

    monkeypatch.setattr(preparing, "make_image", counted)
    return bench


@pytest.fixture(scope="module")
def model():
    """Return the small network in float64, because rounding in float32 would hide errors."""
    return network()


@pytest.fixture
def server():
    server = Server(BODY)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Change to a temporary folder, and return the path of CUB in it."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work" / RESOURCES["cub"].place


@pytest.fixture
def dreamer(tmp_path, monkeypatch, caplog) -> DreamBench:
    """Return a bench for dream jobs, whose store is empty."""
    monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path / "store"))
    return DreamBench(tmp_path, caplog)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Start without any measurements."""
    monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(measurements, "_known", {})
    return tmp_path / "store" / "memory"

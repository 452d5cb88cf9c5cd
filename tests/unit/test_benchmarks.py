"""The benchmarks run, and write the records that they document."""

import importlib.util
import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def load(name: str):
    """Import a benchmark, which is not part of the package, and return its module."""
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_dream_benchmark_writes_one_record_per_loop(tmp_path):
    arguments = ["--models", "test_resnet", "--steps", "3", "--rounds", "1", "--threads", "1"]
    records = load("dream").main([*arguments, "--json", str(tmp_path / "b.json")])
    assert json.loads((tmp_path / "b.json").read_text()) == records
    assert [record["loop"] for record in records] == ["floor", "original", "bird", "portrait", "textbook"]
    for record in records:
        ratio = record.pop("ratio_to_floor")
        assert ratio * records[0]["seconds_per_image_step"] / record["seconds_per_image_step"] - 1 < 1e-9
        assert set(record) == {"model", "size", "batch", "precision", "loop", "seconds_per_image_step"}
    assert records[0]["batch"] == 8 and records[-1]["batch"] == 1


@pytest.mark.slow
def test_the_training_benchmark_writes_one_record_per_loop(tmp_path, monkeypatch):
    arguments = ["--models", "test_resnet", "--rounds", "1", "--threads", "1"]
    benchmark = load("train")
    monkeypatch.setattr(benchmark, "CASES", [("test_resnet", 32, 8, 2)])
    records = benchmark.main([*arguments, "--json", str(tmp_path / "b.json")])
    assert json.loads((tmp_path / "b.json").read_text()) == records
    assert [record["loop"] for record in records] == ["plain", "plain, from JPEG files", "ours"]
    for record in records:
        assert record["ratio_to_plain"] == record["images_per_second"] / records[0]["images_per_second"] > 0

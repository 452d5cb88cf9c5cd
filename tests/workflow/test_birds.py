"""The original study with its own config: a dry run without data, and a small run."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.helpers.forks import run_python
from tests.helpers.layouts import kaggle, zipped
from tests.helpers.surroundings import surroundings

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config" / "birds.yaml"
SHRUNK = {
    "dataset": {"validation_fraction": 0.25, "image_size": 32},
    "runs": {"finetuned": {"model": "test_resnet", "weights": None, "epochs": [0.5, 1], "batch_size": 4}},
    "dreams": {
        "labels": None,
        "recipes": {"study": {"steps": [1, 2]}, "cross_entropy": {"steps": [1]}, "random_blur": {"steps": [1]}},
    },
    "judges": {},
    "threads": {"train": 2, "loader_workers": 1},
    "gpu": 0,
}


def snakemake(folder: Path, *arguments: str) -> str:
    """Run Snakemake in a folder, expect success, and return its output."""
    command = ["-m", "snakemake", *arguments, "--cores", "2", "--snakefile", str(ROOT / "Snakefile")]
    result = run_python([*command, "--directory", str(folder)], ROOT, surroundings())
    assert result.returncode == 0, result.stdout[-6000:]
    return result.stdout


def test_a_dry_run_without_the_data_reports_the_download(tmp_path):
    output = snakemake(tmp_path, "-n", "--configfile", str(CONFIG))
    assert "The data set is missing: this run downloads the CSE455 birds" in output and "download_cse455" in output
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_the_original_config_passes_a_dry_run_on_data_in_its_layout(tmp_path, packed):
    birds = kaggle(tmp_path)
    path = zipped(birds, tmp_path / "birds21sp.zip") if packed else birds
    (tmp_path / "more.yaml").write_text(yaml.safe_dump({"dataset": {"path": str(path)}, "dreams": {"labels": None}}))
    output = snakemake(tmp_path, "-n", "--configfile", str(CONFIG), str(tmp_path / "more.yaml"))
    assert "Study 'birds':" in output and "Train run finetuned to epoch 0000.25" in output


def test_a_small_version_of_the_original_study_runs_on_data_in_its_layout(tmp_path):
    birds = kaggle(tmp_path, each=5)
    (tmp_path / "shrunk.yaml").write_text(
        yaml.safe_dump({**SHRUNK, "dataset": {**SHRUNK["dataset"], "path": str(birds.parent)}})
    )
    configs = ["--configfile", str(CONFIG), str(tmp_path / "shrunk.yaml")]
    montage = "montages/finetuned/study/class-by-epoch_step-0002_raw.png"
    snakemake(tmp_path, f"results/birds/{montage}", "training_only", "dreams_only", "submissions", *configs)
    results = tmp_path / "results/birds"
    history = pd.read_csv(results / "runs/finetuned/history.csv")
    assert list(history["epoch"]) == [0, 0.5, 1] and history["train_loss"].notna().sum() == 2
    assert list(pd.read_csv(results / "dataset/labels.csv")["class_name"]) == [
        "Blue Jay",
        "Northern Cardinal",
        "Yellow Warbler",
    ]
    dreams = results / "dreams/finetuned/epoch-0000.5/random_blur"
    assert sorted(path.name for path in dreams.iterdir() if path.is_dir()) == [
        "Blue_Jay",
        "Northern_Cardinal",
        "Yellow_Warbler",
    ]
    assert (results / montage).stat().st_size > 5_000
    submission = pd.read_csv(results / "runs/finetuned/epoch-0001/submission.csv")
    assert list(submission.columns) == ["path", "class"] and len(submission) == 5
    assert list(submission["path"]) == list(pd.read_csv(birds / "sample.csv")["path"])
    assert set(submission["class"]) <= {2, 9, 10}

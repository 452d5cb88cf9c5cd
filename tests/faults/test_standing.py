"""Finished results are kept if a run is refused because of existing files."""

import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.helpers.killing import files
from tests.helpers.studies import Study, tiny

DAY = 86400  # seconds
RETRAIN = "delete it and run the same command again to retrain its epoch"
REBUILD = "delete the folder 'results/tiny/dataset' and run the same command again to rebuild it"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Study:
    """Return a study with a chain of checkpoints, without dreams."""
    study = Study(tmp_path_factory.mktemp("trained"), tiny())
    study.config["runs"]["scratch"]["epochs"] = [0, 1, 2]
    study.run("training_only")
    return study


@pytest.fixture
def study(trained, tmp_path) -> Study:
    """Return a copy of the study whose files may be corrupted."""
    return trained.copy(tmp_path / "study")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def renumber(path: Path) -> None:
    path.write_text(path.read_text().replace("\n0,", "\n7,"))


def relabel(path: Path) -> None:
    path.write_text(path.read_text().replace(",blue_jay,", ",dodo,", 1))


@pytest.mark.parametrize(
    ("name", "damage", "remedy"),
    [
        ("runs/scratch/epoch-0001/model.safetensors", truncate, RETRAIN),
        ("runs/scratch/epoch-0000/training_state.safetensors", empty, RETRAIN),
        (
            "dataset/labels.csv",
            empty,
            REBUILD,
        ),
        (
            "dataset/labels.csv",
            renumber,
            REBUILD,
        ),
        (
            "dataset/images.csv",
            relabel,
            REBUILD,
        ),
        (
            "dataset/images.csv",
            truncate,
            REBUILD,
        ),
    ],
)
def test_a_corrupt_file_is_refused_and_all_other_results_are_kept(study, name, damage, remedy, counted):
    damage(study.results / name)
    before = files(study)
    message = refused(study, "training_only")
    assert f"'results/tiny/{name}'" in message and message.endswith(remedy)
    assert files(study) == before
    counted("corrupt files between stages refused or rebuilt")


def test_deleted_checkpoints_are_trained_again_when_requested(study, trained, counted):
    names = [
        "epoch-0001/model.safetensors",
        "epoch-0001/training_state.safetensors",
        "epoch-0002/model.safetensors",
        "epoch-0002/history.csv",
    ]
    for name in names:
        (study.results / "runs/scratch" / name).unlink()
    study.run("training_only")
    assert files(study) == files(trained)
    counted("corrupt files between stages refused or rebuilt", len(names))


@pytest.mark.parametrize("what", ["weights", "link", "start"])
def test_a_file_with_a_modification_time_in_the_future_is_refused(study, what, counted):
    own, future = study.folder / "own.safetensors", time.time() + 2 * DAY
    shutil.copyfile(study.results / "runs/scratch/epoch-0001/model.safetensors", own)
    study.config["runs"]["other"] = study.config["runs"]["scratch"] | {"weights": str(own)}
    if what == "start":
        own = study.folder / "own.png"
        shutil.copyfile(next(study.results.glob("dataset/images/*/*.png")), own)
        study.config["runs"].pop("other")
        study.config["dreams"]["recipes"]["own"] = {"steps": [1], "start": "photograph", "start_path": str(own)}
    if what == "link":
        own.rename(own.with_name("there"))
        own.symlink_to(own.with_name("there"))
    os.utime(own, (future, future), follow_symlinks=False)
    before = files(study)
    message = refused(study)
    touch = "touch -h" if what == "link" else "touch"
    assert message.startswith(f"Error: '{own}' has a modification time in the future (")
    assert message.endswith(f"); run `{touch} {shlex.quote(str(own))}`")
    assert files(study) == before
    subprocess.run([*touch.split(), own], check=True)
    assert study.jobs("dreams_only" if what == "start" else "training_only")
    counted("machine failures reported in one line")


@pytest.mark.parametrize("name", ["results", "results/tiny", "results/.store"])
def test_a_broken_link_in_place_of_a_folder_is_refused_before_any_job(tmp_path, name, counted):
    study = Study(tmp_path, tiny())
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).symlink_to(tmp_path / "gone")
    assert refused(study) == f"Error: '{name}' is a broken link, and a folder is expected there; fix or remove the link"
    counted("files in place of folders, refused")


def refused(study: Study, *targets: str) -> str:
    """Return the one-line error with which Snakemake ends before any job."""
    result = study.snakemake(*targets)
    assert result.returncode == 1 and "rule " not in result.stdout and "Traceback" not in result.stdout, result.stdout
    return result.stdout.splitlines()[-1]

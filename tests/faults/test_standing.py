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
REBUILD = "delete the folder 'results/tiny/dataset' and run the same command again to rebuild it"


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Study:
    """Return a study with a chain of checkpoints, without dreams."""
    study = Study(tmp_path_factory.mktemp("whole"), tiny())
    study.config["runs"]["scratch"]["epochs"] = [0, 1, 2]
    study.run("training_only")
    return study


@pytest.fixture
def study(whole, tmp_path) -> Study:
    """Return a copy of the study whose files may be corrupted."""
    return whole.copy(tmp_path / "study")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def renumber(path: Path) -> None:
    path.write_text(path.read_text().replace("\n0,", "\n7,"))


def relabel(path: Path) -> None:
    path.write_text(path.read_text().replace(",blue_jay,", ",dodo,", 1))


@pytest.mark.parametrize(
    ("name", "spoil", "remedy"),
    [
        (
            "runs/scratch/epoch-0001/model.safetensors",
            cut,
            "delete it and run the same command again to retrain that epoch",
        ),
        (
            "runs/scratch/epoch-0000/training_state.safetensors",
            empty,
            "delete it and run the same command again to retrain that epoch",
        ),
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
            cut,
            REBUILD,
        ),
    ],
)
def test_what_is_not_whole_costs_nothing_that_was_made_from_it(study, name, spoil, remedy, counted):
    spoil(study.results / name)
    spoilt = files(study)
    said = refused(study, "training_only")
    assert f"'results/tiny/{name}'" in said and said.endswith(remedy)
    assert files(study) == spoilt
    counted("spoilt files between stages refused or made anew")


def test_checkpoints_that_were_deleted_are_trained_again_when_one_asks_for_them(study, whole, counted):
    names = [
        "epoch-0001/model.safetensors",
        "epoch-0001/training_state.safetensors",
        "epoch-0002/model.safetensors",
        "epoch-0002/history.csv",
    ]
    for name in names:
        (study.results / "runs/scratch" / name).unlink()
    study.run("training_only")
    assert files(study) == files(whole)
    counted("spoilt files between stages refused or made anew", len(names))


@pytest.mark.parametrize("what", ["weights", "link", "start"])
def test_nothing_is_made_from_a_file_of_the_future(study, what, counted):
    own, ahead = study.folder / "own.safetensors", time.time() + 2 * DAY
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
    os.utime(own, (ahead, ahead), follow_symlinks=False)
    before = files(study)
    said = refused(study)
    touch = "touch -h" if what == "link" else "touch"
    assert said.startswith(f"Error: '{own}' has a modification time in the future (")
    assert said.endswith(f"); run `{touch} {shlex.quote(str(own))}`")
    assert files(study) == before
    subprocess.run([*touch.split(), own], check=True)
    assert study.jobs("dreams_only" if what == "start" else "training_only")
    counted("accidents of the machine told in one sentence")


@pytest.mark.parametrize("place", ["results", "results/tiny", "results/.store"])
def test_a_link_that_leads_nowhere_is_told_before_any_job(tmp_path, place, counted):
    study = Study(tmp_path, tiny())
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).symlink_to(tmp_path / "gone")
    assert (
        refused(study) == f"Error: '{place}' is a broken link, and a folder is expected there; fix or remove the link"
    )
    counted("files where folders should be refused")


def refused(study: Study, *targets: str) -> str:
    """Return the one-line error with which Snakemake ends before any job."""
    result = study.snakemake(*targets)
    assert result.returncode == 1 and "rule " not in result.stdout and "Traceback" not in result.stdout, result.stdout
    return result.stdout.splitlines()[-1]

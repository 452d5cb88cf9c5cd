"""A run that is stopped in the middle of an epoch, and again in the middle of a dream job, loses next to nothing.

Each way to stop it is tried on a study of its own, which must end with the files of one that nobody disturbed.
"""

import contextlib
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
from studies import Study, count_dreams, tiny
from surroundings import surroundings

ARGUMENTS = ["dreams_only", "--set-resources", "dream_study:mem_mb=100"]  # so little memory makes batches of one


def config() -> dict:
    """Return a study whose epochs and dreams last about a second each."""
    config = tiny()
    config["dataset"]["images_per_label"] = 100
    config["runs"]["scratch"] = {"model": "test_resnet", "epochs": [4], "batch_size": 4}
    config["dreams"]["recipes"] = {"study": {"steps": [50, 400]}}
    return config


def files(study: Study) -> dict[str, bytes]:
    """Return the contents of all results but for logs and what tells how long things took."""
    found = {}
    for path in sorted(study.results.rglob("*")):
        name = str(path.relative_to(study.results))
        if path.is_file() and path.suffix in (".png", ".gif", ".csv", ".safetensors", ".npy") and "curves" not in name:
            found[name] = path.read_bytes()
            if name.startswith("runs/") and path.suffix == ".csv":
                found[name] = pd.read_csv(path).drop(columns=["images_per_second", "seconds"]).to_csv().encode()
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, bytes]:
    """Return the files of a study that ran in one go."""
    study = Study(tmp_path_factory.mktemp("undisturbed"), config())
    study.run(*ARGUMENTS)
    return files(study)


def job_of(folder: Path) -> int:
    """Return the process of the script that runs in a working directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if (process / "cwd").readlink() == folder and b".snakemake/scripts/" in b" ".join(words[:3]):
                found.append(int(process.name))
    return max(found)


def start_until(study: Study, words: str, times: int = 1) -> subprocess.Popen:
    """Start Snakemake in a process group of its own, and return it as soon as it has said these words so many times."""
    said = study.folder / "said.log"
    with said.open("w") as log:
        process = subprocess.Popen(
            study.command(*ARGUMENTS),
            cwd=study.root,
            env=surroundings(),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    patience = time.monotonic() + 120
    while said.read_text().count(words) < times:
        assert process.poll() is None and time.monotonic() < patience, said.read_text()[-3000:]
        time.sleep(0.02)
    return process


STOPS = {
    "Ctrl-C": lambda process, _: os.killpg(process.pid, signal.SIGINT),
    "SIGTERM": lambda process, _: process.send_signal(signal.SIGTERM),
    "SIGKILL of the job": lambda _, folder: os.kill(job_of(folder), signal.SIGKILL),
    "SIGKILL of Snakemake": lambda process, _: process.send_signal(signal.SIGKILL),
    "SIGKILL of all": lambda process, _: os.killpg(process.pid, signal.SIGKILL),
}


@pytest.mark.parametrize("stop", STOPS)
def test_the_same_command_goes_on_after(stop, tmp_path, undisturbed):
    study = Study(tmp_path, config())
    process = start_until(study, "scratch epoch 2: loss")
    STOPS[stop](process, tmp_path)
    process.wait(60)
    process = start_until(study, "dreamt of 1 labels", times=2)
    said = (study.folder / "said.log").read_text()
    trained = re.findall(r"^scratch epoch (\d): loss", said, re.MULTILINE)
    assert trained in (["2", "3", "4"], ["3", "4"], ["4"], []), "the epochs that were whole are kept"
    STOPS[stop](process, tmp_path)
    process.wait(60)
    said = study.run(*ARGUMENTS)
    assert count_dreams(said) <= 2 * 2, "the two dreams of the first label are kept"
    assert files(study) == undisturbed
    assert not list(Path(study.folder).rglob(".stage-*")) or stop.startswith("SIGKILL")
    assert "Nothing to be done" in study.run(*ARGUMENTS)

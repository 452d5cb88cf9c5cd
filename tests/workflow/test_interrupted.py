"""Runs that are stopped during an epoch and during a dream job, in several ways.

The same command resumes, repeats little work, and gives the same files as an uninterrupted run.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from dreambirds.dream_job.store import find
from tests.helpers.killing import files, jobs_of
from tests.helpers.studies import Study, count_dreams, tiny
from tests.helpers.surroundings import surroundings

ARGUMENTS = ["dreams_only", "--set-resources", "dream:mem_mb=100"]  # so little memory gives batches of one


def config(epochs: int) -> dict:
    """Return a study of eight species, whose epochs and dreams take about half a second."""
    config = tiny()
    config["dataset"] = {"image_size": 32, "images_per_label": 16}
    config["runs"]["scratch"] = {"model": "test_resnet", "epochs": [epochs], "batch_size": 4}
    config["dreams"]["recipes"] = {"study": {"steps": [25, 100]}}
    return config


STOPS = {
    "Ctrl-C": lambda process, _: os.killpg(process.pid, signal.SIGINT),
    "SIGKILL of the job": lambda _, folder: os.kill(max(jobs_of(folder)), signal.SIGKILL),
    "SIGKILL of Snakemake": lambda process, _: process.send_signal(signal.SIGKILL),
    "SIGKILL of all": lambda process, _: os.killpg(process.pid, signal.SIGKILL),
    # last, because Snakemake lets the running job finish
    "SIGTERM": lambda process, _: process.send_signal(signal.SIGTERM),
}


def stop_when(study: Study, stop: str, ready: Callable[[str], bool]) -> str:
    """Start Snakemake, stop it when `ready`, and return its output.

    It runs in a new process group. It is not stopped if it ends before that.
    """
    log = study.folder / "output.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            study.command(*ARGUMENTS),
            cwd=study.root,
            env=surroundings(),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + 900
    while process.poll() is None and not ready(log.read_text()):
        assert time.monotonic() < deadline, (stop, log.read_text()[-3000:])
        time.sleep(0.1)
    if process.poll() is None:
        STOPS[stop](process, study.folder)
    process.wait(600)
    while jobs_of(study.folder):  # jobs that briefly outlive a killed Snakemake, and log epochs
        assert time.monotonic() < deadline, stop
        time.sleep(0.1)
    return log.read_text()


def epochs(output: str) -> list[int]:
    """Return the epochs that a run has trained, from its output."""
    return [int(epoch) for epoch in re.findall(r"^scratch epoch (\d+): loss", output, re.MULTILINE)]


FEW = ["Ctrl-C"], ["SIGKILL of all", "SIGTERM"]  # the other ways are those of tests/faults/test_kills.py


@pytest.mark.parametrize(
    ("in_training", "in_dreams", "last"),
    [(*FEW, 5), pytest.param(list(STOPS), list(STOPS), 18, marks=pytest.mark.exhaustive)],
    ids=["each stage", "each way twice"],
)
def test_the_same_command_resumes_after_every_way_to_stop_it(tmp_path, in_training, in_dreams, last):
    (tmp_path / "interrupted").mkdir()
    study, reached = Study(tmp_path / "interrupted", config(last)), 0
    study.run(*ARGUMENTS, "--until", "check", "dataset")
    for stop in in_training:
        trained = epochs(stop_when(study, stop, epochs))
        assert trained or reached == last, f"before {stop} {reached} epochs were complete"
        if trained:
            assert trained[0] in (reached, reached + 1) or not reached, f"before {stop} {reached} epochs were complete"
            reached = trained[-1]
    kept = study.folder / "results/.store/dreams"
    for stop in in_dreams:
        before = len(find(kept, "*/*/*/entry.json"))
        stop_when(study, stop, lambda _, before=before: len(find(kept, "*/*/*/entry.json")) > before)
    before = len(find(kept, "??/*/*/entry.json"))
    output = study.run(*ARGUMENTS)
    assert before >= 2 * 4 and count_dreams(output) <= 16 - before, "complete batches are kept"
    assert "Nothing to be done" in study.run(*ARGUMENTS)
    (tmp_path / "uninterrupted").mkdir()
    uninterrupted = Study(tmp_path / "uninterrupted", config(last))
    uninterrupted.run(*ARGUMENTS)
    assert files(study) == files(uninterrupted)

"""Run the real workflow on a tiny study in a temporary folder."""

import copy
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yaml
from filelock import FileLock

from tests.helpers.forks import run_python
from tests.helpers.surroundings import surroundings

ROOT = Path(__file__).parents[2]
LABELS = ["blue_jay", "northern_cardinal", "yellow_warbler"]


class Study:
    """A config and its working directory."""

    def __init__(self, folder: Path, config: dict, root: Path = ROOT):
        """Take the working directory, the config, and the folder of the workflow."""
        self.folder, self.config, self.root = folder, config, root

    def copy(self, folder: Path) -> "Study":
        """Return a copy of the study and its results in a new folder."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Study(folder, copy.deepcopy(self.config), self.root)

    def snakemake(self, *arguments: str, **env: str) -> subprocess.CompletedProcess:
        """Run Snakemake with the current config; standard output and error are merged."""
        return run_python(self.command(*arguments)[1:], self.root, surroundings() | env)

    def command(self, *arguments: str) -> list[str]:
        """Write the current config, and return the command that runs Snakemake with it."""
        (self.folder / "study.yaml").write_text(yaml.safe_dump(self.config), encoding="utf-8")
        command = [sys.executable, "-m", "snakemake", *arguments, "--cores", 2, "--snakefile", self.root / "Snakefile"]
        command += ["--directory", self.folder, "--configfile", self.folder / "study.yaml"]
        return [str(argument) for argument in command]

    def run(self, *arguments: str) -> str:
        """Run Snakemake, expect success, and return its output."""
        result = self.snakemake(*arguments)
        assert result.returncode == 0, result.stdout[-6000:]
        return result.stdout

    def jobs(self, *arguments: str) -> dict[str, int]:
        """Return the number of jobs per rule in a dry run."""
        return count_jobs(self.run("-n", *arguments))

    @property
    def results(self) -> Path:
        """The folder of the study's results."""
        return self.folder / "results" / self.config["study"]


def shared_study(folder: Path, build: Callable[[Path], Study]) -> Study:
    """Return a study that all processes of a test run share.

    The first process builds it in a new folder. Tests may read and copy it, but not change it.
    """
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            temporary = folder.with_suffix(".building")
            temporary.mkdir()
            build(temporary)
            temporary.rename(folder)
    return Study(folder, tiny())


def count_jobs(output: str) -> dict[str, int]:
    """Return the number of jobs per rule from the output of a run or a dry run."""
    table = re.search(r"^Job stats:\njob +count\n[- ]+\n(.*?)^total", output, re.MULTILINE | re.DOTALL)
    return {name: int(count) for name, count in re.findall(r"^(\S+) +(\d+)$", table[1], re.MULTILINE)} if table else {}


def count_dreams(output: str) -> int:
    """Return the number of dreams that a run computed, without those from the store."""
    lines = re.findall(r": (\d+) dreams?, (\d+) of them from the store$", output, re.MULTILINE)
    return sum(int(total) - int(found) for total, found in lines)


def copy_workflow(folder: Path) -> Path:
    """Copy the workflow into a folder, so tests can edit its code; return the folder."""
    for name in ("workflow", "profiles", "config"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "README.md", "environment.yml"):
        shutil.copy(ROOT / name, folder)
    return folder


def tiny() -> dict:
    """Return a tiny config: 3 drawn species, a tiny model, 2 checkpoints, no judge."""
    return {
        "study": "tiny",
        "dataset": {
            "image_size": 32,
            "images_per_label": 5,
            "labels": list(LABELS),
        },
        "runs": {"scratch": {"model": "test_resnet", "epochs": [0, 1], "batch_size": 8}},
        "dreams": {"recipes": {"study": {"steps": [1, 3]}}},
        "judges": {},
        "montage": {"cell_size": 48},
        "threads": {"train": 1},
        "gpu": 0,
    }

"""Run the real workflow, as a user does, on a tiny study in a temporary folder."""

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
    """A config and a working directory of its own."""

    def __init__(self, folder: Path, config: dict, root: Path = ROOT):
        """Take the folder to work in, the config, and where the workflow lies."""
        self.folder, self.config, self.root = folder, config, root

    def copy(self, folder: Path) -> "Study":
        """Return a copy of all that the study has, in a folder that is made."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Study(folder, copy.deepcopy(self.config), self.root)

    def snakemake(self, *arguments: str, **env: str) -> subprocess.CompletedProcess:
        """Run Snakemake with the study's config as it is now; standard error and output come together."""
        return run_python(self.command(*arguments)[1:], self.root, surroundings() | env)

    def command(self, *arguments: str) -> list[str]:
        """Return the command that runs Snakemake with the study's config as it is now."""
        (self.folder / "study.yaml").write_text(yaml.safe_dump(self.config))
        command = [sys.executable, "-m", "snakemake", *arguments, "--cores", 2, "--snakefile", self.root / "Snakefile"]
        command += ["--directory", self.folder, "--configfile", self.folder / "study.yaml"]
        return [str(word) for word in command]

    def run(self, *arguments: str) -> str:
        """Run Snakemake, expect success, and return what it said."""
        result = self.snakemake(*arguments)
        assert result.returncode == 0, result.stdout[-6000:]
        return result.stdout

    def jobs(self, *arguments: str) -> dict[str, int]:
        """Return how many jobs of each rule a dry run announces."""
        return count_jobs(self.run("-n", *arguments))

    @property
    def results(self) -> Path:
        """The study's results."""
        return self.folder / "results" / self.config["study"]


def shared_study(folder: Path, build: Callable[[Path], Study]) -> Study:
    """Return a study that all processes of a test run share: the first that asks builds it, in a folder that is made.

    Tests may look at it and copy it, but change nothing in it.
    """
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            making = folder.with_suffix(".making")
            making.mkdir()
            build(making)
            making.rename(folder)
    return Study(folder, tiny())


def count_jobs(said: str) -> dict[str, int]:
    """Return how many jobs of each rule a dry run or a run announced."""
    table = re.search(r"^Job stats:\njob +count\n[- ]+\n(.*?)^total", said, re.MULTILINE | re.DOTALL)
    return {name: int(count) for name, count in re.findall(r"^(\S+) +(\d+)$", table[1], re.MULTILINE)} if table else {}


def count_dreams(said: str) -> int:
    """Return how many dreams a run really dreamt: those that its jobs did not find in the store."""
    told = re.findall(r": (\d+) dreams, (\d+) of them from the store$", said, re.MULTILINE)
    return sum(int(total) - int(found) for total, found in told)


def copy_workflow(folder: Path) -> Path:
    """Copy what makes the workflow into a folder, so that its code may be edited; return the folder."""
    for name in ("workflow", "profiles", "config"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "README.md", "environment.yml"):
        shutil.copy(ROOT / name, folder)
    return folder


def tiny() -> dict:
    """Return the config of a study of seconds: 3 drawn species, a tiny model, 2 checkpoints, and nobody who judges."""
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

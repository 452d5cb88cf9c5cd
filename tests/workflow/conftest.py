"""Run the real workflow, as a user does, on a tiny study in a temporary folder."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from surroundings import surroundings

ROOT = Path(__file__).parents[2]
LABELS = ["blue_jay", "northern_cardinal", "yellow_warbler"]


class Study:
    """A config and a working directory of its own."""

    def __init__(self, folder: Path, config: dict):
        """Put the config into the folder."""
        self.folder = folder
        self.config = config

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess:
        """Run Snakemake with the study's config as it is now; standard error and output come together."""
        (self.folder / "study.yaml").write_text(yaml.safe_dump(self.config))
        command = [sys.executable, "-m", "snakemake", *arguments, "--cores", 2, "--snakefile", ROOT / "Snakefile"]
        command += ["--directory", self.folder, "--configfile", self.folder / "study.yaml"]
        return subprocess.run(
            [str(word) for word in command],
            cwd=ROOT,
            env=surroundings(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, *arguments: str) -> str:
        """Run Snakemake, expect success, and return what it said."""
        result = self.snakemake(*arguments)
        assert result.returncode == 0, result.stdout[-6000:]
        return result.stdout

    @property
    def results(self) -> Path:
        """The study's results."""
        return self.folder / "results" / self.config["study"]


def tiny() -> dict:
    """Return the config of a study of seconds: 3 drawn species, a tiny model, 2 checkpoints."""
    return {
        "study": "tiny",
        "dataset": {
            "image_size": 32,
            "images_per_label": 5,
            "labels": ["blue_jay", "northern_cardinal", "yellow_warbler"],
        },
        "runs": {"scratch": {"model": "test_resnet", "epochs": [0, 1], "batch_size": 8}},
        "dreams": {"recipes": {"study": {"steps": [1, 3]}}},
        "pictures": {"cell": 48},
        "threads": {"train": 1},
        "gpu": 0,
    }


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """Return the tiny study of a test module; its tests run in order and build on each other."""
    return Study(tmp_path_factory.mktemp("study"), tiny())


@pytest.fixture
def fresh(tmp_path) -> Study:
    """Return a tiny study of one's own."""
    return Study(tmp_path, tiny())

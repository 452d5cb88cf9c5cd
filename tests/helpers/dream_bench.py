"""A dream job on a tiny checkpoint, for tests of the store of dreams."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from dreambirds.config.recipes import expand_grid
from dreambirds.dream_job.archive import read_index
from dreambirds.dream_job.context import DreamJob
from dreambirds.dream_job.run import run_dream_job
from dreambirds.errors import counted
from dreambirds.models import MODEL_FILE
from dreambirds.models.checkpoint import CheckpointInfo, save_checkpoint
from dreambirds.models.classifier import build

NAMES = {"a": "Ash", "b": "Birch", "c": "Cedar"}
CPU = torch.device("cpu")


def checkpoint(folder: Path, seed: int = 0, epoch: int = 1, labels: Sequence[str] = tuple(NAMES)) -> Path:
    """Write a checkpoint of a tiny network of three classes, and return its weights file."""
    torch.manual_seed(seed)
    save_checkpoint(
        folder, build("test_resnet", 3, {}).eval(), CheckpointInfo("test_resnet", {}, list(labels), "run", epoch, 32)
    )
    return folder / MODEL_FILE


def parameters(**recipe) -> dict:
    """Return a recipe's values."""
    (values,) = expand_grid("r", {"steps": [1, 3], **recipe}).values()
    return values


class DreamBench:
    """A store and a job; each run returns how many dreams were computed."""

    def __init__(self, folder: Path, caplog):
        """Use `folder` for the checkpoint and the results."""
        self.folder, self.caplog = folder, caplog
        path = checkpoint(folder / "epoch-0001")
        self.job = DreamJob(path, "r", parameters(), NAMES, {}, None, 4 * 10**9, code="code 1")

    def dreamt(self, folder: str = "out", lay: bool = True, **changes) -> int:
        """Run the job with changes, and its archive in a folder; return how many dreams were computed."""
        job = replace(self.job, **changes)
        archive = self.archive(folder)
        archive.parent.mkdir(exist_ok=True)
        self.caplog.clear()
        with self.caplog.at_level(logging.INFO):
            run_dream_job(job, CPU, archive, lay)
        total, found = self.caplog.records[-1].args[1:]
        assert total == counted(len(job.names) * len(job.steps), "dream")
        return len(job.names) * len(job.steps) - found

    def archive(self, folder: str = "out") -> Path:
        """Return the path of a job's archive."""
        return self.folder / folder / "dreams.zip"

    def table(self, folder: str = "out") -> pd.DataFrame:
        """Return the table of a job's dreams."""
        return read_index(self.archive(folder))

    def files(self, folder: str = "out") -> dict[str, bytes]:
        """Return the contents of a job's files by relative path."""
        root = self.folder / folder
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def entries(folder: Path) -> list[Path]:
    """Return the folders of all dreams in a store."""
    return sorted(record.parent for record in folder.glob("dreams/??/*/*/entry.json"))


def same_statistics(one, other) -> bool:
    """Return whether two statistics are bitwise equal, in the same kinds and layers."""
    if {kind: set(layers) for kind, layers in one.items()} != {kind: set(layers) for kind, layers in other.items()}:
        return False
    return all(torch.equal(one[kind][layer], other[kind][layer]) for kind in one for layer in one[kind])

"""Helpers for the tests of training: short chains of jobs, and trainers of any network."""

from pathlib import Path

import torch
from torch import nn

from dreambirds.models.checkpoint import load_checkpoint
from dreambirds.models.classifier import Classifier
from dreambirds.plan.paths import epoch_name
from dreambirds.training.job import TrainJob, run_train_job
from dreambirds.training.trainer import Trainer
from tests.helpers.sections import section

CPU = torch.device("cpu")


class BatchList(list):
    """A list of batches that behaves like the training loader."""

    @property
    def batch_sampler(self):
        """The list itself, which has `set_range` of `ResumableBatchSampler`."""
        return self

    def set_range(self, _epoch: int, first: int, last: int) -> None:
        """Keep the batches from `first` to before `last`."""
        self[:] = self[first:last]


def link(folder: Path, dataset: Path, run: dict, epoch: float, before: Path | None = None, **more) -> Path:
    """Run one training job, and return the folder of its checkpoint, in the run's folder."""
    checkpoint = folder / epoch_name(epoch)
    run_train_job(TrainJob(more.pop("name", "a"), run, dataset, epoch, before, checkpoint, **more), CPU)
    return checkpoint


def train(folder: Path, dataset: Path, run: dict, epochs: list, **more) -> Path:
    """Run one training job per kept epoch, and return the folder of the last checkpoint."""
    before = None
    for epoch in epochs:
        before = link(folder, dataset, run, epoch, before, **more)
    return before


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Return the weights of a checkpoint."""
    return load_checkpoint(checkpoint)[0].network.state_dict()


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """Return the names of the tensors that differ."""
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def linear(classes: int = 3, dtype: torch.dtype = torch.float32) -> Classifier:
    """Return a linear classifier of 2x2 images, with a known gradient."""
    torch.manual_seed(0)
    classifier = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(12, classes)))
    classifier.mean.zero_()
    classifier.std.fill_(1.0)
    return classifier.to(dtype)


def trainer(classifier: Classifier, counts=(8, 8, 8), per_epoch: int = 2, **changes) -> Trainer:
    """Return a trainer with plain SGD and learning rate 0.5, except for the changes."""
    plain = {"optimizer": "momentum", "weight_decay": 0.0, "schedule": "constant", "warmup_epochs": 0}
    run = section(**{**plain, "learning_rate": 0.5, "label_smoothing": 0.0, **changes})
    return Trainer(classifier, run, torch.tensor(counts), per_epoch)

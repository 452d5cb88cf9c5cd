"""The training job: from one checkpoint to the next, resumable at any update."""

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import torch

from dreambirds.config.runs import parse_epoch
from dreambirds.data.dataset import Pictures
from dreambirds.data.tables import read_labels, read_table, write_table
from dreambirds.errors import TRAIN_AGAIN, UserError, error_context
from dreambirds.io import digest_of, expand, sha256_of
from dreambirds.models.checkpoint import (
    CheckpointInfo,
    check_metadata,
    load_checkpoint,
    load_tensors,
    save_checkpoint,
    save_tensors,
)
from dreambirds.models.classifier import build, options_for, probe
from dreambirds.plan.paths import epoch_name
from dreambirds.shapes import as_size
from dreambirds.training.data import augmentation, load_training_data, load_validation
from dreambirds.training.trainer import DivergenceError, RunningMetrics, Trainer, parts

LIBRARIES = ("torch", "torchvision", "timm")
HISTORY = [
    "run",
    "epoch",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "learning_rate",
    "images_per_second",
    "seconds",
]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Files:
    """The files of one checkpoint: weights, the optimiser's state, and the history since the checkpoint before."""

    weights: Path
    state: Path
    history: Path

    @classmethod
    def inside(cls, folder: Path) -> "Files":
        """Return files in a folder that holds one checkpoint only."""
        return cls(folder / "weights.safetensors", folder / "state.safetensors", folder / "history.csv")


def read_history(path: Path, epoch: float) -> pd.DataFrame:
    """Return the history of a checkpoint's epochs. Raises UserError if it can't be read or does not reach `epoch`."""
    return read_table(path, rows=pd.DataFrame({"epoch": [epoch]}), end=TRAIN_AGAIN)


def identity(facts: dict, inputs: list[Path]) -> str:
    """Return a digest of all that decides a segment's weights: facts, versions, and the contents of its inputs."""
    told = [facts, *map(version, LIBRARIES), *map(sha256_of, inputs)]
    return digest_of(told)


class Progress:
    """The last whole epoch of a segment, in a folder of its own beside the run's checkpoints."""

    def __init__(self, folder: Path, identity: str):
        """Take the folder, and what an epoch in it must be made of to be used."""
        self.folder, self.identity = folder, identity

    def latest(self) -> Files | None:
        """Return the files of the last whole epoch, None if there is none of this identity that can be read."""
        for folder in sorted(self.folder.glob("epoch-*"), reverse=True):
            if self._is_good(Files.inside(folder)):
                return Files.inside(folder)
        return None

    def _is_good(self, kept: Files) -> bool:
        try:
            load_tensors(kept.weights)
            read_table(kept.history)
            return load_tensors(kept.state)[1].get("identity") == self.identity
        except (UserError, OSError, ValueError):
            return False

    def keep(self, epoch: float, write: Callable) -> Files:
        """Let ``write(files, epoch, facts)`` write an epoch with these facts in its state, in place of the last one."""
        new, kept = self.folder / "new", self.folder / epoch_name(epoch)
        for folder in (new, kept):
            shutil.rmtree(folder, ignore_errors=True)
        new.mkdir(parents=True)
        write(Files.inside(new), epoch, {"identity": self.identity})
        new.rename(kept)
        for older in self.folder.glob("epoch-*"):
            if older != kept:
                shutil.rmtree(older, ignore_errors=True)
        return Files.inside(kept)

    def forget(self) -> None:
        """Remove it all: the segment is done."""
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class TrainJob:
    """What to train: a run's name and section of the config, the prepared data set's folder, the epoch to reach from
    the checkpoint `before` (None: from the beginning), the files to write, a digest of the code, how many processes
    load pictures, and where the config has the section, unless that is a run."""

    name: str
    run: dict
    dataset: Path
    epoch: int | float
    before: Files | None
    to: Files
    code: str = ""
    processes: int = 0
    where: str | None = None

    @property
    def path(self) -> str:
        """The section's path in the config."""
        return self.where or f"runs.{self.name}"


def run_train_job(segment: TrainJob, device: torch.device) -> None:
    """Train up to the segment's epoch and write its files.

    On one CPU, with the same number of threads, the weights are the same bits however the way to the epoch was divided,
    and whether or not it was interrupted. Raises UserError where training can't go on; the last whole epoch until then
    is kept beside the checkpoints, in ``.progress``.
    """
    link = _Link(segment, device)
    try:
        link.go()
    except DivergenceError as error:
        kept = link.kept or (segment.before and segment.before.weights)
        good = f"the last good checkpoint is '{kept}'" if kept else "there is no checkpoint before it"
        raise UserError(f"{segment.path}: {error}; {good}") from error
    link.write(segment.to, segment.epoch)
    link.progress.forget()


class _Link:
    """A segment in training: where it stands, and what it has told so far."""

    def __init__(self, segment: TrainJob, device: torch.device):
        self.segment, self.device = segment, device
        self.labels = list(read_labels(segment.dataset)["label"])
        pictures = Pictures(segment.dataset, "train")
        self.shape, run = pictures.shape, segment.run
        change = augmentation(run["augmentation"], self.shape)
        self.loader = load_training_data(pictures, change, run, segment.processes, device)
        self.validation = load_validation(Pictures(segment.dataset, "validation"), run, device)
        self.per_epoch = self.loader.batch_sampler.per_epoch
        self.progress = Progress(segment.to.weights.parent / ".progress", _identity(segment))
        found = self.progress.latest()
        self.kept = found and found.weights
        self.rows = read_table(found.history).assign(run=segment.name).to_dict("records") if found else []
        counts = torch.bincount(torch.tensor(pictures.targets), minlength=len(self.labels))
        self._begin(found or segment.before, counts)

    def _begin(self, start: Files | None, counts: torch.Tensor) -> None:
        run, classes = self.segment.run, len(self.labels)
        torch.manual_seed(run["seed"])
        if start is None:
            self.options, self.epoch = options_for(run["model"], run["model_options"], self.shape), None
            with error_context(self.segment.path):
                classifier = build(run["model"], classes, self.options, run["weights"])
                probe(classifier, self.shape, classes, run["model_options"] and self.options)
        else:
            classifier, card = load_checkpoint(start.weights)
            check_metadata(start.weights, card, model=run["model"])
            self.options, self.epoch = card.model_options, card.epoch
        classifier = classifier.to(self.device, memory_format=torch.channels_last)
        self.trainer = Trainer(classifier, run, counts, self.per_epoch)
        if start is not None:
            self.trainer.restore(*load_tensors(start.state))
        if run["compile"]:
            with error_context(self.segment.path):
                self.trainer.compile(self.shape)

    def go(self) -> None:
        """Train to the segment's epoch, and keep each whole epoch on the way. Raises DivergenceError."""
        goal = self._updates(self.segment.epoch)
        if self.epoch is None:
            self._tell(0, None)
        done = self._updates(self.epoch or 0)
        if done == goal and self.segment.epoch:
            said = "epoch %s is the checkpoint before it: an epoch has only %d update(s)"
            log.warning(said, self.segment.epoch, self.per_epoch)
            self._tell(self.segment.epoch, None)
        for epoch, first, last in parts(done, goal, self.per_epoch):
            tally = self.trainer.train(self.loader, epoch, first, last)
            final = (epoch - 1) * self.per_epoch + last == goal
            self._tell(self.segment.epoch if final else epoch, tally)
            if not final:
                self.kept = self.progress.keep(epoch, self.write).weights

    def _updates(self, epoch: float) -> int:
        return round(epoch * self.per_epoch)

    def _tell(self, epoch: float, train: RunningMetrics | None) -> None:
        """Evaluate, and add a row to the history and a line to the log."""
        validation = self.trainer.evaluate(self.validation, epoch)
        loss, accuracy = train.means if train else (None, None)
        speed, seconds = (train.count / train.seconds, train.seconds) if train else (None, 0.0)
        rate, name = train.rate if train else None, self.segment.name
        values = [name, epoch, loss, accuracy, *validation.means, rate, speed, seconds]
        self.rows.append(dict(zip(HISTORY, values, strict=True)))
        described, seen = f"loss {loss:.3f}, " if train else "", validation.means[1]
        log.info("%s epoch %s: %svalidation accuracy %.3f, %.1f s", name, epoch, described, seen, seconds)

    def write(self, to: Files, epoch: float, facts: dict | None = None) -> None:
        """Write the weights, with `facts` beside the optimiser's state, and the rows so far."""
        tensors, state = self.trainer.state()
        save_tensors(to.state, tensors, {**state, **(facts or {})})
        table = pd.DataFrame(self.rows, columns=HISTORY)
        table["epoch"] = [str(parse_epoch(number)) for number in table["epoch"]]
        write_table(table, to.history, float_format="%.6g")
        run, size = self.segment.run, as_size(self.shape)
        card = CheckpointInfo(run["model"], self.options, self.labels, self.segment.name, epoch, size)
        save_checkpoint(to.weights, self.trainer.classifier, card)


def _identity(segment: TrainJob) -> str:
    """Return what must be the same for an epoch that another job reached to be this one's."""
    weights = segment.run["weights"]
    first = [] if weights in (None, "hub") else [expand(weights)]
    inputs = [segment.before.weights, segment.before.state] if segment.before else first
    facts = {"run": segment.run, "name": segment.name, "epoch": segment.epoch, "code": segment.code}
    return identity(facts, [segment.dataset / "images.csv", *inputs])

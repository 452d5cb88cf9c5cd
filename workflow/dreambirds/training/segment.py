"""One link of the chain: from a kept checkpoint to the next one."""

import logging
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from dreambirds.data.files import expand
from dreambirds.data.loading import Pictures
from dreambirds.data.shapes import as_size
from dreambirds.data.tables import read_labels, read_table, write_table
from dreambirds.errors import StudyError, said_of
from dreambirds.models.build import build, options_for, probe
from dreambirds.models.checkpoint import Card, check_card, load_checkpoint, load_tensors, save_checkpoint, save_tensors
from dreambirds.study.paths import as_epoch
from dreambirds.training.augment import augmentation
from dreambirds.training.epochs import DivergenceError, Tally, Trainer, parts
from dreambirds.training.files import Files
from dreambirds.training.lessons import load_lessons, load_validation
from dreambirds.training.progress import Progress, identity

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
class Segment:
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


def train_segment(segment: Segment, device: torch.device) -> None:
    """Train up to the segment's epoch and write its files.

    On one CPU, with the same number of threads, the weights are the same bits however the way to the epoch was divided,
    and whether or not it was interrupted. Raises StudyError where training can't go on; the last whole epoch until then
    is kept beside the checkpoints, in ``.progress``.
    """
    link = _Link(segment, device)
    try:
        link.go()
    except DivergenceError as error:
        kept = link.kept or (segment.before and segment.before.weights)
        good = f"the last good checkpoint is '{kept}'" if kept else "there is no checkpoint before it"
        raise StudyError(f"{segment.path}: {error}; {good}") from error
    link.write(segment.to, segment.epoch)
    link.progress.forget()


class _Link:
    """A segment in training: where it stands, and what it has told so far."""

    def __init__(self, segment: Segment, device: torch.device):
        self.segment, self.device = segment, device
        self.labels = list(read_labels(segment.dataset)["label"])
        pictures = Pictures(segment.dataset, "train")
        self.shape, run = pictures.shape, segment.run
        change = augmentation(run["augmentation"], self.shape)
        self.loader = load_lessons(pictures, change, run, segment.processes, device)
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
            with said_of(self.segment.path):
                classifier = build(run["model"], classes, self.options, run["weights"])
                probe(classifier, self.shape, classes, run["model_options"] and self.options)
        else:
            classifier, card = load_checkpoint(start.weights)
            check_card(start.weights, card, model=run["model"])
            self.options, self.epoch = card.model_options, card.epoch
        classifier = classifier.to(self.device, memory_format=torch.channels_last)
        self.trainer = Trainer(classifier, run, counts, self.per_epoch)
        if start is not None:
            self.trainer.restore(*load_tensors(start.state))
        if run["compile"]:
            with said_of(self.segment.path):
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

    def _tell(self, epoch: float, train: Tally | None) -> None:
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
        table["epoch"] = [str(as_epoch(number)) for number in table["epoch"]]
        write_table(table, to.history, float_format="%.6g")
        run, size = self.segment.run, as_size(self.shape)
        card = Card(run["model"], self.options, self.labels, self.segment.name, epoch, size)
        save_checkpoint(to.weights, self.trainer.classifier, card)


def _identity(segment: Segment) -> str:
    """Return what must be the same for an epoch that another job reached to be this one's."""
    weights = segment.run["weights"]
    first = [] if weights in (None, "hub") else [expand(weights)]
    inputs = [segment.before.weights, segment.before.state] if segment.before else first
    facts = {"run": segment.run, "name": segment.name, "epoch": segment.epoch, "code": segment.code}
    return identity(facts, [segment.dataset / "images.csv", *inputs])

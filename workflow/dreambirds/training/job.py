"""The training job: train from one checkpoint to the next, resumable by epoch."""

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from dreambirds.config.class_names import head_rows
from dreambirds.config.runs import parse_epoch
from dreambirds.data.dataset import PreparedImages
from dreambirds.data.tables import read_label_names, read_labels, read_table, write_table
from dreambirds.errors import UserError, counted, error_context
from dreambirds.io import digest_of, expand, sha256_of
from dreambirds.models import MODEL_FILE, NOT_FILES
from dreambirds.models.checkpoint import (
    CheckpointInfo,
    check_metadata,
    load_checkpoint,
    load_tensors,
    save_checkpoint,
    save_tensors,
)
from dreambirds.models.checkpoint_facts import weights_files
from dreambirds.models.classifier import Classifier, build, options_for, probe
from dreambirds.models.names import model_files
from dreambirds.models.networks import stored_class_names
from dreambirds.plan.paths import HISTORY_FILE, STATE_FILE, epoch_name
from dreambirds.runtime.code_version import libraries
from dreambirds.runtime.timings import record, time_text, training_work
from dreambirds.shapes import as_size
from dreambirds.training.data import augmentation, load_training_data, load_validation
from dreambirds.training.diagnosis import predict, warn_of_wrong_head
from dreambirds.training.trainer import DivergenceError, RunningMetrics, Trainer, parts

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
class TrainJob:
    """The inputs of a training job.

    `name` and `run` are the run's name and section of the config, and `dataset` is the folder of prepared images. The
    job trains up to `epoch`: from the checkpoint in the folder `before` (None: from the start) to the one in the folder
    `to`. `code` is a digest of the code, and `processes` the number of loader processes. `where` is the section's path
    in the config if it is not ``runs.<name>``.
    """

    name: str
    run: dict
    dataset: Path
    epoch: int | float
    before: Path | None
    to: Path
    code: str = ""
    processes: int = 0
    where: str | None = None

    @property
    def path(self) -> str:
        """The section's path in the config."""
        return self.where or f"runs.{self.name}"


def run_train_job(job: TrainJob, device: torch.device) -> None:
    """Train up to the job's epoch and write its checkpoint.

    On the same CPU and with the same number of threads, the weights are bitwise identical however the epochs are split
    into jobs, and whether or not a job was interrupted. Raises UserError if training diverges; the last complete epoch
    before that is kept in ``.progress`` next to the run's checkpoints.
    """
    training = Training(job, device)
    try:
        training.train()
    except DivergenceError as error:
        kept = training.last_good
        last_good = f"last good checkpoint: '{kept}'" if kept else "there is no earlier checkpoint"
        raise UserError(f"{error.problem} ({last_good}); {error.remedy}", job.path) from error
    training.write(job.to, job.epoch)
    training.progress.forget()


class Training:
    """A running training job: its images, model, and history since `job.before`."""

    def __init__(self, job: TrainJob, device: torch.device):
        """Load the images and the model.

        The model is that of the last complete epoch of an interrupted job, or of `job.before`, or a new one.
        """
        self.job, run = job, job.run
        self.labels = list(read_labels(job.dataset)["label"])
        images = PreparedImages(job.dataset, "train")
        self.shape = images.shape
        transform = augmentation(run["augmentation"], self.shape)
        self.loader = load_training_data(images, transform, run, job.processes, device)
        self.validation = load_validation(PreparedImages(job.dataset, "validation"), run, device)
        self.per_epoch = self.loader.batch_sampler.per_epoch

        self.progress = Progress(job.to.parent / ".progress", _identity(job))
        kept = self.progress.latest()
        self.rows = read_table(kept / HISTORY_FILE).assign(run=job.name).to_dict("records") if kept else []
        self.last_good = kept or job.before

        torch.manual_seed(run["seed"])
        loaded = self._load_model(self.last_good) if self.last_good else self._build_model()
        classifier, self.options, self.epoch = loaded
        classifier = classifier.to(device, memory_format=torch.channels_last)
        if classifier.has_loaded_head and len(self.validation.dataset):
            known = [self.labels[target] for target in self.validation.dataset.targets]
            outputs = predict(classifier.eval(), self.validation).argmax(dim=1)
            warn_of_wrong_head(f"{job.path}.weights", classifier, self.validation, known, self.labels, outputs)
        counts = torch.bincount(torch.tensor(images.targets), minlength=len(self.labels))
        self.trainer = Trainer(classifier, run, counts, self.per_epoch)
        if self.last_good:
            self.trainer.restore(*load_tensors(self.last_good / STATE_FILE))
        if run["compile"]:
            with error_context(job.path):
                self.trainer.compile(self.shape)

    def _load_model(self, checkpoint: Path) -> tuple[Classifier, dict, int | float | None]:
        """Return the classifier of a checkpoint, its options and its epoch."""
        classifier, info = load_checkpoint(checkpoint)
        check_metadata(checkpoint, info, model=self.job.run["model"])
        return classifier, info.model_options, info.epoch

    def _build_model(self) -> tuple[Classifier, dict, int | float | None]:
        """Return a new classifier, its options, and None, as epoch 0 is not evaluated."""
        run, classes = self.job.run, len(self.labels)
        options = options_for(run["model"], run["model_options"], self.shape)
        with error_context(self.job.path):
            of_hub = stored_class_names(run["model"]) if run["weights"] == "hub" else None
            rows, origin = head_rows(read_label_names(self.job.dataset), run, of_hub)
            if rows:
                log.info("%s: the class names of 'weights' are those of %s", self.job.name, origin)
            classifier = build(
                run["model"],
                classes,
                options,
                run["weights"],
                weights_key=run["weights_key"],
                rows=rows,
                head=run["head"],
                normalization=run["normalization"],
            )
            probe(classifier, self.shape, classes, run["model_options"] and options)
        return classifier, options, None

    def train(self) -> None:
        """Train to the job's epoch, and keep each complete epoch before it.

        Raises DivergenceError if the loss, a weight or the optimizer's state becomes NaN or infinite.
        """
        done, goal = self._updates(self.epoch or 0), self._updates(self.job.epoch)
        if self.epoch is None:
            self.log_epoch(0)
        if done == goal and self.job.epoch:
            log.warning(
                "%s: epoch %s has the same weights as %s, because an epoch has only %s; remove it from 'epochs', or "
                "lower 'batch_size'",
                self.job.path,
                self.job.epoch,
                "epoch 0" if self.epoch is None else "the previous checkpoint",
                counted(self.per_epoch, "update"),
            )
            self.log_epoch(self.job.epoch)
        for epoch, first, last in parts(done, goal, self.per_epoch):
            began, reached = time.perf_counter(), self._updates(epoch - 1) + last
            metrics = self.trainer.train(self.loader, epoch, first, last)
            if reached == goal:
                self.log_epoch(self.job.epoch, metrics)
            else:
                self.log_epoch(epoch, metrics)
                self.last_good = self.progress.keep(epoch, self.write)
            seconds, updates = time.perf_counter() - began, last - first
            record(training_work(self.job.run, self.shape), seconds, metrics.count)
            if done + updates == reached < goal:  # after the first epoch of this job
                left = time_text(seconds * (goal - reached) / updates)
                log.info("%s: about %s left to epoch %s", self.job.name, left, self.job.epoch)

    def _updates(self, epoch: float) -> int:
        """Return the number of updates from the start to an epoch."""
        return round(epoch * self.per_epoch)

    def log_epoch(self, epoch: float, metrics: RunningMetrics | None = None) -> None:
        """Evaluate the model, and add a row to the history and a line to the log.

        `metrics` are those of training.
        """
        validation = self.trainer.evaluate(self.validation, epoch)
        loss, accuracy = metrics.means if metrics else (None, None)
        speed, seconds = (metrics.count / metrics.seconds, metrics.seconds) if metrics else (None, 0.0)
        rate, name = metrics.rate if metrics else None, self.job.name
        values = [name, epoch, loss, accuracy, *validation.means, rate, speed, seconds]
        self.rows.append(dict(zip(HISTORY, values, strict=True)))
        trained = f"loss {loss:.3f}, " if metrics else ""
        log.info("%s epoch %s: %svalidation accuracy %.3f, %.1f s", name, epoch, trained, validation.means[1], seconds)

    def write(self, folder: Path, epoch: float, metadata: dict | None = None) -> None:
        """Write a checkpoint: the optimizer's state, the history, and last the model.

        `metadata` is added to that of the state.
        """
        folder.mkdir(parents=True, exist_ok=True)
        tensors, state = self.trainer.state()
        save_tensors(folder / STATE_FILE, tensors, {**state, **(metadata or {})})
        history = pd.DataFrame(self.rows, columns=HISTORY)
        history["epoch"] = [str(parse_epoch(number)) for number in history["epoch"]]
        write_table(history, folder / HISTORY_FILE, float_format="%.6g")
        model, size = self.job.run["model"], as_size(self.shape)
        info = CheckpointInfo(
            model=model,
            model_options=self.options,
            labels=self.labels,
            run=self.job.name,
            epoch=epoch,
            image_size=size,
            head=self.job.run["head"],
            normalization=self.job.run["normalization"],
        )
        save_checkpoint(folder, self.trainer.classifier, info)


class Progress:
    """The last complete epoch of a job: a checkpoint in the job's own folder."""

    def __init__(self, folder: Path, identity: str):
        """Take the folder, and the identity of the job whose epochs may be used."""
        self.folder, self.identity = folder, identity

    def latest(self) -> Path | None:
        """Return the checkpoint of the last complete epoch, or None.

        Checkpoints of another identity, and those that cannot be read, are ignored.
        """
        for checkpoint in sorted(self.folder.glob("epoch-*"), reverse=True):
            if self._is_usable(checkpoint):
                return checkpoint
        return None

    def _is_usable(self, checkpoint: Path) -> bool:
        try:
            load_tensors(checkpoint / MODEL_FILE)
            read_table(checkpoint / HISTORY_FILE)
            return load_tensors(checkpoint / STATE_FILE)[1].get("identity") == self.identity
        except (UserError, OSError, ValueError):
            return False

    def keep(self, epoch: float, write: Callable[[Path, float, dict], None]) -> Path:
        """Replace the last checkpoint by one that `write` writes, and return its folder.

        `write` is called with a folder, the epoch, and the metadata that identifies the job.
        """
        new, kept = self.folder / "new", self.folder / epoch_name(epoch)
        for folder in (new, kept):
            shutil.rmtree(folder, ignore_errors=True)
        write(new, epoch, {"identity": self.identity})
        new.rename(kept)
        for older in self.folder.glob("epoch-*"):
            if older != kept:
                shutil.rmtree(older, ignore_errors=True)
        return kept

    def forget(self) -> None:
        """Remove the folder when the job is done."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _identity(job: TrainJob) -> str:
    """Return a digest of everything that determines a job's weights.

    This includes its settings, the versions of libraries, and the contents of its inputs. A job may resume from an
    epoch that another job reached if their digests are equal.
    """
    inputs = [job.dataset / "images.csv"]
    if job.before:
        inputs += [job.before / MODEL_FILE, job.before / STATE_FILE]
    elif job.run["weights"] not in NOT_FILES:  # for a package, the run's settings contain the digest
        inputs += weights_files(expand(job.run["weights"]))
    inputs += [expand(job.run["labels"])] if job.run["labels"] else []
    inputs += model_files(job.run["model"])
    facts = {"run": job.run, "name": job.name, "epoch": job.epoch, "code": job.code}
    return digest_of([facts, *libraries("training").values(), *map(sha256_of, inputs)])

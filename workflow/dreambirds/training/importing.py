"""The job that imports a checkpoint that was trained elsewhere.

It is written in the format of the study's own checkpoints, so everything behind it is the same for both.
"""

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch.utils.data import DataLoader, Subset

from dreambirds.config.checkpoints import facts_of
from dreambirds.config.class_names import match_outputs, output_labels
from dreambirds.config.load import Section
from dreambirds.config.runs import parse_epoch
from dreambirds.data.dataset import PreparedImages
from dreambirds.data.tables import read_label_names, write_table
from dreambirds.errors import counted, error_context, renamed_key
from dreambirds.models import NOT_FILES
from dreambirds.models.checkpoint import CheckpointInfo, save_checkpoint
from dreambirds.models.classifier import Classifier, build, options_for, probe
from dreambirds.plan.memory import EVALUATED
from dreambirds.plan.paths import HISTORY_FILE
from dreambirds.shapes import as_size, shape_of, shape_text
from dreambirds.training.data import as_float
from dreambirds.training.diagnosis import predict, warn_of_wrong_head
from dreambirds.training.histories import read_history_file
from dreambirds.training.job import HISTORY
from dreambirds.training.loss import Loss

REPORTED = {"validation_loss": "reported_loss", "validation_accuracy": "reported_accuracy"}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImportJob:
    """The inputs of the job.

    `name` is the run's name, `settings` the result of `plan.checkpoints.foreign_settings`, and `epoch` the number of
    completed epochs. `classes` are the names of the network's outputs, and `origin` is where they come from. `dataset`
    is the folder of prepared images, `history` the training history next to the checkpoint (None if there is none), and
    `to` the folder of the imported checkpoint.
    """

    name: str
    settings: Section
    epoch: int | float
    classes: list[str]
    origin: str
    dataset: Path
    history: Path | None
    to: Path

    @property
    def path(self) -> str:
        """The path of the run's section in the config."""
        return f"runs.{self.name}"


def import_checkpoint(job: ImportJob, device: torch.device) -> None:
    """Load a checkpoint, evaluate it on the study's validation images, and write it with its history.

    Raises UserError, with the full path of the key, if the weights cannot be read, or do not fit the model or the
    number of classes.
    """
    settings, labels = job.settings, read_label_names(job.dataset)
    images = PreparedImages(job.dataset, "validation", as_float())
    log.info("%s epoch %s: '%s' (its epoch: %s)", job.name, job.epoch, settings["weights"], settings["source"])
    with error_context(job.path):
        outputs = output_labels(labels, job.classes, settings["names"])
        options = options_for(settings["model"], settings["model_options"], images.shape)
        with renamed_key("weights", settings["given"]):
            classifier = build(
                settings["model"],
                len(outputs),
                options,
                settings["weights"],
                new_head=False,
                weights_key=settings["weights_key"],
                head=settings["head"],
                normalization=settings["normalization"],
            )
        probe(classifier, images.shape, len(outputs), settings["model_options"] and options)
    known = match_outputs(labels, job.classes, settings["names"])
    log.info(
        "%s: the class names are those of %s; the network knows %d of the study's %s",
        job.name,
        job.origin,
        len(known),
        counted(len(labels), "class"),
    )
    if settings["weights"] not in NOT_FILES:
        _compare_sizes(job, facts_of(Path(settings["weights"])).image_size, images.shape)
    history = read_reported(job)
    classifier = classifier.eval().to(device, memory_format=torch.channels_last)
    history.loc[history.index[-1], ["validation_loss", "validation_accuracy"]] = _evaluate(
        job, classifier, images, [label.label for label in labels], outputs, history["reported_accuracy"].iloc[-1]
    )
    job.to.mkdir(parents=True, exist_ok=True)
    history["epoch"] = [str(parse_epoch(epoch)) for epoch in history["epoch"]]
    write_table(history, job.to / HISTORY_FILE, float_format="%.6g")
    info = CheckpointInfo(
        model=settings["model"],
        model_options=options,
        labels=outputs,
        run=job.name,
        epoch=job.epoch,
        image_size=as_size(images.shape),
        head=settings["head"],
        normalization=settings["normalization"],
    )
    save_checkpoint(job.to, classifier, info)


def _compare_sizes(job: ImportJob, trained: int | list[int] | None, shape: tuple[int, int]) -> None:
    if trained is not None and shape_of(trained) != shape:
        log.warning(
            "%s: the file says that the network was trained at %s pixels, and 'dataset.image_size' is %s; it may "
            "recognize less at another size",
            job.path,
            shape_text(shape_of(trained)),
            shape_text(shape),
        )


def read_reported(job: ImportJob) -> pd.DataFrame:
    """Return the rows of the reported history after the checkpoint before this one, and one for this epoch.

    The columns are those of ``history.csv``, and what the history reports of validation as `REPORTED`. The columns of
    validation are empty: they are measured on the study's data.
    """
    columns = [*HISTORY, *REPORTED.values()]
    reported = read_history_file(job.history) if job.history else pd.DataFrame({"epoch": []})
    reported = reported.rename(columns=REPORTED).reindex(columns=columns)
    after = -1 if job.settings["after"] is None else job.settings["after"]
    rows = reported[(reported["epoch"] > after) & (reported["epoch"] <= job.epoch)]
    if job.epoch not in set(rows["epoch"]):
        rows = pd.concat([rows, pd.DataFrame([{"epoch": job.epoch}], columns=columns).astype({"epoch": float})])
    return rows.assign(run=job.name).astype(dict.fromkeys(columns[2:], float)).reset_index(drop=True)


@torch.inference_mode()
def _evaluate(
    job: ImportJob,
    classifier: Classifier,
    images: PreparedImages,
    labels: list[str],
    outputs: list[str],
    reported: float,
) -> tuple[float, float]:
    """Return the loss and the accuracy on the validation images of classes that the network knows, NaN without any.

    A line in the log says so if the network is right on so few that its class order or normalization must be wrong.
    """
    chosen = [number for number, target in enumerate(images.targets) if labels[target] in outputs]
    if not chosen:
        log.info("%s epoch %s: there are no validation images of its classes", job.name, job.epoch)
        return math.nan, math.nan
    known = [labels[images.targets[number]] for number in chosen]
    batches = DataLoader(Subset(images, chosen), EVALUATED)
    logits = predict(classifier, batches)
    targets = torch.tensor([outputs.index(label) for label in known])
    found = logits.argmax(dim=1)
    right = int((found == targets).sum())
    expected = None if math.isnan(reported) else reported
    log.info(
        "%s epoch %s: validation accuracy %.3f on %s%s",
        job.name,
        job.epoch,
        right / len(known),
        counted(len(known), "image"),
        "" if expected is None else f"; its history reports {expected:.3f} on other data",
    )
    warn_of_wrong_head(f"{job.path} epoch {job.epoch}", classifier, batches, known, outputs, found, expected)
    return float(Loss(0.0, head=classifier.head)(logits, targets)[1]), right / len(known)

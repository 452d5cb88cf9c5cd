"""One link of the chain: from a kept checkpoint to the next one."""

import logging
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch.utils.data import DataLoader

from dreambirds.data.loading import Pictures
from dreambirds.data.tables import read_labels
from dreambirds.models.build import Classifier, build, probe
from dreambirds.models.checkpoint import Card, load_checkpoint, load_tensors, save_checkpoint, save_tensors
from dreambirds.training import optimisation
from dreambirds.training.augment import as_float, augmentation
from dreambirds.training.epochs import Tally, evaluate, prepare_to_train, train_epoch

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


def train_segment(name: str, run: dict, dataset: Path, epoch: int, before: Files | None, to: Files, device) -> None:
    """Train run `name` up to `epoch`, from the checkpoint `before` or from the beginning, and write the files `to`.

    `run` is the config's section and `dataset` the prepared folder. On one CPU, with the same number of threads, the
    weights are the same bits however the way to `epoch` was divided. Raises StudyError where training can't go on.
    """
    labels = list(read_labels(dataset)["label"])
    train, validation = _loaders(dataset, run)
    image_size = train.dataset.pictures.shape[-1]
    torch.manual_seed(run["seed"])
    if before is None:
        classifier, done = build(run["model"], len(labels), run["model_options"], run["weights"]), -1
        probe(classifier, image_size, len(labels))
    else:
        classifier, card = load_checkpoint(before.weights)
        done = card.epoch
    classifier = classifier.to(device, memory_format=torch.channels_last)
    prepare_to_train(classifier, run)
    optimizer = optimisation.make_optimizer(run, classifier.network)
    if before is not None:
        optimisation.unpack(optimizer, *load_tensors(before.state))
    schedule = optimisation.make_schedule(run, optimizer, len(train))
    rows = [] if done >= 0 else [_row(name, 0, None, evaluate(classifier, validation))]
    for number in range(max(done, 0) + 1, epoch + 1):
        tally = train_epoch(classifier, run, train, optimizer, schedule, number)
        rows.append(_row(name, number, tally, evaluate(classifier, validation)))
    _write(to, classifier, Card(run["model"], run["model_options"], labels, name, epoch, image_size), optimizer, rows)


def _loaders(dataset: Path, run: dict) -> tuple[DataLoader, DataLoader]:
    train = Pictures(dataset, "train")
    train.transform = augmentation(run["augmentation"], train.pictures.shape[-1])
    size = run["batch_size"]
    lonely = len(train) % size == 1  # one picture has no batch statistics
    return (
        DataLoader(train, size, shuffle=True, drop_last=lonely and len(train) > 1),
        DataLoader(Pictures(dataset, "validation", as_float()), size),
    )


def _row(name: str, epoch: int, train: Tally | None, validation: Tally) -> dict:
    loss, accuracy = train.means if train else (None, None)
    speed, seconds = (train.count / train.seconds, train.seconds) if train else (None, 0.0)
    rate = train.rate if train else None
    row = dict(zip(HISTORY, [name, epoch, loss, accuracy, *validation.means, rate, speed, seconds], strict=True))
    described = f"loss {loss:.3f}, " if train else ""
    log.info("%s epoch %d: %svalidation accuracy %.3f, %.1f s", name, epoch, described, validation.means[1], seconds)
    return row


def _write(to: Files, classifier: Classifier, card: Card, optimizer, rows: list[dict]) -> None:
    tensors, facts = optimisation.pack(optimizer)
    save_tensors(to.state, tensors, facts)
    pd.DataFrame(rows, columns=HISTORY).to_csv(to.history, index=False, float_format="%.6g")
    save_checkpoint(to.weights, classifier, card)

"""Evaluate a judge on real photographs: reference features and accuracy."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from dreambirds.data.dataset import PreparedImages
from dreambirds.data.tables import PARTS, read_labels
from dreambirds.errors import REBUILD
from dreambirds.evaluation.columns import JUDGES
from dreambirds.evaluation.judge import Judge, batches
from dreambirds.evaluation.metrics import classification_metrics, cosine_distance
from dreambirds.evaluation.nearest import (
    MOST,
    cosine_distances,
    first_photographs,
    held_out_table,
    join_tables,
    read_held_out,
    typical_distances,
)
from dreambirds.io import sha256_of
from dreambirds.models.checkpoint import load_tensors, save_tensors
from dreambirds.training.diagnosis import warn_of_wrong_head

NOISE_IMAGES = 256
SHUFFLES = 100
LISTED = 20  # unknown classes in a warning
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RealReference:
    """Reference features of each class, and the judge's sanity checks.

    `centers` are the mean features of the training photographs by label, `held_out` the mean cosine distance of
    held-out photographs from them, `check` the judge's metrics on photographs and on noise, and `dataset_sha256` the
    digest of the table of photographs. `directions` are the features (N, D) of the training photographs by label,
    divided by their norm and rounded to float16, which changes a distance by less than 0.0001. `paths` are those of the
    photographs, and `nearest` lists the nearest one of each held-out photograph (`nearest.HELD_OUT`).
    """

    centers: dict[str, torch.Tensor]
    held_out: dict[str, float]
    check: dict[str, float]
    dataset_sha256: str
    directions: dict[str, torch.Tensor]
    paths: dict[str, list[str]]
    nearest: pd.DataFrame

    @cached_property
    def typical(self) -> dict[str, float]:
        """The median distance of held-out photographs from the nearest training photograph, by label."""
        return typical_distances(self.nearest)


def evaluate_on_real(judge: Judge, folder: Path) -> RealReference:
    """Evaluate a judge on the prepared data set in `folder`.

    Only classes that the judge knows are used. The others are named in a warning. Without photographs, the judge is
    evaluated only on noise.
    """
    labels = list(read_labels(folder)["label"])
    unknown = [label for label in labels if label not in judge.class_indices]
    if unknown:
        listed = ", ".join(unknown[:LISTED]) + (f" and {len(unknown) - LISTED} more" if unknown[LISTED:] else "")
        log.warning("the judge '%s' skips dreams of classes that it does not know: %s", judge.name, listed)
    train, validation = (_predict(judge, PreparedImages(folder, part), labels) for part in PARTS)
    if judge.is_foreign and validation:
        _warn_of_wrong_head(judge, PreparedImages(folder, PARTS[1]), labels, validation)
    centers = {label: features.mean(dim=0) for label, (_, features) in train.items()}
    held_out = {
        label: float(cosine_distance(features, centers[label]).mean())
        for label, (_, features) in validation.items()
        if label in centers
    }
    check = _check(judge, validation or train, bool(validation)) if validation or train else {}
    check |= _check_noise(judge)
    directions = {label: functional.normalize(features, dim=1).half() for label, (_, features) in train.items()}
    training, others = (first_photographs(folder, part) for part in PARTS)
    nearest = [
        held_out_table(label, others[label], training[label], _distances(features, directions[label]))
        for label, (_, features) in validation.items()
        if label in directions
    ]
    known = {label: training[label] for label in directions}
    digest = sha256_of(folder / "images.csv")
    return RealReference(centers, held_out, check, digest, directions, known, join_tables(nearest))


def _distances(features: torch.Tensor, photographs: torch.Tensor) -> np.ndarray:
    """Return the cosine distances (M, N) of features (M, D) from those of photographs (N, D)."""
    return np.stack([cosine_distances(row, photographs.numpy()) for row in features.numpy()])


def write_reference(real: RealReference, path: Path) -> None:
    """Write a judge's results on photographs, for its jobs that evaluate dreams, except the table `nearest`."""
    facts = {key: getattr(real, key) for key in ("held_out", "check", "dataset_sha256", "paths")}
    kinds = {"center": real.centers, "directions": real.directions}
    tensors = {f"{kind}/{label}": tensor for kind, found in kinds.items() for label, tensor in found.items()}
    save_tensors(path, tensors, facts)


def read_reference(path: Path, nearest: Path) -> RealReference:
    """Return what `write_reference` wrote, with the table `nearest`. Raises UserError if a file is corrupt."""
    tensors, facts = load_tensors(path, REBUILD)
    centers, directions = (
        {name.partition("/")[2]: tensor for name, tensor in tensors.items() if name.startswith(f"{kind}/")}
        for kind in ("center", "directions")
    )
    return RealReference(centers, **facts, directions=directions, nearest=read_held_out(nearest))


def _predict(judge: Judge, images: PreparedImages, labels: list[str]) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return the logits and features of the first photographs of each class, by label."""
    chosen = _first(judge, images, labels)
    if not chosen:
        return {}
    flat = [index for found in chosen.values() for index in found]
    logits, features = judge.predict(batches(flat, lambda index: images[index][0]))
    sizes = [len(found) for found in chosen.values()]
    return dict(zip(chosen, zip(logits.split(sizes), features.split(sizes), strict=True), strict=True))


def _first(judge: Judge, images: PreparedImages, labels: list[str]) -> dict[str, list[int]]:
    """Return the indices of the first photographs of each class that the judge knows, by label."""
    indices: dict[str, list[int]] = {}
    for index, target in enumerate(images.targets):
        if labels[target] in judge.class_indices:
            indices.setdefault(labels[target], []).append(index)
    return {label: found[:MOST] for label, found in indices.items()}


@dataclass(frozen=True)
class _Inputs:
    """Photographs as a judge's inputs, in batches; they are read each time."""

    judge: Judge
    images: PreparedImages
    indices: list[int]

    def __iter__(self) -> Iterator[tuple[torch.Tensor, None]]:
        for batch in batches(self.indices, lambda index: self.images[index][0]):
            yield self.judge.as_input(batch), None


def _warn_of_wrong_head(
    judge: Judge, images: PreparedImages, labels: list[str], real: dict[str, tuple[torch.Tensor, torch.Tensor]]
) -> None:
    """Write a warning into the log if the judge seems to have another class order or normalization."""
    names = {index: label for label, index in judge.class_indices.items()}
    classes = [names.get(index, name) for index, name in enumerate(judge.classes)]
    known = [label for label, (logits, _) in real.items() for _ in logits]
    outputs = torch.cat([logits for logits, _ in real.values()]).argmax(dim=1)
    flat = [index for found in _first(judge, images, labels).values() for index in found]
    warn_of_wrong_head(f"judges.{judge.name}", judge.classifier, _Inputs(judge, images, flat), known, classes, outputs)


def _check(judge: Judge, real: dict[str, tuple[torch.Tensor, torch.Tensor]], held_out: bool) -> dict[str, float]:
    logits = torch.cat([logits for logits, _ in real.values()])
    targets = torch.cat([torch.full((len(each),), judge.class_indices[label]) for label, (each, _) in real.items()])
    metrics = classification_metrics(logits, targets, judge.classifier.head)
    generator = torch.Generator().manual_seed(0)
    orders = [torch.randperm(len(targets), generator=generator) for _ in range(SHUFFLES)]
    shuffled = [float((metrics["first"] == targets[order]).float().mean()) for order in orders]
    return {
        "held_out": len(targets) if held_out else 0,
        "held_out_top1": float((metrics["rank"] == 1).float().mean()),
        "held_out_probability": float(metrics["probability"].mean()),
        "shuffled_top1": sum(shuffled) / SHUFFLES,
    }


def _check_noise(judge: Judge) -> dict[str, float]:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (NOISE_IMAGES, 3, *judge.shape), generator=generator, dtype=torch.uint8)
    logits, _ = judge.predict(batches(noise, lambda image: image))
    classes = torch.tensor(list(judge.class_indices.values()))
    targets = classes[torch.arange(NOISE_IMAGES) % len(classes)]
    metrics = classification_metrics(logits, targets, judge.classifier.head)
    return {
        "noise_top1": float((metrics["rank"] == 1).float().mean()),
        "noise_probability": float(metrics["probability"].mean()),
    }


def check_row(judge: Judge, real: RealReference, kind: str, labels: list[str], weights_sha256: str) -> pd.DataFrame:
    """Return a judge's row of ``judges.csv``.

    It contains the network, the study's classes that it knows, and its accuracy, which is missing without photographs.
    """
    unmatched = [label for label in labels if label not in judge.class_indices]
    description = {
        "judge": judge.name,
        "kind": kind,
        "model": judge.architecture,
        "classes": len(judge.classes),
        "matched": len(labels) - len(unmatched),
        "unmatched": " ".join(unmatched),
    }
    row = {**description, **real.check, "weights_sha256": weights_sha256}
    return pd.DataFrame([row]).reindex(columns=JUDGES)

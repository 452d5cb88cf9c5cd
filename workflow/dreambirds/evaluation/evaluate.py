"""Evaluate dreams with one judge: its predictions, and feature distances.

Distances are to features of real photographs. Metrics are cached by image for all studies, so a judge evaluates each
image once.
"""

import logging
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from dreambirds.data.image_io import to_tensor
from dreambirds.data.labels import Label
from dreambirds.dream_job.archive import open_images
from dreambirds.errors import counted
from dreambirds.evaluation.columns import OF_JUDGE_JOB, OF_ONE_IMAGE
from dreambirds.evaluation.judge import Judge, batches
from dreambirds.evaluation.metric_cache import MetricCache
from dreambirds.evaluation.metrics import classification_metrics, cosine_distance
from dreambirds.evaluation.nearest import cosine_distances, describe_nearest
from dreambirds.evaluation.reference import RealReference
from dreambirds.io import digest_of, sha256_of
from dreambirds.plan.dream_table import DREAM
from dreambirds.runtime.code_version import libraries
from dreambirds.runtime.timings import judge_work, record

SAME = 1e-9  # cosine distance below which held-out and training photographs have the same features, up to rounding
FEATURES = "features"  # the column of the cache with an image's features, as text
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JudgeJob:
    """The inputs of the jobs of a judge.

    The judge's name and section of the config, the file of its weights and the files that describe them, the study's
    classes, and a digest of the code.
    """

    name: str
    section: Mapping[str, Any]
    weights: Path
    described: Sequence[Path]
    labels: list[Label]
    code: str

    def cache_facts(self, real: RealReference) -> dict:
        """Return what determines the judge's metrics, except the image; `real` are its results on photographs."""
        return {
            "weights_sha256": sha256_of(self.weights),
            "judge": dict(self.section),
            "described": [sha256_of(path) for path in self.described],
            "labels": [[label.label, label.name] for label in self.labels],
            "dataset_sha256": real.dataset_sha256,
            "versions": libraries("judging"),
            "code": self.code,
        }


def judge_dreams(
    judge: Judge, real: RealReference, dreams: pd.DataFrame, facts: dict, batch: int, compared: bool
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return one row per view of each dream of a job, and the features (N, D) of these rows, empty unless `compared`.

    The columns are those of `DREAM`, ``judge``, ``view`` and `OF_JUDGE_JOB`. `dreams` is the result of
    `columns.list_views`, `facts` is the result of `JudgeJob.cache_facts`, and the judge evaluates `batch` images at
    once. Images that this judge has evaluated before, in this or another study, are taken from the cache. Dreams of
    classes that the judge does not know are skipped.
    """
    known = dreams[dreams["label"].isin(list(judge.class_indices))].reset_index(drop=True)
    keys = pd.Series([digest_of(fact)[:32] for fact in zip(known["sha256"], known["label"], strict=True)], dtype=str)
    job = dreams.iloc[0]
    shard = [str(job[column]) for column in ("run", "epoch", "recipe")]
    cache = MetricCache({**facts, "features": compared}, shard)
    missing, began = known.assign(key=keys)[cache.missing(keys)].drop_duplicates("key"), time.perf_counter()
    if len(missing):
        cache.add(evaluate(judge, real, missing, batch, compared))
        record(judge_work(judge.name), time.perf_counter() - began, len(missing))
    number = counted(len(known), "image")
    log.info("%s: %s, %d of them from the cache", judge.name, number, len(known) - len(missing))
    columns = [*OF_ONE_IMAGE, *([FEATURES] if compared else [])]
    metrics = cache.rows.loc[keys].reset_index(drop=True) if len(known) else pd.DataFrame(columns=columns)
    of_references = metrics["prediction"].eq(known["reference_label"]).astype(float)
    metrics["reference_top1"] = of_references.where(known["reference_label"].isin(list(judge.class_indices)))
    rows = known.assign(judge=judge.name)[[*DREAM, "judge", "view"]].join(metrics[OF_JUDGE_JOB])
    vectors = [np.frombuffer(b64decode(text), np.float32) for text in metrics[FEATURES]] if compared else []
    return rows, np.stack(vectors) if vectors else np.zeros((0, 0), np.float32)


def evaluate(judge: Judge, real: RealReference, images: pd.DataFrame, batch: int, compared: bool) -> pd.DataFrame:
    """Return the columns `OF_ONE_IMAGE` for images, indexed by their ``key``; if `compared`, also the features.

    Of the variants of a target, each is evaluated, and the metrics are those of their mean logits and mean features.
    """
    counts: list[int] = []

    def variants() -> Iterator[Image.Image]:
        for picture in images["picture"]:
            found = open_images(picture)
            counts.append(len(found))
            yield from found

    outputs_of_variants = judge.predict(batches(variants(), to_tensor, batch))
    logits, features = (_means(outputs, counts) for outputs in outputs_of_variants)
    targets = torch.tensor([judge.class_indices[label] for label in images["label"]])
    outputs = classification_metrics(logits, targets, judge.classifier.head)
    names = {index: label for label, index in judge.class_indices.items()}
    distances = torch.stack([_distance(real, label, row) for label, row in zip(images["label"], features, strict=True)])
    held_out = torch.tensor([real.held_out.get(label, torch.nan) for label in images["label"]])
    nearest = [_nearest(real, label, row) for label, row in zip(images["label"], features, strict=True)]
    metrics = {
        "probability": outputs["probability"],
        "rank": outputs["rank"],
        "top1": (outputs["rank"] == 1).long(),
        "prediction": [names.get(int(index), judge.classes[int(index)]) for index in outputs["first"]],
        "feature_distance": distances,
        "feature_ratio": torch.where(held_out > SAME, distances / held_out, torch.nan),
        **dict(zip(OF_ONE_IMAGE[6:], zip(*nearest, strict=True), strict=True)),
    }
    if compared:
        metrics[FEATURES] = [b64encode(row.tobytes()).decode() for row in features.numpy()]
    return pd.DataFrame(metrics, index=images["key"])


def _means(outputs: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    """Return the mean of each image's variants in outputs (N, D), of which image i has ``counts[i]``."""
    return torch.stack([rows.mean(dim=0) for rows in outputs.split(list(counts))])


def _distance(real: RealReference, label: str, features: torch.Tensor) -> torch.Tensor:
    center = real.centers.get(label)
    return torch.tensor(torch.nan, dtype=torch.double) if center is None else cosine_distance(features, center)


def _nearest(real: RealReference, label: str, features: torch.Tensor) -> tuple[str | None, float, float]:
    if label not in real.directions:
        return None, torch.nan, torch.nan
    distances = cosine_distances(features.numpy(), real.directions[label].numpy())
    return describe_nearest(distances, real.paths[label], real.typical.get(label))

"""Evaluate dreams with one judge: its predictions, and feature distances.

Distances are to features of real photographs. Metrics are cached by image for all studies, so a judge evaluates each
image once.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from dreambirds.data.dataset import decode
from dreambirds.data.labels import Label
from dreambirds.data.tables import write_table
from dreambirds.errors import counted
from dreambirds.evaluation.columns import JUDGED, JUDGEMENTS
from dreambirds.evaluation.judge import Judge, batches, load_judge
from dreambirds.evaluation.metrics import MetricCache, classification_metrics, cosine_distance, mean_cosine_similarity
from dreambirds.evaluation.reference import RealReference, check_row, evaluate_on_real
from dreambirds.io import digest_of, sha256_of
from dreambirds.plan.dream_table import DREAM
from dreambirds.runtime.code_version import libraries
from dreambirds.runtime.timings import judge_work, record

SAME = 1e-9  # cosine distance below which held-out and training photographs have the same features, up to rounding
FAMILY = ["run", "epoch", "family", "label", "step", "view"]  # equal for dreams that differ only in their seed
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JudgeJob:
    """The inputs of a judge job.

    The judge's name, kind and section of the config, the files of its weights and class names, the study's classes, the
    folder of the prepared data set, and a digest of the code.
    """

    name: str
    kind: str
    section: Mapping[str, Any]
    weights: Path
    names: Sequence[Path]
    labels: list[Label]
    dataset: Path
    code: str

    def cache_facts(self) -> dict:
        """Return what determines the judge's metrics, except the image."""
        return {
            "weights_sha256": sha256_of(self.weights),
            "judge": dict(self.section),
            "names": [sha256_of(path) for path in self.names],
            "labels": [[label.label, label.name] for label in self.labels],
            "dataset_sha256": sha256_of(self.dataset / "images.csv"),
            "versions": libraries("judging"),
            "code": self.code,
        }


@dataclass(frozen=True)
class JudgeContext:
    """A judge, its results on photographs, and its cache facts."""

    judge: Judge
    real: RealReference
    facts: dict


def load_context(job: JudgeJob, device: torch.device) -> JudgeContext:
    """Load a judge and evaluate it on real photographs.

    Raises UserError if its weights cannot be read or do not fit, or if it knows none of the study's classes.
    """
    judge = load_judge(job.name, job.section, job.weights, job.labels, device)
    return JudgeContext(judge, evaluate_on_real(judge, job.dataset), job.cache_facts())


def write_sanity(job: JudgeJob, context: JudgeContext, path: Path) -> None:
    """Write a judge's row of ``judges.csv``.

    It contains the classes that the judge knows, and its accuracy on photographs and noise.
    """
    labels = [label.label for label in job.labels]
    sha256 = context.facts["weights_sha256"]
    write_table(check_row(context.judge, context.real, job.kind, labels, sha256), path, "%.6g")


def judge_dreams(context: JudgeContext, dreams: pd.DataFrame) -> pd.DataFrame:
    """Return one row per view of each dream, with the columns of `JUDGEMENTS`.

    `dreams` has the columns of `columns.list_views`. Images that this judge has evaluated before, in this or another
    study, are taken from the cache. Dreams of classes that the judge does not know are skipped, with a warning.
    """
    judge = context.judge
    known = dreams[dreams["label"].isin(list(judge.class_indices))]
    if len(known) < len(dreams):
        unknown = dreams.loc[~dreams.index.isin(known.index), "label"].unique()
        log.warning("the judge '%s' skips dreams of classes that it does not know: %s", judge.name, ", ".join(unknown))
    if known.empty:
        return pd.DataFrame(columns=JUDGEMENTS)
    known = known.assign(key=_cache_keys(known))
    cache = MetricCache(context.facts)
    missing = known[cache.missing(known["key"])]
    families, began = missing.groupby(["run", "epoch", "family"], sort=False), time.perf_counter()
    for _, group in tqdm(families, desc="judge", disable=None, leave=False):
        cache.add(evaluate(judge, context.real, group))
    if len(missing):
        cache.save()
        record(judge_work(judge.name), time.perf_counter() - began, len(missing))
    number = counted(len(known), "image")
    log.info("%s: %s, %d of them from the cache", judge.name, number, len(known) - len(missing))
    metrics = cache.rows.loc[known["key"], JUDGED].reset_index(drop=True)
    rows = known.assign(judge=judge.name)[[*DREAM, "judge", "view"]].reset_index(drop=True)
    return rows.join(metrics)[JUDGEMENTS]


def evaluate(judge: Judge, real: RealReference, group: pd.DataFrame) -> pd.DataFrame:
    """Return the columns `JUDGED` for images, indexed by their cache keys.

    All images of a family must be in the same group.
    """
    logits, features = judge.predict(batches(group["path"], lambda path: decode(Path(path))))
    targets = torch.tensor([judge.class_indices[label] for label in group["label"]])
    outputs = classification_metrics(logits, targets)
    names = {index: label for label, index in judge.class_indices.items()}
    distances = torch.stack([_distance(real, label, row) for label, row in zip(group["label"], features, strict=True)])
    held_out = torch.tensor([real.held_out.get(label, torch.nan) for label in group["label"]])
    agreement = pd.Series(torch.nan, index=group.index)
    positions = pd.Series(range(len(group)), index=group.index)
    for _, rows in positions.groupby([group[column] for column in FAMILY]):
        agreement[rows.index] = mean_cosine_similarity(features[rows.tolist()]).numpy()
    metrics = {
        "probability": outputs["probability"],
        "rank": outputs["rank"],
        "top1": (outputs["rank"] == 1).long(),
        "prediction": [names.get(int(index), judge.classes[int(index)]) for index in outputs["first"]],
        "feature_distance": distances,
        "feature_ratio": torch.where(held_out > SAME, distances / held_out, torch.nan),
        "seed_agreement": agreement.to_numpy(),
    }
    return pd.DataFrame(metrics, index=group["key"])


def _cache_keys(dreams: pd.DataFrame) -> pd.Series:
    """Return a digest of what determines each image's metrics.

    That is the image, its label, and the images of other seeds.
    """
    together = dreams.groupby(FAMILY, sort=False)["sha256"].transform(lambda found: " ".join(sorted(found)))
    facts = zip(dreams["sha256"], dreams["label"], together, strict=True)
    return pd.Series([digest_of(fact)[:32] for fact in facts], index=dreams.index)


def _distance(real: RealReference, label: str, features: torch.Tensor) -> torch.Tensor:
    center = real.centers.get(label)
    return torch.tensor(torch.nan, dtype=torch.double) if center is None else cosine_distance(features, center)

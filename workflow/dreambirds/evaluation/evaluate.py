"""Evaluate all dreams with one judge; its metrics are cached."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from dreambirds.config.judges import kind
from dreambirds.data.dataset import decode
from dreambirds.data.tables import write_table
from dreambirds.evaluation.columns import DREAM, JUDGED, JUDGEMENTS
from dreambirds.evaluation.judge import Judge, batches, load_judge
from dreambirds.evaluation.metrics import MetricCache, classification_metrics, cosine_distance, mean_cosine_similarity
from dreambirds.evaluation.reference import RealReference, check_row, evaluate_on_real
from dreambirds.evaluation.tables import read_dreams, views_of
from dreambirds.io import digest_of, sha256_of
from dreambirds.plan.inputs import judged_runs, section
from dreambirds.plan.plan import Plan
from dreambirds.runtime.code_version import libraries

log = logging.getLogger(__name__)
SAME = 1e-9  # cosine distance below which held-out photographs are where the training ones are, to rounding


@dataclass(frozen=True)
class JudgeContext:
    """Where a judge sits: the judge, what it makes of real photographs, and the facts that decide its word."""

    judge: Judge
    real: RealReference
    facts: dict


def judge_dreams(bench: JudgeContext, dreams: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each view of each dream, with the columns of `JUDGEMENTS`.

    `dreams` has, beside the columns of a dream, its ``family`` (one word for all that differ from it in their seed
    only) and, for both views, the columns ``path`` and ``sha256`` (rows of ``view``). Pictures that this judge has seen
    before, here or in another study, are not looked at again. Dreams of classes that the judge does not know are left
    out.
    """
    known = dreams[dreams["label"].isin(list(bench.judge.places))]
    if len(known) < len(dreams):
        strange = dreams.loc[~dreams.index.isin(known.index), "label"].unique()
        log.warning("the judge '%s' does not know %s", bench.judge.name, ", ".join(strange))
    if known.empty:
        return pd.DataFrame(columns=JUDGEMENTS)
    known = known.assign(key=_keys(known))
    memory = MetricCache(bench.facts)
    unseen = known[memory.missing(known["key"])]
    for _, group in tqdm(_chunks(known, unseen), desc="judge", disable=None, leave=False):
        memory.learn(_look(bench, group))
    if len(unseen):
        memory.keep()
    log.info("%s: %d pictures, %d of them judged before", bench.judge.name, len(known), len(known) - len(unseen))
    words = memory.known.loc[known["key"], JUDGED].reset_index(drop=True)
    rows = known.assign(judge=bench.judge.name)[[*DREAM, "judge", "view"]].reset_index(drop=True)
    return rows.join(words)[JUDGEMENTS]


def _family(dreams: pd.DataFrame) -> list[str]:
    """Return the columns that dreams share which differ in their seed only."""
    return ["run", "epoch", "family", "label", "step", "view"]


def _keys(dreams: pd.DataFrame) -> pd.Series:
    """Return what a judge's word on each picture goes by: the picture, the target, and the pictures of other seeds."""
    together = dreams.groupby(_family(dreams), sort=False)["sha256"].transform(lambda found: " ".join(sorted(found)))
    return pd.Series(
        [digest_of(facts)[:32] for facts in zip(dreams["sha256"], dreams["label"], together, strict=True)],
        index=dreams.index,
    )


def _chunks(known: pd.DataFrame, unseen: pd.DataFrame) -> Iterator[tuple]:
    """Return the pictures to look at, a checkpoint's families at a time, since they are compared among each other."""
    return known[known.index.isin(unseen.index)].groupby(["run", "epoch", "family"], sort=False)


def _look(bench: JudgeContext, group: pd.DataFrame) -> pd.DataFrame:
    judge = bench.judge
    logits, features = judge.look(batches(group["path"], lambda path: decode(Path(path))))
    seen = classification_metrics(logits, torch.tensor([judge.places[label] for label in group["label"]]))
    called = {place: label for label, place in judge.places.items()}
    far = torch.stack([_distance(bench.real, label, row) for label, row in zip(group["label"], features, strict=True)])
    usual = torch.tensor([bench.real.held_out.get(label, torch.nan) for label in group["label"]])
    alike = pd.Series(torch.nan, index=group.index)
    places = pd.Series(range(len(group)), index=group.index)
    for _, rows in places.groupby([group[column] for column in _family(group)]):
        alike[rows.index] = mean_cosine_similarity(features[rows.tolist()]).numpy()
    words = {
        "probability": seen["probability"],
        "rank": seen["rank"],
        "top1": (seen["rank"] == 1).long(),
        "prediction": [called.get(int(place), judge.classes[int(place)]) for place in seen["first"]],
        "feature_distance": far,
        "feature_ratio": torch.where(usual > SAME, far / usual, torch.nan),
        "seed_agreement": alike.to_numpy(),
    }
    return pd.DataFrame(words, index=group["key"])


def _distance(real: RealReference, label: str, features: torch.Tensor) -> torch.Tensor:
    center = real.centers.get(label)
    return torch.tensor(torch.nan, dtype=torch.double) if center is None else cosine_distance(features, center)


@dataclass(frozen=True)
class JudgeJob:
    """Which judge, the files of its weights and of its classes' names, the prepared data set's folder, and a digest of
    the code."""

    judge: str
    weights: Path
    names: list[Path]
    dataset: Path
    code: str


def write_judgement(plan: Plan, case: JudgeJob, device: torch.device, judged: Path, check: Path) -> None:
    """Write a judge's word on each view of each dream that it is shown, and a row on how good a judge it is.

    Raises UserError if its weights can't be read or do not fit, if it knows none of the study's classes, or if a table
    of dreams is not whole.
    """
    asked = plan.judges[case.judge]
    judge = load_judge(case.judge, asked, case.weights, plan.labels, device)
    sha256 = sha256_of(case.weights)
    real = evaluate_on_real(judge, case.dataset)
    dreams = read_dreams(plan, judged_runs(plan, case.judge))
    words = judge_dreams(JudgeContext(judge, real, _facts(plan, case, sha256)), views_of(plan, dreams))
    write_table(words, judged, "%.6g")
    write_table(check_row(judge, real, kind(asked), [label.label for label in plan.labels], sha256), check, "%.6g")


def _facts(plan: Plan, case: JudgeJob, weights_sha256: str) -> dict:
    """Return all that decides a judge's word on a picture, but for the picture."""
    return {
        "weights_sha256": weights_sha256,
        "judge": section(plan, case.judge),
        "names": [sha256_of(path) for path in case.names],
        "labels": [[label.label, label.name] for label in plan.labels],
        "dataset_sha256": sha256_of(case.dataset / "images.csv"),
        "versions": libraries("judging"),
        "code": case.code,
    }

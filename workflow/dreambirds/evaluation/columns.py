"""Columns of the tables of results, and the images of dreams. Imports no torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from dreambirds.config import VIEWS
from dreambirds.config.dreamers import parameter_names
from dreambirds.data.tables import read_table
from dreambirds.dream_job.archive import Picture
from dreambirds.plan.dream_table import DREAM
from dreambirds.plan.paths import picture_name

SUFFIX = {"raw": "", "rescaled": "_rescaled"}
OF_ONE_IMAGE = ["probability", "rank", "top1", "prediction", "feature_distance", "feature_ratio"]
OF_ONE_IMAGE += ["nearest", "nearest_distance", "nearest_ratio"]
OF_JUDGE_JOB = [*OF_ONE_IMAGE[:4], "reference_top1", *OF_ONE_IMAGE[4:]]
JUDGED = [*OF_JUDGE_JOB, "seed_agreement"]
PIXELS = ["spectrum_distance", "total_variation", "nearest_pixels", "pixel_distance", "pixel_ratio"]
OWN = ["dreamer_loss", "dreamer_logit", "dreamer_probability", "dreamer_prediction", "dreamer_top1"]
OWN += ["dreamer_distance"]
SAME_TRIES = ["run", "epoch", "recipe_group", "label", "step"]  # equal for dreams of which one is picked
VIEW_METRICS = [*(f"judge_{metric}" for metric in JUDGED[:5]), *JUDGED[5:], *PIXELS]
DREAMS = ["run", "run_group", "training_seed", "epoch", "recipe", "recipe_group", "dream_seed"]
DREAMS += [
    "label",
    "class_name",
    "reference_label",
    "step",
    "steps_done",
    "diverged_at",
    *OWN,
    "picked",
    "mean_abs_change",
    "judge",
]
DREAMS += [f"{metric}{suffix}" for suffix in SUFFIX.values() for metric in VIEW_METRICS]
DREAMS += ["seconds", "image_path", "image_path_rescaled"]
DREAMS += [key for key in parameter_names() if key != "seed"]
JUDGEMENTS = [*DREAM, "judge", "view", *JUDGED]
TRAINING_METRICS = [
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "learning_rate",
    "seconds",
]
MEANS = ["dreamer_probability", "judge_probability", "judge_top1"]
RUNS = ["run", "run_group", "training_seed", "epoch", "model", *TRAINING_METRICS, "dreams", "judge", *MEANS]
RUNS += ["best_recipe", "best_judge_top1", "checkpoint_sha256"]
JUDGES = ["judge", "kind", "model", "classes", "matched", "unmatched", "held_out", "held_out_top1"]
JUDGES += ["held_out_probability", "noise_top1", "noise_probability", "shuffled_top1", "weights_sha256"]
DISPLAY_NAMES = {
    "dreamer_probability": "dreamer's probability",
    "dreamer_top1": "dreamer's top 1",
    "dreamer_logit": "dreamer's activation of the target",
    "dreamer_distance": "dreamer's distance to photographs",
    "judge_probability": "judge's probability",
    "judge_top1": "judge's top 1",
    "judge_rank": "judge's rank (1 is best)",
    "judge_prediction": "judge's prediction",
    "judge_reference_top1": "judge's top 1 for the class of the photographs",
    "feature_ratio": "feature ratio (1 is like a real photograph)",
    "nearest_ratio": "nearest ratio (1 is like a held-out photograph)",
    "seed_agreement": "seed agreement",
    "spectrum_distance": "spectrum distance (decades)",
    "total_variation": "total variation",
    "pixel_ratio": "pixel ratio (1 is like a held-out photograph)",
    "mean_abs_change": "mean absolute change",
    "seconds": "seconds",
}


def read_dreams_and_runs(dreams: Path, runs: Path, expected: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables ``dreams.csv`` and ``runs.csv`` of a study.

    `expected` has one row per dream of the study, with the columns of `DREAM`. Raises UserError if a table cannot be
    read, or if a dream or its checkpoint is missing from it.
    """
    checkpoints = expected[["run", "epoch"]].drop_duplicates()
    return read_table(dreams, rows=expected[DREAM]), read_table(runs, rows=checkpoints)


def list_views(dreams: pd.DataFrame) -> pd.DataFrame:
    """Return one row per view of the dreams from `read_dreams`, raw views first.

    In addition to those of `DREAM`, the columns are ``reference_label``, ``archive``, ``view``, the ``picture`` and its
    ``sha256``.
    """
    rows = []
    for view in VIEWS:
        pictures = pd.Series(pictures_of(dreams, view), index=dreams.index, dtype=object)
        of_view = {"view": view, "picture": pictures, "sha256": dreams[f"{view}_sha256"]}
        rows.append(dreams[[*DREAM, "reference_label", "archive"]].assign(**of_view))
    return pd.concat(rows, ignore_index=True)


def pictures_of(dreams: pd.DataFrame, view: str) -> list[Picture]:
    """Return the images of the dreams from `read_dreams`, in their order."""
    values = zip(dreams["archive"], dreams["label"], dreams["step"], strict=True)
    return [Picture(Path(archive), picture_name(label, step, view)) for archive, label, step in values]


def mark_picked(dreams: pd.DataFrame) -> pd.Series:
    """Return 1 for the dream of each group of tries with the smallest ``dreamer_distance``, 0 for the others.

    Tries differ only in their dream seed: `SAME_TRIES` lists the columns that they share. Of equal distances, the first
    one counts. The result is missing where the distance is.
    """
    rank = dreams.groupby(SAME_TRIES, sort=False)["dreamer_distance"].rank(method="first")
    return (rank == 1).astype("Int64").where(dreams["dreamer_distance"].notna())


def recipe_table(recipes: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return all parameters: one row per recipe; lists and dicts as JSON."""
    rows = [{"recipe": name, **{key: _cell(value) for key, value in point.items()}} for name, point in recipes.items()]
    return pd.DataFrame(rows, columns=["recipe", *parameter_names()])


def _cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, (dict, list)) else value

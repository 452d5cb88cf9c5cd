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
JUDGED = [*OF_ONE_IMAGE, "seed_agreement"]
PIXELS = ["spectrum_distance", "total_variation"]
OWN = ["dreamer_loss", "dreamer_logit", "dreamer_probability", "dreamer_prediction", "dreamer_top1"]
VIEW_METRICS = [*(f"judge_{metric}" for metric in JUDGED[:4]), *JUDGED[4:], *PIXELS]
DREAMS = [
    "run",
    "epoch",
    "recipe",
    "label",
    "class_name",
    "step",
    "steps_done",
    "diverged_at",
    *OWN,
    "mean_abs_change",
    "judge",
]
DREAMS += [f"{metric}{suffix}" for suffix in SUFFIX.values() for metric in VIEW_METRICS]
DREAMS += ["seconds", "image_path", "image_path_rescaled", *parameter_names()]
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
RUNS = ["run", "epoch", "model", *TRAINING_METRICS, "dreams", "judge", *MEANS, "best_recipe", "best_judge_top1"]
RUNS += ["checkpoint_sha256"]
JUDGES = ["judge", "kind", "model", "classes", "matched", "unmatched", "held_out", "held_out_top1"]
JUDGES += ["held_out_probability", "noise_top1", "noise_probability", "shuffled_top1", "weights_sha256"]
DISPLAY_NAMES = {
    "dreamer_probability": "dreamer's probability",
    "dreamer_top1": "dreamer's top 1",
    "judge_probability": "judge's probability",
    "judge_top1": "judge's top 1",
    "judge_rank": "judge's rank (1 is best)",
    "judge_prediction": "judge's prediction",
    "feature_ratio": "feature ratio (1 is like a real photograph)",
    "seed_agreement": "seed agreement",
    "spectrum_distance": "spectrum distance (decades)",
    "total_variation": "total variation",
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

    In addition to those of `DREAM`, the columns are ``archive``, ``view``, the ``picture`` and its ``sha256``.
    """
    rows = []
    for view in VIEWS:
        pictures = pd.Series(pictures_of(dreams, view), index=dreams.index, dtype=object)
        rows.append(dreams[[*DREAM, "archive"]].assign(view=view, picture=pictures, sha256=dreams[f"{view}_sha256"]))
    return pd.concat(rows, ignore_index=True)


def pictures_of(dreams: pd.DataFrame, view: str) -> list[Picture]:
    """Return the images of the dreams from `read_dreams`, in their order."""
    values = zip(dreams["archive"], dreams["label"], dreams["step"], strict=True)
    return [Picture(Path(archive), picture_name(label, step, view)) for archive, label, step in values]


def recipe_table(recipes: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return all parameters: one row per recipe; lists and dicts as JSON."""
    rows = [{"recipe": name, **{key: _cell(value) for key, value in point.items()}} for name, point in recipes.items()]
    return pd.DataFrame(rows, columns=["recipe", *parameter_names()])


def _cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, (dict, list)) else value

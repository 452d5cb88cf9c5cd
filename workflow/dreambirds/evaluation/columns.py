"""Columns of the tables of results, and readers for dreams. No torch import."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import pandas as pd

from dreambirds.config import VIEWS
from dreambirds.config.dreamers import parameter_names
from dreambirds.data.tables import read_table
from dreambirds.plan.dream_table import DREAM
from dreambirds.plan.paths import dream_folder, picture_path

SUFFIX = {"raw": "", "rescaled": "_rescaled"}
JUDGED = ["probability", "rank", "top1", "prediction", "feature_distance", "feature_ratio", "seed_agreement"]
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


def read_dreams_and_runs(results: Path, dreams: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables ``dreams`` and ``runs`` of a study's results.

    `dreams` has one row per dream of the study, with the columns of `DREAM`. Raises UserError if a table cannot be
    read, or if a dream or its checkpoint is missing from it.
    """
    checkpoints = dreams[["run", "epoch"]].drop_duplicates()
    return (
        read_table(results / "dreams.csv", rows=dreams[DREAM]),
        read_table(results / "runs.csv", rows=checkpoints),
    )


def read_dreams(dreams: pd.DataFrame, folder: Path, parts: Mapping[str, Collection[str]]) -> pd.DataFrame:
    """Return the dream jobs' rows for the requested dreams, in their order.

    `dreams` has the columns of `DREAM`; `folder` is the folder ``dreams`` of the results; `parts` maps the file name of
    each table in a job's folder to its labels. Raises UserError if a table cannot be read, or lacks a dream.
    """
    tables = pd.concat(_job_tables(dreams[DREAM], folder, parts))
    return dreams[DREAM].merge(tables, on=DREAM, how="left")


def _job_tables(dreams: pd.DataFrame, folder: Path, parts: Mapping[str, Collection[str]]) -> Iterator[pd.DataFrame]:
    for (run, epoch, recipe), rows in dreams.groupby(DREAM[:3], sort=False):
        for name, labels in parts.items():
            requested = rows.loc[rows["label"].isin(list(labels)), ["label", "step"]]
            table = read_table(dream_folder(folder, run, epoch, recipe) / name, rows=requested)
            yield table.assign(run=run, epoch=epoch, recipe=recipe)


def list_views(dreams: pd.DataFrame, folder: Path, families: Mapping[str, str]) -> pd.DataFrame:
    """Return one row per view of the dreams from `read_dreams`, raw views first.

    In addition to those of `DREAM`, the columns are ``view``, its ``path`` and ``sha256``, and the ``family`` of the
    recipe: `families` maps all recipes that differ only in their seed to the same text.
    """
    rows = []
    for view in VIEWS:
        paths = [str(picture_path(folder, dream, view)) for dream in dreams.itertuples()]
        rows.append(dreams[DREAM].assign(view=view, path=paths, sha256=dreams[f"{view}_sha256"]))
    return pd.concat(rows, ignore_index=True).assign(family=lambda table: table["recipe"].map(families))

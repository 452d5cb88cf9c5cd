"""The columns of the tables of results, their names for people, and how dreams are read from them. Imports no torch."""

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
OF_VIEW = [*(f"judge_{word}" for word in JUDGED[:4]), *JUDGED[4:], *PIXELS]
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
DREAMS += [f"{word}{suffix}" for suffix in SUFFIX.values() for word in OF_VIEW]
DREAMS += ["seconds", "image_path", "image_path_rescaled", *parameter_names()]
JUDGEMENTS = [*DREAM, "judge", "view", *JUDGED]
OF_TRAINING = ["train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate", "seconds"]
MEANS = ["dreamer_probability", "judge_probability", "judge_top1"]
RUNS = ["run", "epoch", "model", *OF_TRAINING, "dreams", "judge", *MEANS, "best_recipe", "best_judge_top1"]
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

    `dreams` has a row for each dream of the study, with the columns of `DREAM`. Raises UserError if a table can't be
    read or lacks one of them, or its checkpoint.
    """
    checkpoints = dreams[["run", "epoch"]].drop_duplicates()
    return (
        read_table(results / "dreams.csv", rows=dreams[DREAM]),
        read_table(results / "runs.csv", rows=checkpoints),
    )


def read_dreams(dreams: pd.DataFrame, folder: Path, parts: Mapping[str, Collection[str]]) -> pd.DataFrame:
    """Return what the dream jobs' tables record of the wanted dreams, in their order.

    `dreams` has the columns of `DREAM`; `folder` is the folder ``dreams`` of the results; `parts` has the labels in
    each table of a job's folder by the table's name. Raises UserError if a table can't be read or lacks one of its
    dreams.
    """
    tables = pd.concat(_job_tables(dreams[DREAM], folder, parts))
    return dreams[DREAM].merge(tables, on=DREAM, how="left")


def _job_tables(dreams: pd.DataFrame, folder: Path, parts: Mapping[str, Collection[str]]) -> Iterator[pd.DataFrame]:
    for (run, epoch, recipe), rows in dreams.groupby(DREAM[:3], sort=False):
        for name, labels in parts.items():
            wanted = rows.loc[rows["label"].isin(list(labels)), ["label", "step"]]
            table = read_table(dream_folder(folder, run, epoch, recipe) / name, rows=wanted)
            yield table.assign(run=run, epoch=epoch, recipe=recipe)


def list_views(dreams: pd.DataFrame, folder: Path, families: Mapping[str, str]) -> pd.DataFrame:
    """Return one row for each view of dreams that `read_dreams` returned, the raw ones first.

    In addition to the columns of `DREAM` these are the ``view``, its ``path`` and ``sha256``, and the ``family`` of the
    recipe: `families` has the same text for all recipes that differ in their seed only.
    """
    rows = []
    for view in VIEWS:
        paths = [str(picture_path(folder, dream, view)) for dream in dreams.itertuples()]
        rows.append(dreams[DREAM].assign(view=view, path=paths, sha256=dreams[f"{view}_sha256"]))
    return pd.concat(rows, ignore_index=True).assign(family=lambda table: table["recipe"].map(families))

"""A study's dreams, as its dream jobs have written them down."""

from collections.abc import Collection, Iterator
from pathlib import Path

import pandas as pd

from dreambirds.data.files import digest_of
from dreambirds.data.tables import WORDS, read_table
from dreambirds.study.paths import VIEWS, index_name, job_folder, picture_path
from dreambirds.study.plan import Plan

DREAM = ["run", "epoch", "recipe", "label", "step"]


def read_dreams(plan: Plan, runs: Collection[str]) -> pd.DataFrame:
    """Return what the dream jobs' tables say of the dreams of some runs, in the plan's order, with the columns of
    `DREAM`.

    An index of them all is the frame's own. Raises StudyError if a table can't be read or lacks one of its dreams.
    """
    asked = plan.dreams.loc[plan.dreams["run"].isin(list(runs)), DREAM]
    return asked.merge(pd.concat(_tables(plan, asked)), on=DREAM, how="left")


def _tables(plan: Plan, asked: pd.DataFrame) -> Iterator[pd.DataFrame]:
    for (run, epoch, recipe), rows in asked.groupby(DREAM[:3], sort=False):
        for part, names in plan.parts.items():
            path = Path(job_folder(plan.study, run, epoch, recipe), index_name(part))
            mine = rows.loc[rows["label"].isin(list(names)), ["label", "step"]]
            yield read_table(path, (*WORDS, "top1"), mine).assign(run=run, epoch=epoch, recipe=recipe)


def views_of(plan: Plan, dreams: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each view of dreams that `read_dreams` gave, the raw ones first.

    Beside the columns of `DREAM` these are the ``view``, its ``path`` and ``sha256``, and the ``family``: one word for
    all recipes that differ in their seed only.
    """
    families = {name: digest_of({**keys, "seed": None})[:16] for name, keys in plan.recipes.items()}
    rows = []
    for view in VIEWS:
        paths = [picture_path(plan.study, dream, view) for dream in dreams.itertuples()]
        rows.append(dreams[DREAM].assign(view=view, path=paths, sha256=dreams[f"{view}_sha256"]))
    return pd.concat(rows, ignore_index=True).assign(family=lambda table: table["recipe"].map(families))

"""A study's dreams, as its dream jobs have written them down."""

from pathlib import Path

import pandas as pd

from dreambirds.data.files import digest_of
from dreambirds.data.tables import WORDS, read_table
from dreambirds.study.paths import VIEWS, picture_path
from dreambirds.study.plan import Plan

DREAM = ["run", "epoch", "recipe", "label", "step"]


def read_dreams(plan: Plan) -> pd.DataFrame:
    """Return what the dream jobs' tables say of the plan's dreams, in the plan's order, with the columns of `DREAM`.

    An index of them all is the frame's own.
    """
    tables = [
        read_table(Path(index), (*WORDS, "top1")).assign(run=run, epoch=epoch, recipe=recipe)
        for run, epoch, recipe in plan.dreams[DREAM[:3]].drop_duplicates().itertuples(index=False)
        for index in plan.indexes(run=run, epoch=epoch, recipe=recipe)
    ]
    return plan.dreams[DREAM].merge(pd.concat(tables), on=DREAM, how="left")


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

"""Table of dreams: one row per kept image (run, epoch, recipe, label, step).

Rows are in the order of the config. The column `last` is true for the last step of a recipe. Rules build the table of
the whole study. A job builds its part of the table from its parameters.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from dreambirds.config.runs import parse_epoch
from dreambirds.errors import UserError, did_you_mean

DREAM = ["run", "epoch", "recipe", "label", "step"]
NUMBERS: dict[str, Callable[[Any], int | float]] = {"epoch": parse_epoch, "step": int}


def dream_table(
    epochs: Mapping[str, Mapping[str, Sequence[float]]], steps: Mapping[str, Sequence[int]], labels: Iterable[str]
) -> pd.DataFrame:
    """Return the dreams of all labels.

    `epochs` lists, by run and recipe, the epochs that dream; `steps` lists the kept steps of each recipe. Both are
    ascending.
    """
    labels = list(labels)
    rows = [
        (run, epoch, recipe, label, step, step == steps[recipe][-1])
        for run, recipes in epochs.items()
        for epoch in sorted(set().union(*recipes.values()))
        for recipe, dreaming_epochs in recipes.items()
        if epoch in dreaming_epochs
        for label in labels
        for step in steps[recipe]
    ]
    table = pd.DataFrame(rows, columns=[*DREAM, "last"])
    if table["epoch"].dtype.kind == "f":  # keep integer epochs integers next to fractional ones
        table["epoch"] = pd.Series([row[1] for row in rows], dtype=object)
    return table


def select_dreams(dreams: pd.DataFrame, study: str, values: Mapping[str, Any]) -> pd.DataFrame:
    """Return the dreams whose columns have the requested values.

    Keys that are not columns are ignored, and digits are parsed as numbers. Raises UserError, naming the study, if no
    dream matches: then the study does not create the requested file.
    """
    chosen = dreams
    conditions: list[str] = []
    for column in [*DREAM, "last"]:
        if column in values:
            value = NUMBERS[column](values[column]) if column in NUMBERS else values[column]
            if value not in set(chosen[column]):
                where = f" where {' and '.join(conditions)}" if value in set(dreams[column]) else ""
                hint = did_you_mean(value, chosen[column].unique(), "available")
                raise UserError(f"the study '{study}' has no dreams with the {column} {value!r}{where}; {hint}")
            chosen = chosen[chosen[column] == value]
            conditions.append(f"the {column} is {value!r}")
    return chosen

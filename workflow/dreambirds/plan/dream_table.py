"""The table of dreams: one row per kept image, (run, epoch, recipe, label, step), in the order of the config.

The column `last` tells whether the step is its recipe's last. Rules make it for the whole study; a job makes its part
of it from the values in its parameters.
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

    `epochs` are those of each run and recipe that it dreams, by run and recipe, and `steps` those of each recipe, all
    ascending.
    """
    labels = list(labels)
    rows = [
        (run, epoch, recipe, label, step, step == steps[recipe][-1])
        for run, recipes in epochs.items()
        for epoch in sorted(set().union(*recipes.values()))
        for recipe, dreaming in recipes.items()
        if epoch in dreaming
        for label in labels
        for step in steps[recipe]
    ]
    table = pd.DataFrame(rows, columns=[*DREAM, "last"])
    if table["epoch"].dtype.kind == "f":  # else epoch 1 would be 1.0 where others are fractions
        table["epoch"] = pd.Series([row[1] for row in rows], dtype=object)
    return table


def select_dreams(dreams: pd.DataFrame, study: str, wanted: Mapping[str, Any]) -> pd.DataFrame:
    """Return the dreams whose columns have the wanted values; other keys are ignored, digits become numbers.

    Raises UserError, which names the study, if there are none: then a file was requested that the study does not make.
    """
    chosen = dreams
    told: list[str] = []
    for column in [*DREAM, "last"]:
        if column in wanted:
            value = NUMBERS[column](wanted[column]) if column in NUMBERS else wanted[column]
            if value not in set(chosen[column]):
                where = f" where {' and '.join(told)}" if value in set(dreams[column]) else ""
                hint = did_you_mean(value, chosen[column].unique())
                raise UserError(f"the study '{study}' has no dreams of {column} '{value}'{where}; {hint}")
            chosen = chosen[chosen[column] == value]
            told.append(f"{column} is '{value}'")
    return chosen

"""Table of dreams: one row per kept image (run, epoch, recipe, label, step).

Rows are in the order of the config. `last` is true for the last step of a recipe. The rows are tuples, so that a study
is planned without pandas.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from dreambirds.config.runs import parse_epoch
from dreambirds.errors import UserError, did_you_mean

DREAM = ["run", "epoch", "recipe", "label", "step"]
NUMBERS: dict[str, Callable[[Any], int | float]] = {"epoch": parse_epoch, "step": int}


class Dream(NamedTuple):
    """One row of the table of dreams."""

    run: str
    epoch: int | float
    recipe: str
    label: str
    step: int
    last: bool


def list_dreams(
    epochs: Mapping[str, Mapping[str, Sequence[float]]], steps: Mapping[str, Sequence[int]], labels: Iterable[str]
) -> list[Dream]:
    """Return the dreams of all labels.

    `epochs` lists, by run and recipe, the epochs that dream; `steps` lists the kept steps of each recipe. Both are
    ascending.
    """
    labels = list(labels)
    return [
        Dream(run, epoch, recipe, label, step, step == steps[recipe][-1])
        for run, recipes in epochs.items()
        for epoch in sorted(set().union(*recipes.values()))
        for recipe, dreaming_epochs in recipes.items()
        if epoch in dreaming_epochs
        for label in labels
        for step in steps[recipe]
    ]


def select_dreams(dreams: list[Dream], study: str, values: Mapping[str, Any]) -> list[Dream]:
    """Return the dreams whose columns have the requested values.

    Keys that are not columns are ignored, and digits are parsed as numbers. Raises UserError, naming the study, if no
    dream matches: then the study does not create the requested file.
    """
    chosen = dreams
    conditions: list[str] = []
    for column in [*DREAM, "last"]:
        if column in values:
            value = NUMBERS[column](values[column]) if column in NUMBERS else values[column]
            get = attrgetter(column)
            matching = [dream for dream in chosen if get(dream) == value]
            if not matching:
                found = any(get(dream) == value for dream in dreams)
                where = f" where {' and '.join(conditions)}" if found else ""
                hint = did_you_mean(value, set(map(get, chosen)), "available")
                raise UserError(f"the study '{study}' has no dreams with the {column} {value!r}{where}; {hint}")
            chosen = matching
            conditions.append(f"the {column} is {value!r}")
    return chosen

"""Which runs and epochs dream a recipe: those that its keys `runs` and `epochs` name, of those that the study keeps.

They decide which dreams there are and never a pixel, so they are no parameters of a dream.
"""

from collections.abc import Mapping
from typing import Any

from dreambirds.config.load import Section, load_schema
from dreambirds.config.runs import parse_epoch
from dreambirds.errors import UserError, did_you_mean

RESTRICTIONS = ("runs", "epochs")
LAST = "last"
Epochs = list[int | float]


def parameter_names() -> list[str]:
    """Return the keys of a recipe that its dreams depend on, in the order of the schema."""
    return [key for key in load_schema("recipe")["properties"] if key not in RESTRICTIONS]


def list_dreamers(recipe: Mapping[str, Any], runs: Mapping[str, Section], where: str) -> dict[str, Epochs]:
    """Return the epochs of each run that dream a recipe, in the study's order.

    `runs` are the config's sections; `where` is the path of the recipe's. Raises UserError, with the key's path, where
    the study has no such run, where no run keeps such an epoch, or where a run is left without one.
    """
    named = recipe.get("runs")
    for run in named or ():
        if run not in runs:
            raise UserError(f"{where}.runs: the study has no run '{run}'; {did_you_mean(run, runs)}")
    kept = {run: keys["epochs"] for run, keys in runs.items() if named is None or run in named}
    return kept if recipe.get("epochs") is None else _restrict(kept, recipe["epochs"], f"{where}.epochs")


def _restrict(kept: dict[str, Epochs], wanted: list[Any], where: str) -> dict[str, Epochs]:
    numbers = {parse_epoch(epoch) for epoch in wanted if epoch != LAST}
    known = {epoch for epochs in kept.values() for epoch in epochs}
    for epoch in sorted(numbers - known):
        hint = did_you_mean(epoch, [*known, LAST])
        raise UserError(f"{where}: no checkpoint of epoch {epoch} is kept by {', '.join(kept)}; {hint}")
    dreaming = {}
    for run, epochs in kept.items():
        last = epochs[-1:] if LAST in wanted else []
        dreaming[run] = [epoch for epoch in epochs if epoch in numbers or epoch in last]
        if not dreaming[run]:
            told = f"the run '{run}' keeps none of these, but {', '.join(map(str, epochs))}"
            raise UserError(f"{where}: {told}; add one of them, or set `runs` without it")
    return dreaming


def overlap(one: Mapping[str, Epochs], other: Mapping[str, Epochs]) -> bool:
    """Tell whether two recipes are dreamt by the same epoch of a run."""
    return any(set(epochs) & set(other.get(run, ())) for run, epochs in one.items())

"""Select the checkpoints that dream a recipe, from its keys `runs` and `epochs`.

These keys determine which dreams exist, but not their pixels, so they are not parameters of a dream.
"""

from collections.abc import Mapping
from typing import Any

from dreambirds.config.grids import Point, resolve_runs
from dreambirds.config.load import Section, load_schema
from dreambirds.config.runs import parse_epoch
from dreambirds.errors import UserError, did_you_mean

RESTRICTIONS = ("runs", "epochs")
LAST = "last"
Epochs = list[int | float]


def parameter_names() -> list[str]:
    """Return the keys of a recipe that its dreams depend on, in schema order."""
    return [key for key in load_schema("recipe")["properties"] if key not in RESTRICTIONS]


def list_dreamers(
    recipe: Mapping[str, Any], runs: Mapping[str, Section], points: Mapping[str, Point], where: str
) -> dict[str, Epochs]:
    """Return the epochs that dream a recipe, by run, in the study's order.

    `runs` and `points` are the sections and the points of all runs by name; `where` is the path of the recipe, whose
    key `runs` names runs or grids of them. Raises UserError, with the key's path, if a run does not exist, if no run
    keeps an epoch, or if a run keeps none of the epochs.
    """
    names = recipe.get("runs")
    selected = None if names is None else resolve_runs(names, points, f"{where}.runs")
    kept = {run: keys["epochs"] for run, keys in runs.items() if selected is None or run in selected}
    if recipe.get("epochs") is None:
        return kept
    return _restrict(kept, recipe["epochs"], f"{where}.epochs", all_runs=selected is None)


def _restrict(kept: dict[str, Epochs], selected: list[Any], where: str, all_runs: bool) -> dict[str, Epochs]:
    numbers = {parse_epoch(epoch) for epoch in selected if epoch != LAST}
    available = {epoch for epochs in kept.values() for epoch in epochs}
    for epoch in sorted(numbers - available):
        hint = did_you_mean(epoch, [*available, LAST], "available")
        run = "no run" if all_runs else "no run in 'runs'"
        raise UserError(f"{where}: {run} keeps a checkpoint of epoch {epoch}; {hint}")
    dreaming = {}
    for run, epochs in kept.items():
        last = epochs[-1:] if LAST in selected else []
        dreaming[run] = [epoch for epoch in epochs if epoch in numbers or epoch in last]
        if not dreaming[run]:
            only, one = f"epochs {', '.join(map(str, epochs))}", "one of them"
            if len(epochs) == 1:
                only, one = f"epoch {epochs[0]}", "it"
            exclude = "list the other runs in 'runs'" if all_runs else "remove the run from 'runs'"
            raise UserError(f"{where}: the run '{run}' keeps only {only}; add {one} to 'epochs', or {exclude}")
    return dreaming


def overlap(one: Mapping[str, Epochs], other: Mapping[str, Epochs]) -> bool:
    """Return whether any epoch of a run dreams both recipes."""
    return any(set(epochs) & set(other.get(run, ())) for run, epochs in one.items())

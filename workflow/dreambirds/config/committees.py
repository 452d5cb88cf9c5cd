"""Committees: the runs whose networks take turns with the dreamer's, from a recipe's key `committee`."""

from collections.abc import Collection, Mapping

from dreambirds.config.dreamers import Epochs
from dreambirds.config.grids import Point
from dreambirds.config.load import Section
from dreambirds.errors import UserError, did_you_mean

SEED = "seed"
NOTHING_SHARED = "they keep no epoch in common, so add one to 'epochs' of their runs"
Committees = dict[tuple[str, str], list[str]]  # the other runs of a dream, by its run and recipe


def list_committees(
    recipes: Mapping[str, Section],
    dreamers: Mapping[str, Mapping[str, Epochs]],
    runs: Mapping[str, Section],
    points: Mapping[str, Point],
    origins: Mapping[str, str],
) -> Committees:
    """Return the members of each committee, by the run that dreams and the recipe; runs without one are omitted.

    `recipes` are the expanded recipes, `dreamers` the epochs that dream by recipe and run, `runs` the sections of all
    runs, `points` the point of a grid that each run is, and `origins` the name of each recipe in the config. A grid of
    runs stands for its run with the dreamer's training seed. Raises UserError, with the key's path, if there is no such
    run or more than one, if a member is the dreamer itself, or if it lacks an epoch at which the dreamer dreams.
    """
    committees: Committees = {}
    for recipe, parameters in recipes.items():
        where = f"dreams.recipes.{origins[recipe]}.committee"
        for run, epochs in dreamers[recipe].items() if parameters["committee"] else ():
            members = [_member(name, run, runs, points, where) for name in parameters["committee"]]
            if run in members:
                raise UserError(f"{where}: '{run}' would be in its own committee; limit 'runs' to other runs")
            repeated = next((member for member in members if members.count(member) > 1), None)
            if repeated:
                raise UserError(f"{where}: contains the run '{repeated}' twice; remove one of them")
            _check_epochs(run, epochs, members, runs, where)
            committees[run, recipe] = members
    return committees


def _member(name: str, run: str, runs: Mapping[str, Section], points: Mapping[str, Point], where: str) -> str:
    """Return the run that a name stands for: a run, or the counterpart of the dreamer `run` in a grid."""
    if name in runs:
        return name
    grid = [other for other in runs if points[other].origin == name]
    if not grid:
        known = {*runs, *(point.origin for point in points.values())}
        raise UserError(f"{where}: the study has no run '{name}'; {did_you_mean(name, known, 'available')}")
    seed, own = runs[run].get(SEED), points[run].varied
    paired = [other for other in grid if runs[other].get(SEED) == seed]
    if not paired and seed is None:
        problem = (
            f"'{run}' was trained elsewhere and has no training seed, so the grid '{name}' cannot be paired with it"
        )
        raise UserError(f"{where}: {problem}; list one of {', '.join(grid)}")
    if not paired:
        seeds = ", ".join(str(runs[other].get(SEED)) for other in grid)
        problem = f"no run of the grid '{name}' has the training seed {seed} of '{run}', only {seeds}"
        raise UserError(f"{where}: {problem}; add the seed, or list single runs")
    same = [other for other in paired if all(own.get(key, value) == value for key, value in _others(points[other]))]
    if len(same) != 1:
        count = "several runs" if same else "no run"
        found = ", ".join(same or paired)
        raise UserError(f"{where}: {count} of the grid '{name}' can be paired with '{run}'; choose from {found}")
    return same[0]


def _others(point: Point) -> list[tuple[str, object]]:
    """Return what a grid varies except the training seed, as pairs of key and value."""
    return [(key, value) for key, value in point.varied.items() if key != SEED]


def _check_epochs(
    run: str, epochs: Collection[float], members: list[str], runs: Mapping[str, Section], where: str
) -> None:
    """Raise UserError unless all members keep the epochs at which a run dreams."""
    for member in members:
        missing = [epoch for epoch in epochs if epoch not in runs[member]["epochs"]]
        if not missing:
            continue
        shared = [epoch for epoch in runs[run]["epochs"] if all(epoch in runs[each]["epochs"] for each in members)]
        remedy = f"set 'epochs' to those that all keep: {', '.join(map(str, shared))}"
        problem = f"the run '{member}' keeps no checkpoint of epoch {missing[0]}, at which '{run}' dreams"
        raise UserError(f"{where}: {problem}; {remedy if shared else NOTHING_SHARED}")

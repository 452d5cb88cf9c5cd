"""Questions of a study: the dreams that each one looks at, and the comparisons that answer it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dreambirds.config.committees import Committees
from dreambirds.config.contrasts import Comparison, DreamQuery, list_comparisons
from dreambirds.config.dreamers import LAST, Epochs, parameter_names
from dreambirds.config.grids import SEED, Grids, Point, as_written, stands_for
from dreambirds.config.load import Section
from dreambirds.config.runs import parse_epoch
from dreambirds.errors import UserError, did_you_mean

SETTINGS = ("study", "dataset", "judges")  # sections of the config that affect every question


@dataclass(frozen=True)
class Question:
    """A question: its text, the dreams that it looks at, and its comparisons.

    `epochs` lists the selected epochs by run and recipe, `recipes` contains the parameters of the selected recipes, and
    `origins` the recipe of the config to which each of them belongs. `runs` contains the factors of each run (see
    `run_factors`).
    """

    text: str
    epochs: dict[str, dict[str, Epochs]]
    recipes: dict[str, Section]
    origins: dict[str, str]
    runs: dict[str, Section]
    comparisons: list[Comparison]


def list_questions(
    config: Section,
    recipes: Mapping[str, Section],
    epochs: Mapping[str, Mapping[str, Epochs]],
    labels: Sequence[str],
    run_points: Mapping[str, Point],
    recipe_points: Mapping[str, Point],
) -> dict[str, Question]:
    """Return the questions of a study by name.

    `recipes` are the expanded recipes, `epochs` the epochs that dream by run and recipe, `labels` the labels to dream
    of, and `run_points` and `recipe_points` the points of all runs and recipes. Raises UserError, with the key's full
    path, if a question selects a run, epoch or recipe that has no dreams, or if one of its contrasts is impossible.
    """
    origins = {name: point.origin for name, point in recipe_points.items()}
    runs = run_factors(config["runs"], run_points)
    return {
        name: _question(section, origins, runs, recipes, epochs, labels, f"questions.{name}")
        for name, section in config["questions"].items()
    }


def run_factors(runs: Mapping[str, Section], points: Mapping[str, Point]) -> dict[str, Section]:
    """Return what distinguishes runs in contrasts, by run.

    These are the ``run`` of the config, the ``training_seed``, and the values of the keys in which runs of a grid vary.
    A key that recipes have too is left out: in a contrast, it is that of the recipe.
    """
    keys = {key for point in points.values() for key in point.varied} - {SEED, *parameter_names()}
    return {
        run: {
            "run": points[run].origin,
            "training_seed": section.get(SEED),
            **{key: section.get(key) for key in sorted(keys)},
        }
        for run, section in runs.items()
    }


def question_config(config: Section, grids: Grids, name: str, question: Question, committees: Committees) -> Section:
    """Return the part of a config that a question depends on; `config` has single runs, the result has the grids."""
    used = {*question.epochs, *(judge["run"] for judge in config["judges"].values())}
    for run, dreaming in question.epochs.items():
        used.update(*(committees.get((run, recipe), ()) for recipe in dreaming))
    chosen = {grids.runs[run].origin for run in grids.runs if run in used}
    config = as_written(config, grids)
    runs = {run: keys for run, keys in config["runs"].items() if run in chosen}
    asked = set(question.origins.values())
    recipes = {recipe: dict(keys) for recipe, keys in config["dreams"]["recipes"].items() if recipe in asked}
    for keys in recipes.values():
        if keys.get("runs"):
            origin = {run: grids.runs[stands_for(run, grids.runs)[0]].origin for run in keys["runs"]}
            keys["runs"] = [run for run in keys["runs"] if origin[run] in chosen]
    dreams = {"labels": config["dreams"]["labels"], "recipes": recipes}
    settings = {key: config[key] for key in SETTINGS}
    return {**settings, "runs": runs, "dreams": dreams, "questions": {name: config["questions"][name]}}


def _question(
    section: Section,
    origins: Mapping[str, str],
    runs: Mapping[str, Section],
    recipes: Mapping[str, Section],
    epochs: Mapping[str, Mapping[str, Epochs]],
    labels: Sequence[str],
    where: str,
) -> Question:
    selected = _select(section, origins, {run: factors["run"] for run, factors in runs.items()}, epochs, where)
    points = [point for point in recipes if any(point in dreaming for dreaming in selected.values())]
    chosen, own = {point: recipes[point] for point in points}, {point: origins[point] for point in points}
    factors = {run: dict(runs[run]) for run in selected}
    query = DreamQuery(own, chosen, selected, labels, factors)
    comparisons = list_comparisons(section["contrasts"], query, f"{where}.contrasts")
    return Question(section["text"], selected, chosen, own, factors, comparisons)


def _select(
    section: Section,
    origins: Mapping[str, str],
    run_origins: Mapping[str, str],
    epochs: Mapping[str, Mapping[str, Epochs]],
    where: str,
) -> dict[str, dict[str, Epochs]]:
    """Return the selected epochs by run and recipe; the origins of runs and recipes are their names in the config."""
    runs, numbers, names = section["runs"], section["epochs"], section["recipes"]
    _check_known(runs, _named(epochs, run_origins), "dream has run", f"{where}.runs")
    _check_known(names, {*origins, *origins.values()}, "dream has recipe", f"{where}.recipes")
    chosen = {
        run: {
            point: list(dreaming_epochs)
            for point, dreaming_epochs in dreaming.items()
            if names is None or point in names or origins[point] in names
        }
        for run, dreaming in epochs.items()
        if runs is None or run in runs or run_origins[run] in runs
    }
    if numbers is not None:
        kept = {epoch for dreaming in chosen.values() for of_recipe in dreaming.values() for epoch in of_recipe}
        listed = [number if number == LAST else parse_epoch(number) for number in numbers]
        _check_known(listed, {*kept, LAST}, "selected dream has epoch", f"{where}.epochs")
        chosen = {run: _restrict(dreaming, listed) for run, dreaming in chosen.items()}
    found = {run: {point: kept for point, kept in dreaming.items() if kept} for run, dreaming in chosen.items()}
    found = {run: dreaming for run, dreaming in found.items() if dreaming}
    points = {point for dreaming in found.values() for point in dreaming}
    _check_known(runs, _named(found, run_origins), "selected dream has run", f"{where}.runs")
    _check_known(names, _named(points, origins), "selected dream has recipe", f"{where}.recipes")
    return found


def _named(points: Iterable[str], origins: Mapping[str, str]) -> set[str]:
    """Return the names that runs or recipes may have in a question: their own and those in the config."""
    return {name for point in points for name in (point, origins[point])}


def _restrict(dreaming: Mapping[str, Epochs], listed: Collection[Any]) -> dict[str, Epochs]:
    """Return the listed epochs of a run's recipes; ``last`` is the run's last one."""
    last = max((epoch for epochs in dreaming.values() for epoch in epochs), default=None) if LAST in listed else None
    return {
        point: [epoch for epoch in epochs if epoch in listed or epoch == last] for point, epochs in dreaming.items()
    }


def _check_known(listed: Collection[Any] | None, known: Collection[Any], kind: str, where: str) -> None:
    for value in listed or ():
        if value not in known:
            text = f"'{value}'" if isinstance(value, str) else value
            raise UserError(f"{where}: no {kind} {text}; {did_you_mean(value, known, 'available')}")

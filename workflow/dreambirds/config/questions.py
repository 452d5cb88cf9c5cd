"""Questions of a study: the dreams that each one looks at, and the comparisons that answer it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dreambirds.config.contrasts import Comparison, DreamQuery, list_comparisons
from dreambirds.config.dreamers import LAST, Epochs
from dreambirds.config.load import Section
from dreambirds.config.recipes import expand_grid
from dreambirds.config.runs import parse_epoch
from dreambirds.errors import UserError, did_you_mean

SETTINGS = ("study", "dataset", "judges")  # sections of the config that affect every question


@dataclass(frozen=True)
class Question:
    """A question: its text, the dreams that it looks at, and its comparisons.

    `epochs` lists the selected epochs by run and recipe, `recipes` contains the parameters of the selected recipes, and
    `origins` the recipe of the config to which each of them belongs.
    """

    text: str
    epochs: dict[str, dict[str, Epochs]]
    recipes: dict[str, Section]
    origins: dict[str, str]
    comparisons: list[Comparison]


def list_questions(
    config: Section,
    recipes: Mapping[str, Section],
    epochs: Mapping[str, Mapping[str, Epochs]],
    labels: Sequence[str],
) -> dict[str, Question]:
    """Return the questions of a study by name.

    `recipes` are the expanded recipes, `epochs` the epochs that dream by run and recipe, and `labels` the labels to
    dream of. Raises UserError, with the key's full path, if a question selects a run, epoch or recipe that has no
    dreams, or if one of its contrasts is impossible.
    """
    if not config["questions"]:
        return {}
    grids = config["dreams"]["recipes"]
    origins = {point: name for name, grid in grids.items() for point in expand_grid(name, grid)}
    return {
        name: _question(section, origins, recipes, epochs, labels, f"questions.{name}")
        for name, section in config["questions"].items()
    }


def question_config(config: Section, name: str, question: Question) -> Section:
    """Return the part of a config that a question depends on."""
    judges = {judge["run"] for judge in config["judges"].values()}
    runs = {run: keys for run, keys in config["runs"].items() if run in question.epochs or run in judges}
    grids = set(question.origins.values())
    recipes = {recipe: keys for recipe, keys in config["dreams"]["recipes"].items() if recipe in grids}
    dreams = {"labels": config["dreams"]["labels"], "recipes": recipes}
    settings = {key: config[key] for key in SETTINGS}
    return {**settings, "runs": runs, "dreams": dreams, "questions": {name: config["questions"][name]}}


def _question(
    section: Section,
    origins: Mapping[str, str],
    recipes: Mapping[str, Section],
    epochs: Mapping[str, Mapping[str, Epochs]],
    labels: Sequence[str],
    where: str,
) -> Question:
    selected = _select(section, origins, epochs, where)
    points = [point for point in recipes if any(point in dreaming for dreaming in selected.values())]
    chosen, own = {point: recipes[point] for point in points}, {point: origins[point] for point in points}
    query = DreamQuery(own, chosen, selected, labels)
    comparisons = list_comparisons(section["contrasts"], query, f"{where}.contrasts")
    return Question(section["text"], selected, chosen, own, comparisons)


def _select(
    section: Section, origins: Mapping[str, str], epochs: Mapping[str, Mapping[str, Epochs]], where: str
) -> dict[str, dict[str, Epochs]]:
    """Return the selected epochs by run and recipe."""
    runs, numbers, names = section["runs"], section["epochs"], section["recipes"]
    _check_known(runs, epochs, "dream has run", f"{where}.runs")
    _check_known(names, {*origins, *origins.values()}, "dream has recipe", f"{where}.recipes")
    chosen = {
        run: {
            point: list(dreaming_epochs)
            for point, dreaming_epochs in dreaming.items()
            if names is None or point in names or origins[point] in names
        }
        for run, dreaming in epochs.items()
        if runs is None or run in runs
    }
    if numbers is not None:
        kept = {epoch for dreaming in chosen.values() for of_recipe in dreaming.values() for epoch in of_recipe}
        listed = [number if number == LAST else parse_epoch(number) for number in numbers]
        _check_known(listed, {*kept, LAST}, "selected dream has epoch", f"{where}.epochs")
        chosen = {run: _restrict(dreaming, listed) for run, dreaming in chosen.items()}
    found = {run: {point: kept for point, kept in dreaming.items() if kept} for run, dreaming in chosen.items()}
    found = {run: dreaming for run, dreaming in found.items() if dreaming}
    points = {point for dreaming in found.values() for point in dreaming}
    _check_known(runs, found, "selected dream has run", f"{where}.runs")
    _check_known(
        names, {*points, *(origins[point] for point in points)}, "selected dream has recipe", f"{where}.recipes"
    )
    return found


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

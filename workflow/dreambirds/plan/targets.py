"""Files that a study creates: default targets, single files, and the report."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dreambirds.config import VIEWS
from dreambirds.config.dreamers import Epochs
from dreambirds.config.grids import Point
from dreambirds.config.history_files import find_history
from dreambirds.config.runs import parse_epoch
from dreambirds.config.targets import interpolations, pair_names
from dreambirds.errors import UserError, did_you_mean
from dreambirds.plan.excitation import units
from dreambirds.plan.paths import epoch_name, step_name
from dreambirds.plan.plan import Plan

MAX_REPORT_IMAGES = 300
NUMBER = re.compile(r"\d{4,}(\.\d*[1-9])?")  # of an epoch or a step, as in the names of files


@dataclass(frozen=True)
class Layout:
    """Layout of a montage.

    `rows`, `columns` and `shared` are columns of the table of dreams, or the ``dream_seed`` and the ``recipe_group``.
    The dreams of a montage share the values of `shared` and the run. With `examples`, the last column shows
    photographs.
    """

    rows: str
    columns: str
    shared: tuple[str, ...]
    examples: bool = False


LAYOUTS = {
    "class-by-epoch": Layout("label", "epoch", ("recipe", "step"), examples=True),
    "class-by-step": Layout("label", "step", ("recipe", "epoch")),
    "epoch-by-step": Layout("epoch", "step", ("recipe", "label")),
    "recipe-by-class": Layout("recipe", "label", ("epoch",)),
    "class-by-seed": Layout("label", "dream_seed", ("recipe_group", "epoch")),
    "between-by-weight": Layout("between", "weight", ("recipe", "epoch")),
}
# column over time, shared column
FILMS = {"epochs": ("epoch", "step"), "steps": ("step", "epoch"), "weights": ("weight", "epoch")}


def dreams(plan: Plan) -> list[str]:
    """Return the archives of all dream jobs."""
    return plan.archives()


def montages(plan: Plan) -> list[str]:
    """Return the montages, each at the last epoch with dreams.

    These are class by epoch, class by step, recipe by class for each run, and class by seed for each run and each
    recipe with several seeds. For each run and recipe there are also, if the study has them, the photographs nearest to
    dreams of classes, those that excite the units of a layer most, and interpolations by weight. Of runs and of recipes
    that differ only in their seed, only the first has all of them.
    """
    also = {
        "nearest": plan.photographs and plan.dreamt,
        "exciting": units(plan),
        "between-by-weight": interpolations(plan.targets.values()),
    }
    view, root = plan.config["pictures"]["view"], f"results/{plan.study}/montages"
    files = []
    for run, recipes in shown_dreams(plan).items():
        for recipe, epochs in recipes.items():
            step, epoch = step_name(plan.steps[recipe][-1]), epoch_name(epochs[-1])
            files += [f"{root}/{run}/{recipe}/class-by-epoch_{step}_{name}.png" for name in VIEWS]
            layouts = ("class-by-step", *(name for name, shown in also.items() if shown))
            files += [f"{root}/{run}/{recipe}/{name}_{epoch}_{view}.png" for name in layouts]
            group = plan.recipe_points[recipe].group
            if sum(plan.recipe_points[each].group == group for each in plan.dreaming_epochs[run]) > 1:
                files.append(f"{root}/{run}/{group}/class-by-seed_{epoch}_{view}.png")
        last = max(epochs[-1] for epochs in plan.dreaming_epochs[run].values())
        files.append(f"{root}/{run}/recipe-by-class_{epoch_name(last)}_{view}.png")
    return files


def films(plan: Plan) -> list[str]:
    """Return the films of all classes, over epochs and over steps, and those of interpolations, over their weights.

    Films with a single frame are omitted. Of runs and of recipes that differ only in their seed, only the first has
    films.
    """
    view, files = plan.config["pictures"]["view"], []
    weights = {weight for _, weight in interpolations(plan.targets.values()).values()}
    for run, recipes in shown_dreams(plan).items():
        for recipe, epochs in recipes.items():
            folder, steps = f"results/{plan.study}/films/{run}/{recipe}", plan.steps[recipe]
            if len(epochs) > 1:
                files.append(f"{folder}/epochs_{step_name(steps[-1])}_{view}.gif")
            if len(steps) > 1:
                files.append(f"{folder}/steps_{epoch_name(epochs[-1])}_{view}.gif")
            if len(weights) > 1:
                files.append(f"{folder}/weights_{epoch_name(epochs[-1])}_{view}.gif")
    return files


def shown_dreams(plan: Plan) -> dict[str, dict[str, Epochs]]:
    """Return the epochs that dream by run and recipe, for the first run and the first recipe of each group."""
    runs = first_of_groups(plan.run_points, plan.dreaming_epochs)
    return {
        run: {recipe: plan.dreaming_epochs[run][recipe] for recipe in first_of_groups(plan.recipe_points, recipes)}
        for run, recipes in plan.dreaming_epochs.items()
        if run in runs
    }


def first_of_groups(points: Mapping[str, Point], names: Iterable[str]) -> list[str]:
    """Return the first of the named runs or recipes of each group, in their order."""
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(points[name].group, name)
    return list(first.values())


def curves(plan: Plan) -> list[str]:
    """Return the training curves of every run; without photographs, of the runs whose checkpoints have a history."""
    runs = [
        run
        for run in plan.config["runs"]
        if plan.photographs or any(each.path and find_history(each.path) for each in plan.foreign[run].values())
    ]
    return [f"results/{plan.study}/runs/{run}/curves.png" for run in runs]


def results(plan: Plan, plots: Iterable[str]) -> list[str]:
    """Return the tables, the given plots, the comparison, the gallery and the findings."""
    root = f"results/{plan.study}"
    tables = [f"{root}/{name}.csv" for name in ("dreams", "judgements", "runs", "judges")]
    return [
        *tables,
        *(f"{root}/plots/{name}.png" for name in plots),
        f"{root}/compare.html",
        f"{root}/gallery/index.html",
        *([f"{root}/findings/index.html", f"{root}/findings/findings.csv"] if plan.questions else []),
    ]


def overview(plan: Plan) -> list[str]:
    """Return the overview of the data: contact sheet, plot of sizes, table of classes; nothing without photographs."""
    if not plan.photographs:
        return []
    return [f"results/{plan.study}/dataset/{name}" for name in ("classes.png", "sizes.png", "classes.csv")]


def montage_dreams(layout: str, run: str, place: str, at: str, view: str) -> dict[str, Any]:
    """Return the values that the dreams of a montage share, by column, from its name.

    The name is ``<place><layout>_<at>_<view>``. `place` is the recipe, or the group of recipes, with a slash, or empty;
    `at` is ``step-0200``, ``epoch-0004`` or a label. Raises UserError if there is no such montage.
    """
    *recipe, column = LAYOUTS[layout].shared
    if bool(place) != bool(recipe):
        folder, file = f"montages/{run}/", f"{layout}_{at}_{view}.png"
        reason = "belongs to one recipe" if recipe else "shows all recipes"
        right = f"{folder}{'RECIPE/' if recipe else ''}{file}"
        raise UserError(f"'{folder}{place}{file}': a {layout} montage {reason}; request '{right}' instead")
    shared = {"run": run, column: _value_of(column, at, f"{layout} montage"), "view": view}
    last = {} if "step" in (*LAYOUTS[layout].shared, LAYOUTS[layout].columns) else {"last": True}
    return {**shared, **dict.fromkeys(recipe, place.rstrip("/")), **last}


def shown_archives(plan: Plan, shared: Mapping[str, Any]) -> list[str]:
    """Return the archives with the dreams of a montage or film, from the values that its dreams share.

    A montage of all recipes shows only the first recipe of each group. Raises UserError if the study has no such
    dreams.
    """
    archives = plan.archives(**shared)
    if "recipe" in shared:
        return archives
    epoch, group = parse_epoch(shared["epoch"]), shared.get("recipe_group")
    dreaming = [recipe for recipe, epochs in plan.dreaming_epochs[shared["run"]].items() if epoch in epochs]
    groups = {plan.recipe_points[recipe].group for recipe in dreaming}
    if group is None:
        chosen = first_of_groups(plan.recipe_points, dreaming)
    elif group in groups:
        chosen = [recipe for recipe in dreaming if plan.recipe_points[recipe].group == group]
    else:
        problem = f"epoch {epoch} of the run '{shared['run']}' dreams no recipe '{group}' (without its seed)"
        raise UserError(f"{problem}; {did_you_mean(group, groups, 'available')}")
    return [archive for recipe in chosen for archive in plan.archives(**shared, recipe=recipe)]


def shown_seeds(plan: Plan, shared: Mapping[str, Any]) -> dict[str, Any]:
    """Return the seeds that a montage or film names: the ``training_seed`` of its run, and ``dream_seeds`` by recipe.

    A seed is named if its group has several ones. The training seed is None if it is not named.
    """
    run, runs, recipes = shared["run"], plan.run_points, plan.recipe_points
    trained = [name for name in runs if runs[name].group == runs[run].group]
    several = {group for group, count in Counter(point.group for point in recipes.values()).items() if count > 1}
    return {
        "training_seed": plan.config["runs"][run].get("seed") if len(trained) > 1 else None,
        "dream_seeds": {
            recipe: plan.recipes[recipe]["seed"]
            for recipe, point in recipes.items()
            if point.group in several or point.group == shared.get("recipe_group")
        },
    }


def film_dreams(over: str, run: str, recipe: str, at: str, view: str) -> dict[str, Any]:
    """Return the values that the dreams of a film share, by column, from its name.

    The name is ``<over>_<at>_<view>``. Raises UserError if `at` does not fit.
    """
    columns = FILMS[over]
    last = {} if "step" in columns else {"last": True}
    value = _value_of(columns[1], at, f"film over {over}")
    return {"run": run, "recipe": recipe, columns[1]: value, "view": view, **last}


def _value_of(column: str, at: str, figure: str) -> str:
    """Return the value that the dreams of a figure share, from the part of its name: 0200 for ``step-0200``.

    Raises UserError if the name contains a value of another column.
    """
    prefix = "" if column == "label" else f"{column}-"
    value = at.removeprefix(prefix)
    if not at.startswith(prefix) or (prefix and not NUMBER.fullmatch(value)):
        example = {"epoch": epoch_name(4), "step": step_name(200)}[column]
        raise UserError(f"'{at}': a {figure} shows one {column}; write it as in '{example}'")
    return value


def shown_interpolations(plan: Plan, column: str) -> dict[str, Any]:
    """Return what a figure over the ``weight`` of interpolations needs; it is empty for another `column`.

    These are the ``interpolations``, the pair and weight of each label, and the display names of the ``pairs``. Raises
    UserError if the study has none.
    """
    if column != "weight":
        return {}
    found = interpolations(plan.targets.values())
    if not found:
        problem = f"the study '{plan.study}' has no interpolations (dreams.targets with 'between')"
        raise UserError(f"{problem}; request another montage or film")
    return {"interpolations": found, "pairs": pair_names(plan.targets.values())}


def patterns(plan: Plan) -> list[str]:
    """Return Snakemake patterns of the gallery's images that the report shows.

    They are the dreams at each recipe's last step, in the view of the films. If there are more than
    `MAX_REPORT_IMAGES`, the report shows only the first classes: as many as fit, and at least one.
    """
    ending = VIEWS[plan.config["pictures"]["view"]]
    jobs = {job[:3] for job in plan.dream_jobs}
    labels = "|".join(list(plan.names)[: max(1, MAX_REPORT_IMAGES // len(jobs))])
    return [
        f"dreams/{{run,[^/]+}}/epoch-{{epoch,[^/]+}}/{{recipe,{re.escape(recipe)}}}/{{label,{labels}}}/"
        f"{{file,{step_name(parameters['steps'][-1])}{ending}[.]png}}"
        for recipe, parameters in plan.recipes.items()
    ]

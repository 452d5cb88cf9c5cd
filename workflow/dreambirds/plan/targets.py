"""Files that a study creates: default targets, single files, and the report."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dreambirds.config import VIEWS
from dreambirds.errors import UserError
from dreambirds.plan.paths import epoch_name, step_name
from dreambirds.plan.plan import Plan

MAX_REPORT_IMAGES = 300


@dataclass(frozen=True)
class Layout:
    """Layout of a montage.

    `rows`, `columns` and `shared` are columns of the table of dreams. The dreams of a montage share the values of
    `shared` and the run. With `examples`, the last column shows photographs.
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
}
FILMS = {"epochs": ("epoch", "step"), "steps": ("step", "epoch")}  # column over time, shared column


def dreams(plan: Plan) -> list[str]:
    """Return the archives of all dream jobs."""
    return plan.archives()


def montages(plan: Plan) -> list[str]:
    """Return the montages, each at the last epoch with dreams.

    These are class by epoch and class by step for each run and recipe, and recipe by class for each run.
    """
    view, root = plan.config["pictures"]["view"], f"results/{plan.study}/montages"
    files = []
    for run, recipes in plan.dreaming_epochs.items():
        for recipe, epochs in recipes.items():
            step, epoch = step_name(plan.steps[recipe][-1]), epoch_name(epochs[-1])
            files += [f"{root}/{run}/{recipe}/class-by-epoch_{step}_{name}.png" for name in VIEWS]
            files.append(f"{root}/{run}/{recipe}/class-by-step_{epoch}_{view}.png")
    last = {run: max(epochs[-1] for epochs in recipes.values()) for run, recipes in plan.dreaming_epochs.items()}
    return files + [f"{root}/{run}/recipe-by-class_{epoch_name(epoch)}_{view}.png" for run, epoch in last.items()]


def films(plan: Plan) -> list[str]:
    """Return the films of all classes, over epochs and over steps.

    Films with a single frame are omitted.
    """
    view, files = plan.config["pictures"]["view"], []
    for run, recipes in plan.dreaming_epochs.items():
        for recipe, epochs in recipes.items():
            folder, steps = f"results/{plan.study}/films/{run}/{recipe}", plan.steps[recipe]
            if len(epochs) > 1:
                files.append(f"{folder}/epochs_{step_name(steps[-1])}_{view}.gif")
            if len(steps) > 1:
                files.append(f"{folder}/steps_{epoch_name(epochs[-1])}_{view}.gif")
    return files


def curves(plan: Plan) -> list[str]:
    """Return the training curves of every run."""
    return [f"results/{plan.study}/runs/{run}/curves.png" for run in plan.config["runs"]]


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
    """Return the overview of the data: contact sheet, plot of sizes, table of classes."""
    return [f"results/{plan.study}/dataset/{name}" for name in ("classes.png", "sizes.png", "classes.csv")]


def montage_dreams(layout: str, run: str, place: str, at: str, view: str) -> dict[str, Any]:
    """Return the values that the dreams of a montage share, by column, from its name.

    The name is ``<place><layout>_<at>_<view>``. `place` is the recipe with a slash, or empty; `at` is ``step-0200``,
    ``epoch-0004`` or a label. Raises UserError if there is no such montage.
    """
    *recipe, column = LAYOUTS[layout].shared
    if bool(place) != bool(recipe):
        folder, file = f"montages/{run}/", f"{layout}_{at}_{view}.png"
        reason = "belongs to one recipe" if recipe else "shows all recipes"
        right = f"{folder}{'RECIPE/' if recipe else ''}{file}"
        raise UserError(f"'{folder}{place}{file}': a {layout} montage {reason}; request '{right}' instead")
    shared = {"run": run, column: at if column == "label" else at.removeprefix(f"{column}-"), "view": view}
    return {**shared, "recipe": place.rstrip("/")} if recipe else {**shared, "last": True}


def film_dreams(over: str, run: str, recipe: str, at: str, view: str) -> dict[str, Any]:
    """Return the values that the dreams of a film share, by column, from its name.

    The name is ``<over>_<at>_<view>``.
    """
    column = FILMS[over][1]
    return {"run": run, "recipe": recipe, column: at.removeprefix(f"{column}-"), "view": view}


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

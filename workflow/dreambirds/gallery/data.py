"""The data of the gallery's page: the study's runs, recipes and labels, and the measurements of each dream."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import yaml

from dreambirds.config.contrasts import SAME_IN_BOTH_VIEWS
from dreambirds.config.runs import parse_epoch
from dreambirds.evaluation.columns import DISPLAY_NAMES
from dreambirds.figures.recognition import Recognition
from dreambirds.plan.paths import epoch_name, step_name
from dreambirds.shapes import in_proportion

DISPLAYED = [
    "dreamer_probability",
    "dreamer_logit",
    "dreamer_distance",
    "judge_probability",
    "judge_rank",
    "judge_prediction",
    "feature_ratio",
    "seed_agreement",
]
DISPLAYED += ["spectrum_distance", "total_variation", "mean_abs_change", "seconds"]
MEASURES = {column: DISPLAY_NAMES[column] for column in DISPLAYED}
PICKED = "picked"  # the column that marks the dream closest to the photographs among those of several seeds
DIGITS = 4
MOST_LABELS = 64  # rows of a sheet
LARGEST = 96  # longer side of a cell in pixels; larger images are scaled down


@dataclass(frozen=True)
class GalleryStudy:
    """The study of a gallery.

    `recipes` contains the parameters of each recipe, `shapes` the (height, width) of each recipe's images in pixels,
    and `names` the display name of each label. `run_points` and `recipe_points` contain the fields of the `Point` that
    each run and each recipe is. `targets` are the labels that are not classes.
    """

    study: str
    recipes: Mapping[str, Mapping[str, Any]]
    shapes: Mapping[str, Sequence[int]]
    names: Mapping[str, str]
    run_points: Mapping[str, Mapping[str, Any]]
    recipe_points: Mapping[str, Mapping[str, Any]]
    targets: Sequence[str] = ()


def gallery_facts(study: GalleryStudy, dreams: pd.DataFrame, runs: pd.DataFrame) -> dict:
    """Return the page's data, ready for JSON, from the study's tables `dreams` and `runs`.

    ``dreamers`` contains, by ``run/recipe``, the indices into the run's epochs that have dreams of the recipe.
    ``values`` contains, by ``run/recipe`` and column, a flat list over label, these epochs, and step, in this order.
    """
    epochs = dreaming_epochs(dreams)
    checkpoints = {run: sorted(set().union(*recipes.values())) for run, recipes in epochs.items()}
    judges = [judge for judge in dreams["judge"].unique() if judge]
    return {
        "study": study.study,
        "best": _best(dreams),
        "judge": judges[0] if judges else None,
        "labels": [{"label": label, "name": name} for label, name in study.names.items()],
        "targets": list(study.targets),
        "perSheet": MOST_LABELS,
        "measures": MEASURES,
        "runs": {
            run: _run(kept, runs[runs["run"] == run]) | _point(study.run_points[run])
            for run, kept in checkpoints.items()
        },
        "recipes": {
            name: _recipe(name, recipe, study.shapes[name]) | _point(study.recipe_points[name])
            for name, recipe in study.recipes.items()
        },
        "dreamers": {
            f"{run}/{recipe}": [checkpoints[run].index(epoch) for epoch in of_recipe]
            for run, recipes in epochs.items()
            for recipe, of_recipe in recipes.items()
        },
        "values": {
            f"{run}/{recipe}": _values(study, group, epochs[run][recipe], recipe)
            for (run, recipe), group in dreams.groupby(["run", "recipe"], sort=False)
        },
    }


def dreaming_epochs(dreams: pd.DataFrame) -> dict[str, dict[str, list[int | float]]]:
    """Return the epochs that have dreams, by run and recipe, from the study's table of dreams."""
    epochs: dict[str, dict[str, list[int | float]]] = {}
    for (run, recipe), rows in dreams.groupby(["run", "recipe"], sort=False):
        epochs.setdefault(run, {})[recipe] = [parse_epoch(epoch) for epoch in sorted(rows["epoch"].unique())]
    return epochs


def _best(dreams: pd.DataFrame) -> dict:
    """Return the run and recipe whose last dreams have the highest mean probability.

    It is the judge's probability, or the dreamer's if the study has no judge.
    """
    means = Recognition(dreams).last().means(["run", "recipe"])
    first = means.sort_values("mean", ascending=False, kind="stable").iloc[0]
    return {"run": first["run"], "recipe": first["recipe"]}


def _point(point: Mapping[str, Any]) -> dict:
    """Return the name in the config of a run or recipe, and the values of its keys that vary."""
    return {"origin": point["origin"], "varied": dict(point["varied"])}


def _run(epochs: Sequence[float], rows: pd.DataFrame) -> dict:
    rows = rows.set_index("epoch").reindex(epochs)
    return {
        "model": rows["model"].iloc[0],
        "epochs": list(epochs),
        "folders": [epoch_name(epoch) for epoch in epochs],
        "validation": [_plain(value) for value in rows["validation_accuracy"]],
        "checkpoints": list(rows["checkpoint_sha256"]),
    }


def _recipe(name: str, parameters: Mapping[str, Any], shape: Sequence[int]) -> dict:
    height, width = shape
    cell = cell_shape((height, width))
    section = {"dreams": {"recipes": {name: dict(parameters)}}}
    return {
        "steps": parameters["steps"],
        "files": [step_name(step) for step in parameters["steps"]],
        "seed": parameters["seed"],
        "shape": [height, width],
        "cell": list(cell),
        "yaml": yaml.safe_dump(section, sort_keys=False, allow_unicode=True),
    }


def _values(study: GalleryStudy, group: pd.DataFrame, epochs: Sequence[float], recipe: str) -> dict[str, list]:
    order = pd.MultiIndex.from_product([study.names, epochs, study.recipes[recipe]["steps"]])
    rows = group.set_index(["label", "epoch", "step"]).reindex(order)
    found = {}
    for measure in MEASURES:
        for ending in ("",) if measure in SAME_IN_BOTH_VIEWS else ("", "_rescaled"):
            values = [_plain(value) for value in rows[f"{measure}{ending}"]]
            if any(value not in (None, "") for value in values):
                found[f"{measure}{ending}"] = values
    if PICKED in rows and rows[PICKED].notna().any():
        found[PICKED] = [_plain(value) for value in rows[PICKED]]
    return found


def _plain(value: object) -> object:
    """Return a value for JSON: numbers with four significant digits, and None for a missing or infinite one."""
    if isinstance(value, str):
        return value
    if value is None or pd.isna(value):
        return None
    number = float(value)
    return int(number) if number.is_integer() else float(f"{number:.{DIGITS}g}") if math.isfinite(number) else None


def cell_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) of a sheet's cells for images of a (height, width)."""
    return shape if max(shape) <= LARGEST else in_proportion(shape, LARGEST, of=max)

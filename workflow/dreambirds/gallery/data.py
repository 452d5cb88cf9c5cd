"""What the gallery's page knows of a study: its axes, its recipes, and the measurements of each dream."""

import math

import pandas as pd
import yaml

from dreambirds.config.contrasts import WITHOUT_VIEW
from dreambirds.figures.plots import recipes
from dreambirds.plan.paths import epoch_name, step_name
from dreambirds.plan.plan import Plan
from dreambirds.shapes import in_proportion

MEASURES = {
    "dreamer_probability": "own probability",
    "judge_probability": "judge's probability",
    "judge_rank": "judge's rank",
    "judge_prediction": "the judge sees",
    "feature_ratio": "distance from real photographs (1 = like one)",
    "seed_agreement": "agreement between seeds",
    "spectrum_distance": "spectrum's distance from real photographs, decades",
    "total_variation": "total variation",
    "mean_abs_change": "change from the start",
    "seconds": "seconds",
}
DIGITS = 4
MOST_LABELS = 64  # rows of a sheet
LARGEST = 96  # pixels of a cell's longer side; larger pictures are made smaller


def gallery_facts(plan: Plan, dreams: pd.DataFrame, runs: pd.DataFrame) -> dict:
    """Return plain data for the page; `dreams` and `runs` are the study's tables.

    Measurements are lists over label, epoch and step, in this order, by ``run/recipe`` and column.
    """
    judges = [judge for judge in dreams["judge"].unique() if judge]
    return {
        "study": plan.study,
        "best": _best(dreams),
        "judge": judges[0] if judges else None,
        "labels": [{"label": label, "name": name} for label, name in plan.names.items()],
        "perSheet": MOST_LABELS,
        "measures": MEASURES,
        "runs": {run: _run(plan, runs[runs["run"] == run]) for run in plan.config["runs"]},
        "recipes": {recipe: _recipe(plan, recipe) for recipe in plan.recipes},
        "values": {
            f"{run}/{recipe}": _values(plan, group, recipe)
            for (run, recipe), group in dreams.groupby(["run", "recipe"], sort=False)
        },
    }


def _best(dreams: pd.DataFrame) -> dict:
    """Return the run and recipe whose last dreams the judge knows best; without a judge, the dreamer."""
    group = recipes(dreams).iloc[0]
    return {"run": group["run"], "recipe": group["recipe"]}


def _run(plan: Plan, rows: pd.DataFrame) -> dict:
    epochs = plan.epochs(rows["run"].iloc[0])
    rows = rows.set_index("epoch").reindex(epochs)
    return {
        "model": rows["model"].iloc[0],
        "epochs": epochs,
        "folders": [epoch_name(epoch) for epoch in epochs],
        "validation": [_plain(value) for value in rows["validation_accuracy"]],
        "checkpoints": list(rows["checkpoint_sha256"]),
    }


def _recipe(plan: Plan, recipe: str) -> dict:
    height, width = plan.shape(recipe)
    parameters, cell = plan.recipes[recipe], cell_shape((height, width))
    section = {"dreams": {"recipes": {recipe: parameters}}}
    return {
        "steps": parameters["steps"],
        "files": [step_name(step) for step in parameters["steps"]],
        "seed": parameters["seed"],
        "shape": [height, width],
        "cell": list(cell),
        "yaml": yaml.safe_dump(section, sort_keys=False, allow_unicode=True),
    }


def _values(plan: Plan, group: pd.DataFrame, recipe: str) -> dict[str, list]:
    run = group["run"].iloc[0]
    order = pd.MultiIndex.from_product([plan.names, plan.epochs(run), plan.recipes[recipe]["steps"]])
    rows = group.set_index(["label", "epoch", "step"]).reindex(order)
    found = {}
    for measure in MEASURES:
        for ending in ("",) if measure in WITHOUT_VIEW else ("", "_rescaled"):
            values = [_plain(value) for value in rows[f"{measure}{ending}"]]
            if any(value not in (None, "") for value in values):
                found[f"{measure}{ending}"] = values
    return found


def _plain(value: object) -> object:
    """Return a value as JSON holds it: short, and nothing where there is none."""
    if isinstance(value, str):
        return value
    if value is None or pd.isna(value):
        return None
    number = float(value)
    return int(number) if number.is_integer() else float(f"{number:.{DIGITS}g}") if math.isfinite(number) else None


def cell_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of a sheet's cells for pictures of a shape."""
    return shape if max(shape) <= LARGEST else in_proportion(shape, LARGEST, of=max)

"""From the table of dreams to montages and films: which pictures, in which order, under which names."""

from pathlib import Path

import pandas as pd

from dreambirds.config.runs import parse_epoch
from dreambirds.data.tables import example_pictures
from dreambirds.dream_job.snapshots import as_text, read_facts, save_gif, save_png
from dreambirds.figures.animation import Film, film
from dreambirds.figures.montage import Grid, montage
from dreambirds.plan.paths import picture_path
from dreambirds.plan.plan import Plan

REAL = "learnt from"


def write_montage(plan: Plan, wanted: dict, rows: str, columns: str, path: Path, dataset: Path | None = None) -> None:
    """Write the montage of the dreams that `wanted` selects, with a row and a column for every value of two columns.

    `wanted` holds values of the plan's columns and the `view`. With `dataset`, a last column shows a real picture of
    each class, and then rows must be labels.
    """
    dreams = _with_paths(plan, wanted)
    grid = dreams.pivot(index=rows, columns=columns, values="path")
    grid = grid.reindex(index=dreams[rows].unique(), columns=dreams[columns].unique())
    cells = grid.to_numpy().tolist()
    names = [_say(plan, columns, value) for value in grid.columns]
    if dataset is not None:
        examples = example_pictures(dataset)
        cells = [[*row, examples[label]] for row, label in zip(cells, grid.index, strict=True)]
        names.append(REAL)
    title = f"{_AXES[rows]} by {_AXES[columns]}".capitalize()
    page = Grid(cells, [_say(plan, rows, value) for value in grid.index], names, title, _describe(plan, wanted))
    save_png(montage(page, plan.config["montage"]["cell_size"]), path, title, _facts(plan, wanted, dreams))


def write_film(plan: Plan, wanted: dict, moments: str, path: Path) -> None:
    """Write the film of the dreams that `wanted` selects: all their classes, over the column `moments`."""
    dreams = _with_paths(plan, wanted)
    grid = dreams.pivot(index=moments, columns="label", values="path")
    grid = grid.reindex(columns=dreams["label"].unique())
    labels = [_say(plan, "label", label) for label in grid.columns]
    said = [_say(plan, moments, moment) for moment in grid.index]
    script = Film(grid.to_numpy().tolist(), said, labels, _describe(plan, wanted))
    settings = plan.config["pictures"]
    comment = as_text(_facts(plan, wanted, dreams))
    save_gif(film(script, settings["cell"]), path, settings["frame_duration"], comment)


_AXES = {"label": "class", "epoch": "training epoch", "step": "dream step", "recipe": "recipe"}


def _with_paths(plan: Plan, wanted: dict) -> pd.DataFrame:
    dreams = plan.select(**wanted)
    return dreams.assign(path=[picture_path(plan.study, dream, wanted["view"]) for dream in dreams.itertuples()])


def _say(plan: Plan, column: str, value) -> str:
    if column == "label":
        return plan.names[value]
    return f"{column} {value}" if column in ("epoch", "step") else str(value)


def _describe(plan: Plan, wanted: dict) -> str:
    parts = [_say(plan, key, parse_epoch(wanted[key])) for key in ("epoch", "step") if key in wanted]
    named = [f"{key} {wanted[key]}" for key in ("run", "recipe") if key in wanted]
    label = [plan.names[wanted["label"]]] if "label" in wanted else []
    return " · ".join([*label, *named, *parts, wanted["view"]])


def _facts(plan: Plan, wanted: dict, dreams: pd.DataFrame) -> dict:
    first = dreams.drop_duplicates(["run", "epoch", "recipe"])
    each = [read_facts(Path(path)) for path in first["path"]]
    return {
        "study": plan.study,
        **{key: str(value) for key, value in wanted.items()},
        "labels": list(dreams["label"].unique()),
        "recipes": {facts["recipe"]: facts["parameters"] for facts in each},
        "checkpoints": {f"{facts['run']}/{facts['epoch']}": facts["checkpoint_sha256"] for facts in each},
        "versions": each[0]["versions"],
    }

"""All plots of a study, each as a picture and as the table of its numbers."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from matplotlib import pyplot
from matplotlib.figure import Figure

from dreambirds.data.tables import read_table, write_table
from dreambirds.judging.written import read_written
from dreambirds.pictures.figure import save_figure
from dreambirds.pictures.plots import numbers
from dreambirds.pictures.plots.draw import bars, confusion_map, lines, maps
from dreambirds.study.plan import Plan


def write_plots(results: Path, folder: Path, plan: Plan | None = None) -> None:
    """Write ``NAME.png`` and ``NAME.csv`` for each plot into a folder, from the tables of a study's `results`.

    Raises StudyError if one of them is not whole; with `plan`, also if it lacks a row of what that asks for.
    """
    tables = ("dreams", "runs")
    dreams, runs = (
        read_written(plan, results, name) if plan else read_table(results / f"{name}.csv") for name in tables
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name, (table, draw) in _plots(dreams, runs, results).items():
        write_table(table, folder / f"{name}.csv", "%.6g")
        figure = draw(table) if len(table) else _nothing()
        save_figure(figure, folder / f"{name}.png")


def _plots(
    dreams: pd.DataFrame, runs: pd.DataFrame, results: Path
) -> dict[str, tuple[pd.DataFrame, Callable[[pd.DataFrame], Figure]]]:
    """Return each plot's numbers, and what draws them."""
    judged = numbers.source(dreams) == numbers.JUDGED
    said = f"{'judge' if judged else 'own'} probability of the class"
    names = dict(dreams[["label", "name"]].drop_duplicates().itertuples(index=False))
    several = dreams["run"].nunique() > 1
    return {
        "by-epoch": (
            numbers.by_epoch(dreams, runs),
            lambda table: lines(table, "epoch", said, "training epoch", "validation_accuracy"),
        ),
        "by-step": (numbers.by_step(dreams), lambda table: lines(table, "step", said, "dream step")),
        "epoch-by-step": (numbers.epoch_by_step(dreams), lambda table: maps(table, said)),
        "recipes": (
            numbers.recipes(dreams),
            lambda table: bars(table, table["run"] + ", " + table["recipe"] if several else table["recipe"], said),
        ),
        "classes": (numbers.classes(dreams), lambda table: bars(table, table["name"], said)),
        "trajectories": (
            numbers.trajectories(dreams, results),
            lambda table: lines(table, "step", "the dreamer's own probability", "dream step"),
        ),
        "confusion": (numbers.confusion(dreams), lambda table: confusion_map(table, names)),
    }


def _nothing() -> Figure:
    figure, axis = pyplot.subplots(figsize=(6, 2))
    axis.axis("off")
    axis.text(0.5, 0.5, "nothing to show: no dream was judged", ha="center", va="center")
    return figure

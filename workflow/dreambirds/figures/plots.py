"""The plots of a study: the numbers of each, as a table and as a picture.

A new plot is one function here, with the decorator `plot`. Its name in the results is the function's, with dashes.
Importing this module loads neither pandas nor matplotlib, since the rules need the names of the plots.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from dreambirds.figures.recognition import Recognition

    # given how well dreams are recognized and the module `draw`, a plot returns its numbers, and what draws them
    Plot = Callable[[Recognition, ModuleType], tuple[pd.DataFrame, Callable[[], Figure]]]

PLOTS: dict[str, Plot] = {}  # in the order in which they are shown


def plot(function: Plot) -> Plot:
    """Register a plot under its name."""
    PLOTS[function.__name__.replace("_", "-")] = function
    return function


@plot
def by_epoch(recognition: Recognition, draw: ModuleType) -> tuple[pd.DataFrame, Callable[[], Figure]]:
    """Plot how well each recipe's last steps are recognized at each checkpoint, with its validation accuracy."""
    table = recognition.last_steps().summarize(["run", "recipe", "epoch"])
    accuracy = recognition.runs[["run", "epoch", "validation_accuracy"]]
    table = table.merge(accuracy, on=["run", "epoch"], how="left")
    return table, lambda: draw.lines(table, "epoch", recognition.measure, "training epoch", "validation_accuracy")


@plot
def by_step(recognition: Recognition, draw: ModuleType) -> tuple[pd.DataFrame, Callable[[], Figure]]:
    """Plot how well each recipe's dreams of the last checkpoint are recognized, step by kept step."""
    table = recognition.last_epochs().summarize(["run", "recipe", "step"])
    return table, lambda: draw.lines(table, "step", recognition.measure, "dream step")


@plot
def epoch_by_step(recognition: Recognition, draw: ModuleType) -> tuple[pd.DataFrame, Callable[[], Figure]]:
    """Plot how well dreams are recognized for each run, recipe, checkpoint and kept step."""
    table = recognition.means(["run", "recipe", "epoch", "step"])
    return table, lambda: draw.maps(table, recognition.measure)


@plot
def recipes(recognition: Recognition, draw: ModuleType) -> tuple[pd.DataFrame, Callable[[], Figure]]:
    """Plot how well each recipe's last dreams of the last checkpoint are recognized, the best first."""
    table = recognition.rank(["run", "recipe"])
    names = table["run"] + ", " + table["recipe"] if recognition.dreams["run"].nunique() > 1 else table["recipe"]
    return table, lambda: draw.bars(table, names, recognition.measure)


@plot
def classes(recognition: Recognition, draw: ModuleType) -> tuple[pd.DataFrame, Callable[[], Figure]]:
    """Plot how well each class is recognized in the last dreams of the last checkpoints, the best first."""
    table = recognition.rank(["label", "class_name"])
    return table, lambda: draw.bars(table, table["class_name"], recognition.measure)


@plot
def trajectories(recognition: Recognition, draw: ModuleType) -> tuple[pd.DataFrame, Callable[[], Figure]]:
    """Plot the dreamer's own probability through the last dreams of the last checkpoints, over all classes."""
    table = recognition.last().trajectories()
    return table, lambda: draw.lines(table, "step", "the dreamer's own probability", "dream step", band=("q25", "q75"))


@plot
def confusion(recognition: Recognition, draw: ModuleType) -> tuple[pd.DataFrame, Callable[[], Figure]]:
    """Plot which classes each class's last dreams of the last checkpoints are recognized as."""
    table = recognition.last().confusion()
    return table, lambda: draw.confusion_map(table, recognition.names)


def write_plots(results: Path, folder: Path, dreams: pd.DataFrame, runs: pd.DataFrame) -> None:
    """Write ``NAME.png`` and ``NAME.csv`` for each plot into a folder.

    `dreams` and `runs` are the tables of a study's `results`, which also has the traces of the dreams. Raises UserError
    if a trace is not whole.
    """
    from dreambirds.data.tables import write_table
    from dreambirds.figures import draw
    from dreambirds.figures.recognition import Recognition
    from dreambirds.figures.text import save_figure

    recognition = Recognition(dreams, runs, results)
    plots = {name: make(recognition, draw) for name, make in PLOTS.items()}  # all, before any is written
    folder.mkdir(parents=True, exist_ok=True)
    for name, (table, figure) in plots.items():
        write_table(table, folder / f"{name}.csv", "%.6g")
        save_figure(figure() if len(table) else draw.nothing(), folder / f"{name}.png")

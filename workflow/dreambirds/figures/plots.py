"""The plots of a study, each written as a table and as an image.

To add a plot, write a function here with the decorator `plot`. Its name in the results is the function's name with
dashes. Rules import this module for the names of the plots, so importing it loads neither pandas nor matplotlib.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from dreambirds.figures.recognition import Recognition

    # a plot takes the measurements and the module `draw`; it returns its table, and a function that draws the table
    Plot = Callable[[Recognition, ModuleType], tuple[pd.DataFrame, Callable[[], Figure]]]

PLOTS: dict[str, Plot] = {}  # in display order


def plot(function: Plot) -> Plot:
    """Register a plot under the function's name, with dashes for underscores."""
    PLOTS[function.__name__.replace("_", "-")] = function
    return function


@plot
def by_epoch(recognition: Recognition, draw: ModuleType) -> tuple[pd.DataFrame, Callable[[], Figure]]:
    """Plot recognition at each recipe's last step against the epoch, with the run's validation accuracy."""
    table = recognition.last_steps().summarize(["run_group", "recipe_group", "epoch"])
    table = table.merge(recognition.accuracies(), on=["run_group", "epoch"], how="left")
    name = recognition.probability_name
    return table, lambda: draw.lines(table, "epoch", name, "training epoch", "validation_accuracy")


@plot
def by_step(recognition: Recognition, draw: ModuleType) -> tuple[pd.DataFrame, Callable[[], Figure]]:
    """Plot recognition of each recipe's dreams of the last checkpoint against the step."""
    table = recognition.last_epochs().summarize(["run_group", "recipe_group", "step"])
    return table, lambda: draw.lines(table, "step", recognition.probability_name, "dream step")


@plot
def epoch_by_step(recognition: Recognition, draw: ModuleType) -> tuple[pd.DataFrame, Callable[[], Figure]]:
    """Plot recognition over epoch and step, for each run and recipe; their seeds are pooled."""
    table = recognition.means(["run_group", "recipe_group", "epoch", "step"])
    return table, lambda: draw.maps(table, recognition.probability_name)


@plot
def recipes(recognition: Recognition, draw: ModuleType) -> tuple[pd.DataFrame, Callable[[], Figure]]:
    """Plot recognition of each recipe's dreams, at its last step and the run's last checkpoint, best first.

    Of a recipe with several seeds, the picked dreams are summarized too, if `feature_match` picks any.
    """
    table = recognition.rank_groups()
    several = table["run_group"].nunique() > 1
    names = table["run_group"] + ", " + table["recipe_group"] if several else table["recipe_group"]
    return table, lambda: draw.bars(table, names, recognition.probability_name, recognition.top1_name)


@plot
def classes(recognition: Recognition, draw: ModuleType) -> tuple[pd.DataFrame, Callable[[], Figure]]:
    """Plot recognition of each class, in dreams of the last checkpoints at their last step, best first."""
    table = recognition.rank(["label", "class_name"])
    names = table["class_name"]
    return table, lambda: draw.bars(table, names, recognition.probability_name, recognition.top1_name)


@plot
def trajectories(recognition: Recognition, draw: ModuleType) -> tuple[pd.DataFrame, Callable[[], Figure]]:
    """Plot the dreamer's probability against the step, over all classes, in dreams of the last checkpoints."""
    from dreambirds.evaluation.columns import DISPLAY_NAMES

    table, name = recognition.last().trajectories(), DISPLAY_NAMES["dreamer_probability"]
    return table, lambda: draw.lines(table, "step", name, "dream step", band=("q25", "q75"))


@plot
def confusion(recognition: Recognition, draw: ModuleType) -> tuple[pd.DataFrame, Callable[[], Figure]]:
    """Plot the confusion matrix of the last checkpoints' dreams at their last step."""
    table = recognition.last().confusion()
    return table, lambda: draw.confusion_map(table, recognition.names)


def write_plots(folder: Path, dreams: pd.DataFrame, runs: pd.DataFrame, archives: Mapping[tuple, str]) -> None:
    """Write ``NAME.png`` and ``NAME.csv`` for each plot into a folder.

    `dreams` and `runs` are a study's tables of dreams and of checkpoints. `archives` contains the archive of the dreams
    of each (run, epoch, recipe, label). Dreams of targets that are not classes are left out. Raises UserError if an
    archive is corrupt, or a trace incomplete.
    """
    from dreambirds.data.tables import write_table
    from dreambirds.figures import draw
    from dreambirds.figures.fonts import warn_of_missing_fonts
    from dreambirds.figures.recognition import Recognition
    from dreambirds.figures.text import save_figure

    known = dreams["dreamer_probability"].notna() | dreams["judge_probability"].notna()
    recognition = Recognition(dreams[known], runs, archives)
    warn_of_missing_fonts(recognition.names.values())
    plots = {name: make(recognition, draw) for name, make in PLOTS.items()}  # raise errors before any file is written
    folder.mkdir(parents=True, exist_ok=True)
    for name, (table, figure) in plots.items():
        write_table(table, folder / f"{name}.csv", "%.6g")
        save_figure(figure() if len(table) else draw.nothing(), folder / f"{name}.png")

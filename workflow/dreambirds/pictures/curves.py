"""How training went, as a plot."""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as pyplot
import pandas as pd

from dreambirds.pictures.figure import save_figure

TRAIN, VALIDATION = "#0072b2", "#d55e00"


def plot_curves(history: pd.DataFrame, path: Path) -> None:
    """Draw loss and accuracy against the epoch, from a table with the columns of ``history.csv``."""
    matplotlib.use("agg")
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for axis, measure in zip(axes, ("loss", "accuracy"), strict=True):
        for part, colour, mark in (("train", TRAIN, "o"), ("validation", VALIDATION, "s")):
            column = history[f"{part}_{measure}"]
            label = f"{part}, as augmented" if part == "train" else part
            axis.plot(history["epoch"], column, color=colour, marker=mark, markersize=4, label=label)
        axis.set_xlabel("training epoch")
        axis.set_ylabel(measure)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[1].set_ylim(-0.02, 1.02)
    axes[0].legend(frameon=False)
    figure.suptitle(f"Run {history['run'].iloc[0]}")
    save_figure(figure, path)

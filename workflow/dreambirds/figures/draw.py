"""Plots of measurements, with a color-blind safe palette and sized to the width of a page."""

import textwrap
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("agg")

import pandas as pd
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from dreambirds.figures.fonts import shown
from dreambirds.figures.text import COLORS, DARK, GRAY, TRAIN, VALIDATION, save_figure

pyplot.style.use(Path(__file__).with_name("style.mplstyle"))

MARKS = "osD^vP*X"
BAND = 0.15
INTERVAL = ("ci_low", "ci_high")
MOST_BARS, MOST_MAPS, MOST_CLASSES, MOST_EFFECTS = 30, 6, 30, 60
WIDTH = 9.0  # inches
SHARES = (-0.02, 1.02)  # axis limits for shares and probabilities
CURVES = {"train": ("train (augmented)", TRAIN, "o"), "validation": ("validation", VALIDATION, "s")}
FOREIGN_CURVES = {
    "train": ("train (reported)", TRAIN, "o"),
    "reported": ("validation (reported)", GRAY, "^"),
    "validation": ("validation (this study's images)", VALIDATION, "s"),
}


def lines(
    table: pd.DataFrame, x: str, ylabel: str, xlabel: str, dashed: str | None = None, band: tuple[str, str] = INTERVAL
) -> Figure:
    """Plot the column ``mean`` and a band around it against the column `x`, one line per group of runs and group
    of recipes.

    `band` contains the columns with the lower and the upper edge of the band. `dashed` is a column with one value per
    group of runs and `x`, such as the validation accuracy, if any is known. If there are more lines than colors, only
    those with the highest and lowest last values are drawn.
    """
    figure, axis = pyplot.subplots(figsize=(WIDTH, 4.2))
    ends = table.groupby(["run_group", "recipe_group"], sort=False)["mean"].last()
    chosen = extremes(ends.sort_values(ascending=False), len(COLORS)).index
    drawn = [key for key in ends.index if key in chosen]
    several = table["run_group"].nunique() > 1
    for number, (run, recipe) in enumerate(drawn):
        rows = table[(table["run_group"] == run) & (table["recipe_group"] == recipe)].sort_values(x)
        name = f"{run}, {recipe}" if several else recipe
        mark = MARKS[number] if len(rows) <= 30 else None
        axis.plot(rows[x], rows["mean"], color=COLORS[number], marker=mark, markersize=5, label=name)
        axis.fill_between(rows[x], rows[band[0]], rows[band[1]], color=COLORS[number], alpha=BAND, linewidth=0)
    if dashed and table[dashed].notna().any():
        for number, (run, rows) in enumerate(table.groupby("run_group", sort=False)):
            unique = rows.drop_duplicates(x).sort_values(x)
            name = f"{run}: validation accuracy" if several else "validation accuracy"
            label = name if number < 3 else None
            axis.plot(unique[x], unique[dashed], color=GRAY, linestyle="--", linewidth=1.2, label=label)
    axis.set(xlabel=xlabel, ylabel=_with_count(ylabel, table), ylim=SHARES)
    if len(drawn) < len(ends):
        _note(axis, f"{len(drawn)} of {len(ends)} lines; the table contains all")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=9)
    return figure


def bars(table: pd.DataFrame, names: pd.Series, xlabel: str, top1_label: str) -> Figure:
    """Plot the column ``mean`` with its interval as bars, and ``top1`` as diamonds, in the table's order.

    `names` contains the name of each row. Of more than 30 rows, only the first and the last are drawn.
    """
    named = table.assign(name=names.map(shown).to_numpy())
    rows = extremes(named, MOST_BARS).iloc[::-1]
    figure, axis = pyplot.subplots(figsize=(WIDTH, 1.3 + 0.28 * len(rows)))
    errors = [(rows["mean"] - rows["ci_low"]), (rows["ci_high"] - rows["mean"])]
    errors = [error.clip(lower=0).fillna(0) for error in errors]
    places = range(len(rows))  # several rows may have the same name
    axis.barh(places, rows["mean"], xerr=errors, color=COLORS[5], ecolor=DARK, capsize=2, label=xlabel)
    axis.plot(rows["top1"], places, linestyle="", marker="D", color=COLORS[1], label=top1_label)
    axis.set(xlabel=_with_count(xlabel, table), xlim=SHARES, ylim=(-0.7, len(rows) - 0.3), yticks=places)
    axis.set_yticklabels(rows["name"])
    if len(rows) < len(named):
        _note(axis, f"best and worst only; {len(named) - len(rows)} in between omitted")
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, fontsize=9)
    return figure


def effects(table: pd.DataFrame, names: dict[str, str]) -> Figure:
    """Plot the column ``difference`` with its interval: one panel per metric, one row per comparison.

    A dashed line marks zero. `table` has the columns of a finding, and `names` contains the display names of the
    metrics. Only the first 60 rows of the table are drawn.
    """
    omitted = len(table) - MOST_EFFECTS
    table = table.head(MOST_EFFECTS)
    rows = table["vary"] + " " + table["baseline"] + " → " + table["compared"]
    rows = (rows + ("  ·  " + table["where"]).where(table["where"] != "", "")).map(_wrap)
    order, measures = list(dict.fromkeys(rows)), list(dict.fromkeys(table["measure"]))
    height = 1.2 + sum(0.2 + 0.17 * name.count("\n") for name in order) * 1.5
    figure, axes = pyplot.subplots(1, len(measures), figsize=(WIDTH, height), sharey=True, squeeze=False)
    for axis, measure in zip(axes.flat, measures, strict=True):
        of_measure = table[table["measure"] == measure]
        heights = [order.index(name) for name in rows[of_measure.index]]
        values, low, high = (of_measure[column] for column in ("difference", *INTERVAL))
        errors = [(values - low).fillna(0), (high - values).fillna(0)]
        axis.errorbar(values, heights, xerr=errors, fmt="o", color=COLORS[0], ecolor=DARK, capsize=3)
        axis.axvline(0, color=GRAY, linestyle="--", linewidth=1)
        axis.set(title=names[measure], xlabel="difference", yticks=range(len(order)), yticklabels=order)
        axis.title.set_fontsize(10)
        axis.tick_params(axis="y", labelsize=8)
        axis.locator_params(axis="x", nbins=4)
    axes.flat[0].set_ylim(len(order) - 0.5, -0.5)
    if omitted > 0:
        figure.suptitle(f"{omitted} more rows in the table", fontsize=9, color=GRAY)
    return figure


def _wrap(name: str) -> str:
    """Break a name into lines."""
    return textwrap.fill(shown(name), 46)


def maps(table: pd.DataFrame, label: str) -> Figure:
    """Plot the column ``mean`` over epoch and step as heat maps: one per group of runs and of recipes, at most six."""
    groups = list(table.groupby(["run_group", "recipe_group"], sort=False))[:MOST_MAPS]
    columns = min(3, len(groups))
    rows = -(-len(groups) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(WIDTH, 2.8 * rows), squeeze=False)
    for axis in axes.flat[len(groups) :]:
        axis.axis("off")
    for axis, ((run, recipe), group) in zip(axes.flat, groups, strict=False):
        grid = group.pivot(index="epoch", columns="step", values="mean").astype(float)
        image = _map(axis, grid, aspect="auto", origin="lower")
        axis.set_xticks(range(grid.shape[1]), grid.columns)
        axis.set_yticks(range(grid.shape[0]), grid.index)
        axis.set(title=f"{run}, {recipe}", xlabel="dream step", ylabel="training epoch")
        axis.title.set_fontsize(9)
        if grid.size <= 80:
            _write_cells(axis, grid)
    figure.colorbar(image, ax=axes, label=label, shrink=0.9)
    return figure


def confusion_map(table: pd.DataFrame, names: dict[str, str]) -> Figure:
    """Plot a confusion matrix: the share of each class's dreams that are recognized as each class.

    Of more than 30 classes, those with the lowest share of correctly recognized dreams are drawn.
    """
    correct = table[table["prediction"] == table["label"]].set_index("label")["share"]
    labels = list(dict.fromkeys(table["label"]))
    if len(labels) > MOST_CLASSES:
        labels = sorted(labels, key=lambda label: correct.get(label, 0.0))[:MOST_CLASSES]
    rows = table[table["label"].isin(labels)]
    others = rows.loc[~rows["prediction"].isin(labels), "prediction"].value_counts().index[: MOST_CLASSES // 2]
    grid = rows.pivot(index="label", columns="prediction", values="share").reindex(
        index=labels, columns=[*labels, *others]
    )
    side = 1.6 + 0.28 * len(labels)
    figure, axis = pyplot.subplots(figsize=(max(WIDTH, side + 1.5), side + 1.2))
    image = _map(axis, grid.fillna(0))
    axis.set_xticks(
        range(grid.shape[1]), [shown(names.get(label, label)) for label in grid.columns], rotation=60, ha="right"
    )
    axis.set_yticks(range(len(labels)), [shown(names.get(label, label)) for label in labels])
    axis.set(xlabel="recognized as", ylabel="class of the dream")
    figure.colorbar(image, ax=axis, label="share of dreams", shrink=0.7)
    return figure


def nothing() -> Figure:
    """Return a figure that says that there is no data."""
    figure, axis = pyplot.subplots(figsize=(6, 2), layout="none")
    axis.axis("off")
    axis.text(0.5, 0.5, "no data to plot", ha="center", va="center")
    return figure


def plot_curves(history: pd.DataFrame, path: Path) -> None:
    """Plot loss and accuracy against the epoch, from a table with the columns of ``history.csv``, into a file.

    A run that was trained elsewhere may have columns with what its own history reports of validation.
    """
    figure, axes = pyplot.subplots(1, 2, figsize=(WIDTH, 3.4))
    for axis, measure in zip(axes, ("loss", "accuracy"), strict=True):
        for part, (label, color, mark) in (FOREIGN_CURVES if "reported_loss" in history else CURVES).items():
            known = history.dropna(subset=[f"{part}_{measure}"])
            values = known[f"{part}_{measure}"]
            axis.plot(known["epoch"], values, color=color, marker=mark, markersize=4, label=label)
        axis.set(xlabel="training epoch", ylabel=measure)
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0].legend()
    axes[1].set_ylim(SHARES)
    figure.suptitle(f"Run {history['run'].iloc[0]}")
    save_figure(figure, path)


def _map(axis: Axes, grid: pd.DataFrame, **how) -> AxesImage:
    """Draw a heat map of shares, without grid lines and with all four spines."""
    axis.grid(False)
    axis.spines[:].set_visible(True)
    return axis.imshow(grid, cmap="cividis", vmin=0, vmax=1, **how)


def _write_cells(axis: Axes, grid: pd.DataFrame) -> None:
    for row, values in enumerate(grid.to_numpy()):
        for column, value in enumerate(values):
            if value == value:
                color = "white" if value < 0.55 else "black"
                axis.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7, color=color)


def _with_count(label: str, table: pd.DataFrame) -> str:
    """Return the label of an axis with the number of dreams in each mean, if the table contains it."""
    if "dreams" not in table:
        return label
    low, high = table["dreams"].min(), table["dreams"].max()
    return f"{label}, mean of {high if low == high else f'{low} to {high}'} dreams"


def _note(axis: Axes, text: str) -> None:
    axis.set_title(text, fontsize=9, color=GRAY, loc="left")


def extremes(table: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return the first and the last rows of a sorted table, at most `most` in total."""
    if len(table) <= most:
        return table
    positions = [*range((most + 1) // 2), *range(len(table) - most // 2, len(table))]
    return table.iloc[np.array(positions)]

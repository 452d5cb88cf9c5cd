"""An overview of the data set: a contact sheet, the images per class, and their sizes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib
import matplotlib.pyplot as pyplot
import numpy as np
import pandas as pd
from matplotlib.ticker import ScalarFormatter
from PIL import Image

from dreambirds.data.dataset import read_image
from dreambirds.data.tables import check_exist, read_images, read_labels, remedy, write_table
from dreambirds.figures.fonts import shown, warn_of_missing_fonts
from dreambirds.figures.text import COLORS, FAINT, INK, PAPER, fold, font, save_figure, shorten, write
from dreambirds.io import atomic_write
from dreambirds.shapes import in_proportion, shape_text

WIDTH, MAX_HEIGHT = 1700, 12_000  # of a page, in pixels; a page that would exceed the height gets wider instead
MIN_BLOCK_WIDTH = 170
GAP, MARGIN, HEAD = 3, 24, 84
NAME, NOTE = 14, 12  # font sizes
# (maximum number of classes, examples per class, longer side of an example in pixels)
LAYOUTS = ((12, 10, 144), (60, 6, 112), (250, 4, 96), (1000, 3, 80), (math.inf, 2, 64))
WIDTHS, HEIGHTS = "#0072b2", "#d55e00"  # color-blind safe
MAX_CLASSES = 1000  # on a contact sheet; image viewers refuse larger ones
MAX_NAMED = 40  # classes that a plot labels with their names
LOG_RATIO = 8  # ratio of largest to smallest size above which the axis is logarithmic
BINS = 50


@dataclass(frozen=True)
class Entry:
    """One class: its name, a note with its numbers of images, and the files of its examples."""

    name: str
    note: str
    examples: Sequence[Path]


@dataclass(frozen=True)
class Layout:
    """The layout of a contact sheet: the number of examples per class, the (height, width) of an example, the width of
    a class block, the number of lines for a class name, and the number of blocks per row."""

    examples: int
    cell: tuple[int, int]
    block: int
    lines: int
    columns: int

    @property
    def height(self) -> int:
        """The height of a class block, including the space below it."""
        return self.lines * round(NAME * 1.25) + round(NOTE * 1.7) + self.cell[0] + 18


def lay_out(entries: Sequence[Entry], shape: tuple[int, int]) -> Layout:
    """Return the layout for classes whose images have the shape (height, width); more classes get smaller blocks."""
    _, most, side = next(layout for layout in LAYOUTS if len(entries) <= layout[0])
    examples = min(most, max(len(entry.examples) for entry in entries))
    cell = in_proportion(shape, side, of=max)
    block = max(MIN_BLOCK_WIDTH, examples * (cell[1] + GAP) - GAP)
    lines = min(2, max(len(fold(entry.name, block, font(NAME, True))) for entry in entries))
    columns = max(1, min(len(entries), (WIDTH - MARGIN) // (block + MARGIN)))
    layout = Layout(examples, cell, block, lines, columns)
    rows = max(1, (MAX_HEIGHT - HEAD - MARGIN) // layout.height)
    return replace(layout, columns=max(columns, math.ceil(len(entries) / rows)))


def contact_sheet(entries: Sequence[Entry], shape: tuple[int, int], title: str, subtitle: str) -> Image.Image:
    """Return a contact sheet as one RGB image, with the classes in their order, row by row.

    `shape` is the (height, width) of the example files. The examples of a class are evenly spaced over its files.
    """
    warn_of_missing_fonts([title, subtitle, *(entry.name for entry in entries)])
    layout = lay_out(entries, shape)
    width = max(MARGIN + layout.columns * (layout.block + MARGIN), 720)
    page = Image.new("RGB", (width, HEAD + math.ceil(len(entries) / layout.columns) * layout.height + MARGIN), PAPER)
    write(page, title, (MARGIN, 14, width - MARGIN, 44), font(20, True), "left")
    write(page, subtitle, (MARGIN, 44, width - MARGIN, 72), font(13), "left", FAINT)
    for number, entry in enumerate(entries):
        row, column = divmod(number, layout.columns)
        _draw_entry(page, entry, layout, MARGIN + column * (layout.block + MARGIN), HEAD + row * layout.height)
    return page


def _draw_entry(page: Image.Image, entry: Entry, layout: Layout, left: int, top: int) -> None:
    name, height = font(NAME, True), round(NAME * 1.25)
    lines = fold(entry.name, layout.block, name)
    if len(lines) > layout.lines:
        lines = [*lines[: layout.lines - 1], shorten(" ".join(lines[layout.lines - 1 :]), layout.block, name)]
    top += (layout.lines - len(lines)) * height
    for number, line in enumerate(lines):
        y = top + number * height
        write(page, line, (left, y, left + layout.block + MARGIN, y + height), name, "left")
    top += len(lines) * height
    note = shorten(entry.note, layout.block, font(NOTE))
    write(page, note, (left, top, left + layout.block + MARGIN, top + round(NOTE * 1.5)), font(NOTE), "left", FAINT)
    top += round(NOTE * 1.7)
    for number, path in enumerate(spread(entry.examples, layout.examples)):
        small = read_image(path).resize(layout.cell[::-1], Image.Resampling.LANCZOS)
        page.paste(small, (left + number * (layout.cell[1] + GAP), top))


def spread(examples: Sequence, count: int) -> list:
    """Return at most `count` of the examples, evenly spaced from the first to the last."""
    if len(examples) <= count or count < 2:
        return list(examples[:count])
    return [examples[round(number * (len(examples) - 1) / (count - 1))] for number in range(count)]


def write_overview(folder: Path, sheet: Path, sizes: Path, classes: Path) -> None:
    """Write a contact sheet, a plot of sizes, and a table of classes for the prepared data set in `folder`.

    Raises UserError if a table of the data set is truncated or incomplete, or an image is missing.
    """
    images, labels = read_images(folder), read_labels(folder)
    kept = images[images["path"] != ""]
    check_exist(folder, (folder / path for path in kept["path"]))
    shape = read_image(folder / kept["path"].iloc[0], remedy(folder)).size[::-1]
    table = class_table(images, labels)
    examples = _examples(kept)
    entries = [
        Entry(row.class_name, _note(row), [folder / path for path in examples[row.label]])
        for row in table.itertuples(index=False)
    ]
    subtitle, every = _subtitle(table, shape), math.ceil(len(entries) / MAX_CLASSES)
    subtitle += f" · showing one in {every} classes" if every > 1 else ""
    page = contact_sheet(entries[::every], shape, "Images of each class", subtitle)
    with atomic_write(sheet) as temporary:
        page.save(temporary)
    with atomic_write(sizes) as temporary:
        plot_sizes(table, original_sizes(kept), shape, temporary)
    write_table(table, classes)


def class_table(images: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """Return one row per class: label, class_name, numbers of images, and the original widths and heights in pixels.

    `left_out` counts the files that could not be read, and `duplicates` the additional copies of images. `images` and
    `labels` are the tables of a prepared data set.
    """
    table = labels[["label", "class_name", "train", "validation"]].copy()
    kept = images[images["path"] != ""]
    for column, rows in (("left_out", images[images["path"] == ""]), ("duplicates", kept[kept["duplicate_of"] != ""])):
        table[column] = table["label"].map(rows["label"].value_counts()).fillna(0).astype(int)
    sizes = original_sizes(kept).groupby(kept["label"])
    for side in ("width", "height"):
        for prefix, statistic in (("smallest", "min"), ("median", "median"), ("largest", "max")):
            table[f"{prefix}_{side}"] = table["label"].map(sizes[side].agg(statistic))
    return table


def original_sizes(images: pd.DataFrame) -> pd.DataFrame:
    """Return the original width and height of each image in pixels."""
    return images["size"].str.split("x", expand=True).astype(int).set_axis(["width", "height"], axis="columns")


def plot_sizes(table: pd.DataFrame, sizes: pd.DataFrame, shape: tuple[int, int], path: Path) -> None:
    """Plot the number of images per class, in descending order, and the distribution of the original sizes.

    `table` has the columns of `class_table`, `sizes` those of `original_sizes`. `shape` is the (height, width) of the
    prepared images, which is marked in the plot.
    """
    matplotlib.use("agg")
    named = len(table) <= MAX_NAMED
    height, width = (1.6 + 0.25 * len(table), 10 + 0.07 * table["class_name"].str.len().max()) if named else (4.6, 11)
    with pyplot.style.context("default"):  # regardless of any style that this process has set before
        figure, axes = pyplot.subplots(1, 2, figsize=(width, max(4.6, height)), layout="constrained")
        _plot_counts(axes[0], table, named)
        _plot_distribution(axes[1], sizes, shape)
        axes[1].set_box_aspect(0.78)
        axes[1].set_anchor("N")
        for axis in axes:
            axis.spines[["top", "right"]].set_visible(False)
        save_figure(figure, path)


def _plot_counts(axis, table: pd.DataFrame, named: bool) -> None:
    ranked = table.assign(total=table["train"] + table["validation"])
    ranked = ranked.sort_values("total", ascending=False, kind="stable", ignore_index=True)
    positions, draw, offset = (ranked.index, axis.barh, "left") if named else (ranked.index + 1, axis.bar, "bottom")
    thickness = 0.8 if named else 1.0
    draw(positions, ranked["train"], thickness, color=COLORS[0], label="train")
    draw(positions, ranked["validation"], thickness, color=COLORS[4], label="validation", **{offset: ranked["train"]})
    if named:
        axis.set_yticks(positions, ranked["class_name"].map(shown), parse_math=False)
        axis.set_ylim(len(ranked) - 0.4, -0.6)
        axis.set_xlabel("images")
    else:
        axis.set_xlim(0.5, len(ranked) + 0.5)
        axis.set_xlabel("classes, by descending number of images")
        axis.set_ylabel("images")
    (axis.xaxis if named else axis.yaxis).get_major_locator().set_params(integer=True)
    most, least = ranked["total"].iloc[0], ranked["total"].iloc[-1]
    per_class = f"{most} per class" if most == least else f"{least} to {most} per class"
    _describe(axis, f"{ranked['total'].sum()} images of {len(ranked)} classes, {per_class}")


def _plot_distribution(axis, sizes: pd.DataFrame, shape: tuple[int, int]) -> None:
    low, high = min(sizes.to_numpy().min(), *shape), max(sizes.to_numpy().max(), *shape)
    logarithmic = high / low > LOG_RATIO
    edges = np.geomspace(low * 0.9, high * 1.1, BINS) if logarithmic else np.linspace(low * 0.9, high * 1.1, BINS)
    for side, color, line in (("width", WIDTHS, "-"), ("height", HEIGHTS, "--")):
        counts = [*np.histogram(sizes[side], edges)[0], 0]
        label = f"{side}, median {sizes[side].median():g}"
        axis.plot(edges, counts, drawstyle="steps-post", color=color, linestyle=line, linewidth=1.6, label=label)
    marks = {"size": shape[0]} if shape[0] == shape[1] else {"height": shape[0], "width": shape[1]}
    for line, (side, mark) in zip((":", "-."), marks.items(), strict=False):
        axis.axvline(mark, color=INK, linewidth=1.2, linestyle=line, label=f"prepared {side}, {mark}")
    if logarithmic:
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.set_ylim(bottom=0)
    axis.set_xlabel("size of the original images in pixels")
    axis.set_ylabel("images")
    axis.yaxis.get_major_locator().set_params(integer=True)
    _describe(axis, _range(sizes))


def _describe(axis, title: str) -> None:
    """Place the title and the legend above the axes, where they cover no data."""
    axis.legend(title=title, frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=9)


def _range(sizes: pd.DataFrame) -> str:
    spans = [(sizes[side].min(), sizes[side].max()) for side in ("width", "height")]
    width, height = (f"{low}" if low == high else f"{low} to {high}" for low, high in spans)
    return f"Original images: width {width}, height {height}"


def _examples(kept: pd.DataFrame) -> dict[str, list[str]]:
    """Return the image paths of each label, without duplicates unless it has nothing else."""
    everything, distinct = (
        rows.groupby("label")["path"].agg(list).to_dict() for rows in (kept, kept[kept["duplicate_of"] == ""])
    )
    return {**everything, **distinct}


def _note(row) -> str:
    more = [f"{count} {what}" for count, what in ((row.left_out, "skipped"), (row.duplicates, "duplicates")) if count]
    return ", ".join([f"{row.train} train", f"{row.validation} validation", *more])


def _subtitle(table: pd.DataFrame, shape: tuple[int, int]) -> str:
    train, validation = table["train"].sum(), table["validation"].sum()
    parts = [f"{len(table)} classes", f"{train} training images", f"{validation} validation images"]
    more = ((table["left_out"].sum(), "skipped"), (table["duplicates"].sum(), "duplicates"))
    parts += [f"{count} {what}" for count, what in more if count]
    return " · ".join([*parts, f"prepared at {shape_text(shape)}"])

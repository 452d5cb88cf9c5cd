"""An overview of the data set: a contact sheet, the images per class, and their sizes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import matplotlib.pyplot as pyplot
import numpy as np
import pandas as pd
from matplotlib.ticker import ScalarFormatter
from PIL import Image

from dreambirds.data.dataset import read_picture
from dreambirds.data.tables import check_there, read_images, read_labels, remedy, write_table
from dreambirds.figures.text import COLORS, FAINT, INK, PAPER, fold, font, save_figure, shorten, write
from dreambirds.io import atomic_write
from dreambirds.shapes import in_proportion, shape_text

WIDTH, TALLEST = 1700, 12_000  # of a page, in pixels; it is wider where it would else be taller
NARROWEST = 170
GAP, MARGIN, HEAD = 3, 24, 84
NAME, NOTE = 14, 12  # heights of type
# up to so many classes: so many examples of each, and the longer side of one in pixels
STEPS = ((12, 10, 144), (60, 6, 112), (250, 4, 96), (1000, 3, 80), (math.inf, 2, 64))
WIDTHS, HEIGHTS = "#0072b2", "#d55e00"  # told apart by all eyes
MOST = 1000  # classes that a contact sheet shows; viewers of pictures refuse larger ones
NAMED = 40  # classes that a plot can name
WIDE = 8  # from which ratio of sizes on their axis is logarithmic
BINS = 50


@dataclass(frozen=True)
class Entry:
    """One class: its name, a note on what there is of it, and its examples, as files."""

    name: str
    note: str
    examples: Sequence[Path]


@dataclass(frozen=True)
class Layout:
    """Examples a class, (height, width) of each, the width of a class, lines of its name, and classes side by side."""

    examples: int
    cell: tuple[int, int]
    block: int
    lines: int
    columns: int

    @property
    def tall(self) -> int:
        """The height of a class, with the space below it."""
        return self.lines * round(NAME * 1.25) + round(NOTE * 1.7) + self.cell[0] + 18


def lay_out(entries: Sequence[Entry], shape: tuple[int, int]) -> Layout:
    """Return how classes of pictures of (height, width) fit on a page; with more classes, each takes less of it."""
    _, most, side = next(step for step in STEPS if len(entries) <= step[0])
    examples = min(most, max(len(entry.examples) for entry in entries))
    cell = in_proportion(shape, side, of=max)
    block = max(NARROWEST, examples * (cell[1] + GAP) - GAP)
    lines = min(2, max(len(fold(entry.name, block, font(NAME, True))) for entry in entries))
    columns = max(1, min(len(entries), (WIDTH - MARGIN) // (block + MARGIN)))
    one = Layout(examples, cell, block, lines, columns)
    rows = max(1, (TALLEST - HEAD - MARGIN) // one.tall)
    return Layout(examples, cell, block, lines, max(columns, math.ceil(len(entries) / rows)))


def contact_sheet(entries: Sequence[Entry], shape: tuple[int, int], title: str, subtitle: str) -> Image.Image:
    """Return the sheet of classes, in their order from left to right, as one RGB picture.

    `shape` is (height, width) of the examples' files; every class shows some of its examples, from all over them.
    """
    layout = lay_out(entries, shape)
    width = max(MARGIN + layout.columns * (layout.block + MARGIN), 720)
    page = Image.new("RGB", (width, HEAD + math.ceil(len(entries) / layout.columns) * layout.tall + MARGIN), PAPER)
    write(page, title, (MARGIN, 14, width - MARGIN, 44), font(20, True), "left")
    write(page, subtitle, (MARGIN, 44, width - MARGIN, 72), font(13), "left", FAINT)
    for place, entry in enumerate(entries):
        row, column = divmod(place, layout.columns)
        _show(page, entry, layout, MARGIN + column * (layout.block + MARGIN), HEAD + row * layout.tall)
    return page


def _show(page: Image.Image, entry: Entry, layout: Layout, left: int, top: int) -> None:
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
        small = read_picture(path).resize(layout.cell[::-1], Image.Resampling.LANCZOS)
        page.paste(small, (left + number * (layout.cell[1] + GAP), top))


def spread(examples: Sequence, count: int) -> list:
    """Return at most `count` of the examples, evenly spread from the first to the last."""
    if len(examples) <= count or count < 2:
        return list(examples[:count])
    return [examples[round(place * (len(examples) - 1) / (count - 1))] for place in range(count)]


def write_overview(folder: Path, sheet: Path, sizes: Path, classes: Path) -> None:
    """Write a contact sheet, a plot and a table of the prepared data set in `folder`.

    Raises UserError if a table of it is not whole, or a picture is not there.
    """
    images, labels = read_images(folder), read_labels(folder)
    kept = images[images["path"] != ""]
    check_there(folder, (folder / path for path in kept["path"]))
    shape = read_picture(folder / kept["path"].iloc[0], remedy(folder)).size[::-1]
    table = class_table(images, labels)
    examples = _examples(kept)
    entries = [
        Entry(row.class_name, _note(row), [folder / path for path in examples[row.label]])
        for row in table.itertuples(index=False)
    ]
    subtitle, every = _subtitle(table, shape), math.ceil(len(entries) / MOST)
    subtitle += f", one class of {every} shown" if every > 1 else ""
    page = contact_sheet(entries[::every], shape, "What there is to learn from", subtitle)
    with atomic_write(sheet) as temporary:
        page.save(temporary)
    with atomic_write(sizes) as temporary:
        plot_sizes(table, measured(kept), shape, temporary)
    write_table(table, classes)


def class_table(images: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """Return one row per class: label, class_name, numbers of pictures, and the original widths and heights in pixels.

    `left_out` could not be read, and `duplicates` are further copies of a picture. Takes the tables of a prepared data
    set.
    """
    table = labels[["label", "class_name", "train", "validation"]].copy()
    kept = images[images["path"] != ""]
    for column, rows in (("left_out", images[images["path"] == ""]), ("duplicates", kept[kept["duplicate_of"] != ""])):
        table[column] = table["label"].map(rows["label"].value_counts()).fillna(0).astype(int)
    sizes = measured(kept).groupby(kept["label"])
    for side in ("width", "height"):
        for word, measure in (("smallest", "min"), ("median", "median"), ("largest", "max")):
            table[f"{word}_{side}"] = table["label"].map(sizes[side].agg(measure))
    return table


def measured(images: pd.DataFrame) -> pd.DataFrame:
    """Return the original width and height in pixels of each picture."""
    return images["size"].str.split("x", expand=True).astype(int).set_axis(["width", "height"], axis="columns")


def plot_sizes(table: pd.DataFrame, sizes: pd.DataFrame, shape: tuple[int, int], path: Path) -> None:
    """Draw the numbers of pictures of the classes, most first, and the original sizes, with the prepared one marked.

    `table` has the columns of `class_table`, `sizes` those of `measured`, and `shape` is the prepared (height, width).
    """
    matplotlib.use("agg")
    named = len(table) <= NAMED
    tall, wide = (1.6 + 0.25 * len(table), 10 + 0.07 * table["class_name"].str.len().max()) if named else (4.6, 11)
    with pyplot.style.context("default"):  # whatever style this process has drawn in before
        figure, axes = pyplot.subplots(1, 2, figsize=(wide, max(4.6, tall)), layout="constrained")
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
    places, draw, beside = (ranked.index, axis.barh, "left") if named else (ranked.index + 1, axis.bar, "bottom")
    thick = 0.8 if named else 1.0
    draw(places, ranked["train"], thick, color=COLORS[0], label="train")
    draw(places, ranked["validation"], thick, color=COLORS[4], label="validation", **{beside: ranked["train"]})
    if named:
        axis.set_yticks(places, ranked["class_name"])
        axis.set_ylim(len(ranked) - 0.4, -0.6)
        axis.set_xlabel("pictures")
    else:
        axis.set_xlim(0.5, len(ranked) + 0.5)
        axis.set_xlabel("classes, those with most pictures first")
        axis.set_ylabel("pictures")
    (axis.xaxis if named else axis.yaxis).get_major_locator().set_params(integer=True)
    most, least = ranked["total"].iloc[0], ranked["total"].iloc[-1]
    each = f"{most} each" if most == least else f"from {least} to {most} each"
    _describe(axis, f"{ranked['total'].sum()} pictures of {len(ranked)} classes, {each}")


def _plot_distribution(axis, sizes: pd.DataFrame, shape: tuple[int, int]) -> None:
    low, high = min(sizes.to_numpy().min(), *shape), max(sizes.to_numpy().max(), *shape)
    wide = high / low > WIDE
    edges = np.geomspace(low * 0.9, high * 1.1, BINS) if wide else np.linspace(low * 0.9, high * 1.1, BINS)
    for side, color, line in (("width", WIDTHS, "-"), ("height", HEIGHTS, "--")):
        counts = [*np.histogram(sizes[side], edges)[0], 0]
        told = f"{side}, median {sizes[side].median():g}"
        axis.plot(edges, counts, drawstyle="steps-post", color=color, linestyle=line, linewidth=1.6, label=told)
    marks = {"size": shape[0]} if shape[0] == shape[1] else {"height": shape[0], "width": shape[1]}
    for line, (side, mark) in zip((":", "-."), marks.items(), strict=False):
        axis.axvline(mark, color=INK, linewidth=1.2, linestyle=line, label=f"prepared {side}, {mark}")
    if wide:
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.set_ylim(bottom=0)
    axis.set_xlabel("pixels of the originals")
    axis.set_ylabel("pictures")
    axis.yaxis.get_major_locator().set_params(integer=True)
    _describe(axis, _range(sizes))


def _describe(axis, title: str) -> None:
    """Put the title and the legend above the axis, where they cover no data."""
    axis.legend(title=title, frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=9)


def _range(sizes: pd.DataFrame) -> str:
    spans = [(sizes[side].min(), sizes[side].max()) for side in ("width", "height")]
    told = [f"{low}" if low == high else f"{low}-{high}" for low, high in spans]
    return f"Originals: {told[0]} wide, {told[1]} high"


def _examples(kept: pd.DataFrame) -> dict[str, list[str]]:
    """Return each label's pictures, without copies unless there is nothing else."""
    everything, different = (
        rows.groupby("label")["path"].agg(list).to_dict() for rows in (kept, kept[kept["duplicate_of"] == ""])
    )
    return {**everything, **different}


def _note(row) -> str:
    more = [f"{count} {what}" for count, what in ((row.left_out, "left out"), (row.duplicates, "copies")) if count]
    return ", ".join([f"{row.train} train", f"{row.validation} validate", *more])


def _subtitle(table: pd.DataFrame, shape: tuple[int, int]) -> str:
    told = [f"{len(table)} classes", f"{table['train'].sum()} pictures train", f"{table['validation'].sum()} validate"]
    more = ((table["left_out"].sum(), "left out"), (table["duplicates"].sum(), "copies"))
    told += [f"{count} {what}" for count, what in more if count]
    return " · ".join([*told, f"prepared at {shape_text(shape)}"])

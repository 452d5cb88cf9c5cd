"""Montages: dreams in a labeled grid."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from dreambirds.data.tables import check_exist, example_images
from dreambirds.dream_job.archive import Picture, open_image
from dreambirds.dream_job.image_files import save_png
from dreambirds.evaluation.excitation_table import most_exciting, read_excitation
from dreambirds.figures.fonts import warn_of_missing_fonts
from dreambirds.figures.selection import Selection
from dreambirds.figures.text import FAINT, PAPER, font, write
from dreambirds.shapes import in_proportion

GAP = 4
FRAME, FRAMED = "#c8452f", " · framed: the smallest distance to photographs"
REAL = "dataset image"  # the heading of the column with an image of each class from the data set
EXCITING = "most exciting photograph"  # its heading if no target is a class
AXES = {"epoch": "training epoch", "step": "dream step", "recipe": "recipe"}
AXES |= {"dream_seed": "dream seed", "between": "interpolation", "weight": "weight"}


def write_montage(
    selection: Selection,
    rows: str,
    columns: str,
    cell_size: int,
    path: Path,
    dataset: Path | None = None,
    excitation: Path | None = None,
    noun: str = "class",
) -> None:
    """Write a montage of the selected dreams as a PNG.

    It has one row per value of the table's column `rows`, and one column per value of `columns`. `noun` is what a label
    is called in the title: a class, or another target. `cell_size` is in pixels. If `dataset`, the folder of the
    prepared data set, is given, `rows` must be ``label``, and a last column shows an image of each class from the data
    set, and for each target in the table `excitation` the photograph that excites it most. There is no such column if
    it would be empty. In a montage of dream seeds, the picked dream of each class has a frame.
    """
    grid = selection.grid(rows, columns)
    cells = grid.to_numpy().tolist()
    names = [selection.name_of(columns, value) for value in grid.columns]
    if dataset is not None:
        heading, examples = list_examples(list(grid.index), dataset, excitation)
        cells = (
            [[*row, examples.get(label)] for row, label in zip(cells, grid.index, strict=True)] if examples else cells
        )
        names += [heading] if examples else []
    title = title_of(rows, columns, noun)
    row_names = [selection.name_of(rows, value) for value in grid.index]
    picked = selection.picked(rows, columns)
    framed = {(grid.index.get_loc(row), grid.columns.get_loc(column)) for row, column in picked}
    subtitle = f"{selection.describe()}{FRAMED if framed else ''}"
    page = Grid(cells, row_names, names, title, subtitle, framed)
    save_png(montage(page, cell_size), path, title, selection.facts())


def title_of(rows: str, columns: str, noun: str = "class") -> str:
    """Return the title of a montage with these columns of the table as its axes; `noun` is what a label is called."""
    axes = {**AXES, "label": noun}
    return f"{axes[rows]} by {axes[columns]}".capitalize()


def list_examples(labels: Sequence[str], dataset: Path, excitation: Path | None) -> tuple[str, dict[str, Path]]:
    """Return the heading of a column of photographs, and the photograph of each label that has one.

    It is an image of a class, or that which excites a target most according to the table `excitation`. Raises UserError
    if the data set or the table is incomplete.
    """
    classes = example_images(dataset)
    exciting = most_exciting(read_excitation(excitation), dataset) if excitation else {}
    check_exist(dataset, exciting.values())
    found = {label: file for label, file in (classes | exciting).items() if label in labels}
    return REAL if classes.keys() & found.keys() else EXCITING, found


@dataclass(frozen=True)
class Captioned:
    """An image with a line of text over its lower edge."""

    image: Picture | Path
    text: str = ""


@dataclass(frozen=True)
class Grid:
    """The content of a montage: images as a list of rows, None for a blank cell; names of rows and columns.

    `framed` contains the (row, column) of each cell with a frame.
    """

    cells: Sequence[Sequence[Picture | Path | Captioned | None]]
    rows: Sequence[str]
    columns: Sequence[str]
    title: str
    subtitle: str
    framed: Collection[tuple[int, int]] = ()


def montage(grid: Grid, cell: int) -> Image.Image:
    """Draw the grid as one RGB image.

    Cells are `cell` pixels wide and high, and the font size scales with them. Images keep their aspect ratio.
    """
    captions = (each.text for row in grid.cells for each in row if isinstance(each, Captioned))
    warn_of_missing_fonts([grid.title, grid.subtitle, *grid.rows, *grid.columns, *captions])
    font_size = max(11, cell // 9)
    margin, head = cell // 4, round(font_size * 5.2)
    stub = max(cell, round(min(2.2 * cell, max(font(font_size).getlength(name) for name in grid.rows) + 4 * GAP)))
    width = stub + len(grid.columns) * (cell + GAP) + margin
    height = head + round(font_size * 2.8) + len(grid.rows) * (cell + GAP) + margin
    lines = (font(round(font_size * 1.3), True).getlength(grid.title), font(font_size).getlength(grid.subtitle))
    width = max(width, math.ceil(max(lines)) + 2 * margin)
    page = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(page)
    edge = width - margin
    write(
        page,
        grid.title,
        (margin, margin // 2, edge, margin // 2 + font_size * 2),
        font(round(font_size * 1.3), True),
        "left",
    )
    write(
        page, grid.subtitle, (margin, font_size * 3, edge, font_size * 4 + margin // 2), font(font_size), "left", FAINT
    )
    top = head + round(font_size * 2.8)
    for number, name in enumerate(grid.columns):
        left = stub + number * (cell + GAP)
        write(page, name, (left, head, left + cell, top - GAP), font(font_size), "middle")
    for number, name in enumerate(grid.rows):
        y = top + number * (cell + GAP)
        write(page, name, (GAP, y, stub - 2 * GAP, y + cell), font(font_size), "right")
        for column, source in enumerate(grid.cells[number]):
            left = stub + column * (cell + GAP)
            page.paste(load_cell(source, cell), (left, y))
            if (number, column) in grid.framed:
                draw.rectangle((left - 2, y - 2, left + cell + 1, y + cell + 1), outline=FRAME, width=3)
    return page


def load_cell(source: Picture | Path | Captioned | None, cell: int) -> Image.Image:
    """Return an image as RGB, scaled to fit cell x cell pixels and centered on the background color.

    A square image fills the cell. If `source` is None, the cell is blank.
    """
    page = Image.new("RGB", (cell, cell), PAPER)
    if source is None:
        return page
    if isinstance(source, Captioned):
        page = load_cell(source.image, cell)
        if source.text:
            size = max(9, cell // 8)
            strip = (0, cell - round(1.5 * size), cell, cell)
            page.paste(PAPER, strip)
            write(page, source.text, strip, font(size), "middle")
        return page
    image = open_image(source)
    width, height = in_proportion(image.size, cell, of=max)
    fitted = image.resize((width, height), Image.Resampling.LANCZOS)
    page.paste(fitted, ((cell - width) // 2, (cell - height) // 2))
    return page

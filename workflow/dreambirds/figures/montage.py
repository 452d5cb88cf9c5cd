"""Montages: dreams in a labeled grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from dreambirds.data.tables import example_images
from dreambirds.dream_job.archive import Picture, open_image
from dreambirds.dream_job.image_files import save_png
from dreambirds.figures.selection import Selection
from dreambirds.figures.text import FAINT, PAPER, font, write
from dreambirds.shapes import in_proportion

GAP = 4
REAL = "dataset image"  # the heading of the column with an image of each class from the data set
AXES = {"label": "class", "epoch": "training epoch", "step": "dream step", "recipe": "recipe"}


def write_montage(
    selection: Selection, rows: str, columns: str, cell_size: int, path: Path, dataset: Path | None = None
) -> None:
    """Write a montage of the selected dreams as a PNG.

    It has one row per value of the table's column `rows`, and one column per value of `columns`. `cell_size` is in
    pixels. If `dataset`, the folder of the prepared data set, is given, `rows` must be ``label``, and a last column
    shows an image of each class from the data set.
    """
    grid = selection.grid(rows, columns)
    cells = grid.to_numpy().tolist()
    names = [selection.name_of(columns, value) for value in grid.columns]
    if dataset is not None:
        examples = example_images(dataset)
        cells = [[*row, examples[label]] for row, label in zip(cells, grid.index, strict=True)]
        names.append(REAL)
    title = f"{AXES[rows]} by {AXES[columns]}".capitalize()
    row_names = [selection.name_of(rows, value) for value in grid.index]
    page = Grid(cells, row_names, names, title, selection.describe())
    save_png(montage(page, cell_size), path, title, selection.facts())


@dataclass(frozen=True)
class Grid:
    """The content of a montage: images as a list of rows, None for a blank cell; names of rows and columns."""

    cells: Sequence[Sequence[Picture | Path | None]]
    rows: Sequence[str]
    columns: Sequence[str]
    title: str
    subtitle: str


def montage(grid: Grid, cell: int) -> Image.Image:
    """Draw the grid as one RGB image.

    Cells are `cell` pixels wide and high, and the font size scales with them. Images keep their aspect ratio.
    """
    font_size = max(11, cell // 9)
    margin, head = cell // 4, round(font_size * 5.2)
    stub = max(cell, round(min(2.2 * cell, max(font(font_size).getlength(name) for name in grid.rows) + 4 * GAP)))
    width = stub + len(grid.columns) * (cell + GAP) + margin
    height = head + round(font_size * 2.8) + len(grid.rows) * (cell + GAP) + margin
    width = max(width, round(font(round(font_size * 1.3), True).getlength(grid.title)) + 2 * margin)
    page = Image.new("RGB", (width, height), PAPER)
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
            page.paste(load_cell(source, cell), (stub + column * (cell + GAP), y))
    return page


def load_cell(source: Picture | Path | None, cell: int) -> Image.Image:
    """Return an image as RGB, scaled to fit cell x cell pixels and centered on the background color.

    A square image fills the cell. If `source` is None, the cell is blank.
    """
    page = Image.new("RGB", (cell, cell), PAPER)
    if source is None:
        return page
    image = open_image(source)
    width, height = in_proportion(image.size, cell, of=max)
    fitted = image.resize((width, height), Image.Resampling.LANCZOS)
    page.paste(fitted, ((cell - width) // 2, (cell - height) // 2))
    return page

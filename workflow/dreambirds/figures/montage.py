"""Montages: dreams side by side in a labelled grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from dreambirds.data.dataset import read_picture
from dreambirds.data.tables import example_pictures
from dreambirds.dream_job.image_files import save_png
from dreambirds.figures.selection import Selection
from dreambirds.figures.text import FAINT, PAPER, font, write
from dreambirds.shapes import in_proportion

GAP = 4
REAL = "learnt from"  # the title of the column of real pictures
AXES = {"label": "class", "epoch": "training epoch", "step": "dream step", "recipe": "recipe"}


def write_montage(
    selection: Selection, rows: str, columns: str, cell_size: int, path: Path, dataset: Path | None = None
) -> None:
    """Write the montage of selected dreams as a PNG, one row and one column for each value of two columns.

    `cell_size` is in pixels. With `dataset`, the folder of the prepared data set, a last column shows a real picture of
    each class; then rows must be labels.
    """
    grid = selection.grid(rows, columns)
    cells = grid.to_numpy().tolist()
    names = [selection.name_of(columns, value) for value in grid.columns]
    if dataset is not None:
        examples = example_pictures(dataset)
        cells = [[*row, examples[label]] for row, label in zip(cells, grid.index, strict=True)]
        names.append(REAL)
    title = f"{AXES[rows]} by {AXES[columns]}".capitalize()
    row_names = [selection.name_of(rows, value) for value in grid.index]
    page = Grid(cells, row_names, names, title, selection.describe())
    save_png(montage(page, cell_size), path, title, selection.facts())


@dataclass(frozen=True)
class Grid:
    """What a montage shows: `cells` is a list of rows of paths, None for a blank cell; rows and columns are named."""

    cells: Sequence[Sequence[Path | None]]
    rows: Sequence[str]
    columns: Sequence[str]
    title: str
    subtitle: str


def montage(grid: Grid, cell: int) -> Image.Image:
    """Return the grid as one RGB picture, each cell `cell` pixels wide and high, with type that scales along.

    Pictures keep their proportions within their cells.
    """
    letters = max(11, cell // 9)
    margin, head = cell // 4, round(letters * 5.2)
    stub = max(cell, round(min(2.2 * cell, max(font(letters).getlength(name) for name in grid.rows) + 4 * GAP)))
    width = stub + len(grid.columns) * (cell + GAP) + margin
    height = head + round(letters * 2.8) + len(grid.rows) * (cell + GAP) + margin
    width = max(width, round(font(round(letters * 1.3), True).getlength(grid.title)) + 2 * margin)
    page = Image.new("RGB", (width, height), PAPER)
    edge = width - margin
    write(
        page,
        grid.title,
        (margin, margin // 2, edge, margin // 2 + letters * 2),
        font(round(letters * 1.3), True),
        "left",
    )
    write(page, grid.subtitle, (margin, letters * 3, edge, letters * 4 + margin // 2), font(letters), "left", FAINT)
    top = head + round(letters * 2.8)
    for number, name in enumerate(grid.columns):
        left = stub + number * (cell + GAP)
        write(page, name, (left, head, left + cell, top - GAP), font(letters), "middle")
    for number, name in enumerate(grid.rows):
        y = top + number * (cell + GAP)
        write(page, name, (GAP, y, stub - 2 * GAP, y + cell), font(letters), "right")
        for column, path in enumerate(grid.cells[number]):
            page.paste(load_cell(path, cell), (stub + column * (cell + GAP), y))
    return page


def load_cell(path: Path | None, cell: int) -> Image.Image:
    """Return a picture as RGB at cell x cell pixels: a square fills them, any other lies in the middle of the paper;
    without a path there is paper only."""
    page = Image.new("RGB", (cell, cell), PAPER)
    if path is None:
        return page
    picture = read_picture(path)
    width, height = in_proportion(picture.size, cell, of=max)
    fitted = picture.resize((width, height), Image.Resampling.LANCZOS)
    page.paste(fitted, ((cell - width) // 2, (cell - height) // 2))
    return page

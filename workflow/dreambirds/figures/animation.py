"""Animations of dreams over epochs, steps or the weights of interpolations, as GIF files."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image

from dreambirds.dream_job.archive import Picture
from dreambirds.dream_job.image_files import as_text, save_gif
from dreambirds.figures.fonts import warn_of_missing_fonts
from dreambirds.figures.montage import GAP, load_cell
from dreambirds.figures.selection import PAIR, WEIGHT, Selection
from dreambirds.figures.text import FAINT, PAPER, fold, font, write


def write_film(selection: Selection, over: str, cell_size: int, frame_duration: float, path: Path) -> None:
    """Write an animation of the selected dreams as a GIF: one frame per value of the column `over`.

    Each frame shows all classes of the selection. Over the ``weight`` of interpolations it shows all pairs, each at its
    nearest weight, and returns from the last weight to the first, so that it repeats without a jump. `cell_size` is in
    pixels, `frame_duration` in seconds.
    """
    cells = PAIR if over == WEIGHT else "label"
    grid = selection.grid(over, cells)
    names = [selection.name_of(cells, value) for value in grid.columns]
    captions = [selection.name_of(over, value) for value in grid.index]
    pictures = at_nearest_weights(grid) if over == WEIGHT else grid.to_numpy().tolist()
    frames = film(Film(pictures, captions, names, selection.describe()), cell_size)
    if over == WEIGHT:
        frames += frames[-2:0:-1]
    save_gif(frames, path, frame_duration, as_text(selection.facts()), hold=over != WEIGHT)


def at_nearest_weights(grid: pd.DataFrame) -> list[list[Picture]]:
    """Return the images of each weight, one per pair: that of the nearest weight that the pair has.

    The rows of `grid` are weights, its columns are pairs, and a cell is None if there is no such dream.
    """
    known = [cells[cells.notna()] for _, cells in grid.items()]
    return [[cells.iloc[abs(cells.index - weight).argmin()] for cells in known] for weight in grid.index]


@dataclass(frozen=True)
class Film:
    """The content of an animation.

    Each frame has a caption, and a list with one image per name; None leaves the cell blank.
    """

    frames: Sequence[Sequence[Picture | Path | None]]
    captions: Sequence[str]
    names: Sequence[str]
    title: str


def film(content: Film, cell: int) -> list[Image.Image]:
    """Return the frames as RGB images of the same size, each with its caption, a progress bar, and the dreams.

    `cell` is the width and height of a dream in pixels.
    """
    warn_of_missing_fonts([content.title, *content.names, *content.captions])
    font_size = max(11, cell // 9)
    columns = math.ceil(math.sqrt(len(content.names) * 2)) if len(content.names) > 1 else 1
    rows = math.ceil(len(content.names) / columns)
    width, line, middle = columns * (cell + GAP) + GAP, round(font_size * 1.25), round(font_size * 1.7)
    head = 2 * middle + line * (len(fold(content.title, width - 3 * GAP, font(font_size))) - 1)
    foot = max(round(font_size * 2.4), line * max(len(fold(name, cell, font(font_size))) for name in content.names))
    size = (width, head + rows * (cell + foot))
    frames = []
    for number, (pictures, caption) in enumerate(zip(content.frames, content.captions, strict=True)):
        page = Image.new("RGB", size, PAPER)
        write(page, caption, (GAP * 2, 2, size[0], middle + 2), font(round(font_size * 1.2), True), "left")
        write(page, content.title, (GAP * 2, middle, size[0] - GAP, head - 4), font(font_size), "left", FAINT)
        done = round((size[0] - 2 * GAP) * (number + 1) / len(content.frames))
        page.paste("#c8452f", (GAP, head - 4, GAP + done, head - 2))
        for index, (picture, name) in enumerate(zip(pictures, content.names, strict=True)):
            left, top = GAP + index % columns * (cell + GAP), head + index // columns * (cell + foot)
            page.paste(load_cell(picture, cell), (left, top))
            write(page, name, (left, top + cell, left + cell, top + cell + foot), font(font_size), "middle")
        frames.append(page)
    return frames

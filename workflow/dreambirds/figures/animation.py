"""Animations of dreams over epochs or steps, as GIF files."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from dreambirds.dream_job.archive import Picture
from dreambirds.dream_job.image_files import as_text, save_gif
from dreambirds.figures.montage import GAP, load_cell
from dreambirds.figures.selection import Selection
from dreambirds.figures.text import FAINT, PAPER, font, write


def write_film(selection: Selection, over: str, cell_size: int, frame_duration: float, path: Path) -> None:
    """Write an animation of the selected dreams as a GIF: one frame per value of the column `over`.

    Each frame shows all classes of the selection. `cell_size` is in pixels, `frame_duration` in seconds.
    """
    grid = selection.grid(over, "label")
    labels = [selection.name_of("label", label) for label in grid.columns]
    captions = [selection.name_of(over, value) for value in grid.index]
    content = Film(grid.to_numpy().tolist(), captions, labels, selection.describe())
    save_gif(film(content, cell_size), path, frame_duration, as_text(selection.facts()))


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
    font_size = max(11, cell // 9)
    columns = math.ceil(math.sqrt(len(content.names) * 2)) if len(content.names) > 1 else 1
    rows = math.ceil(len(content.names) / columns)
    head, foot = round(font_size * 3.4), round(font_size * 2.4)
    size = (columns * (cell + GAP) + GAP, head + rows * (cell + foot))
    frames = []
    for number, (pictures, caption) in enumerate(zip(content.frames, content.captions, strict=True)):
        page = Image.new("RGB", size, PAPER)
        write(page, caption, (GAP * 2, 2, size[0], head // 2 + 2), font(round(font_size * 1.2), True), "left")
        write(page, content.title, (GAP * 2, head // 2, size[0] - GAP, head - 4), font(font_size), "left", FAINT)
        done = round((size[0] - 2 * GAP) * (number + 1) / len(content.frames))
        page.paste("#c8452f", (GAP, head - 4, GAP + done, head - 2))
        for index, (picture, name) in enumerate(zip(pictures, content.names, strict=True)):
            left, top = GAP + index % columns * (cell + GAP), head + index // columns * (cell + foot)
            page.paste(load_cell(picture, cell), (left, top))
            write(page, name, (left, top + cell, left + cell, top + cell + foot), font(font_size), "middle")
        frames.append(page)
    return frames

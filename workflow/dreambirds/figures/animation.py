"""Animations of dreams over epochs and steps, as GIF files."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from dreambirds.dream_job.image_files import as_text, save_gif
from dreambirds.figures.montage import GAP, load_cell
from dreambirds.figures.selection import Selection
from dreambirds.figures.text import FAINT, PAPER, font, write


def write_film(selection: Selection, over: str, cell_size: int, frame_duration: float, path: Path) -> None:
    """Write the film of selected dreams as a GIF: all their classes at once, one frame for each value of a column.

    `cell_size` is in pixels, `frame_duration` in seconds.
    """
    grid = selection.grid(over, "label")
    labels = [selection.name_of("label", label) for label in grid.columns]
    moments = [selection.name_of(over, value) for value in grid.index]
    script = Film(grid.to_numpy().tolist(), moments, labels, selection.describe())
    save_gif(film(script, cell_size), path, frame_duration, as_text(selection.facts()))


@dataclass(frozen=True)
class Film:
    """What a film shows: a frame for each of `moments`, which holds a path for each of `names`, None for a blank."""

    frames: Sequence[Sequence[Path | None]]
    moments: Sequence[str]
    names: Sequence[str]
    title: str


def film(script: Film, cell: int) -> list[Image.Image]:
    """Return the frames as RGB pictures of one size: a caption, a bar that tells how far we are, and the pictures."""
    letters = max(11, cell // 9)
    across = math.ceil(math.sqrt(len(script.names) * 2)) if len(script.names) > 1 else 1
    down = math.ceil(len(script.names) / across)
    head, foot = round(letters * 3.4), round(letters * 2.4)
    size = (across * (cell + GAP) + GAP, head + down * (cell + foot))
    frames = []
    for number, (paths, moment) in enumerate(zip(script.frames, script.moments, strict=True)):
        page = Image.new("RGB", size, PAPER)
        write(page, moment, (GAP * 2, 2, size[0], head // 2 + 2), font(round(letters * 1.2), True), "left")
        write(page, script.title, (GAP * 2, head // 2, size[0] - GAP, head - 4), font(letters), "left", FAINT)
        done = round((size[0] - 2 * GAP) * (number + 1) / len(script.frames))
        page.paste("#c8452f", (GAP, head - 4, GAP + done, head - 2))
        for place, (path, name) in enumerate(zip(paths, script.names, strict=True)):
            left, top = GAP + place % across * (cell + GAP), head + place // across * (cell + foot)
            page.paste(load_cell(path, cell), (left, top))
            write(page, name, (left, top + cell, left + cell, top + cell + foot), font(letters), "middle")
        frames.append(page)
    return frames

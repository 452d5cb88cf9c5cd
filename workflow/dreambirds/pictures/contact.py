"""A contact sheet: every class with its name, what there is of it, and a row of examples."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from dreambirds.data.pictures import read_picture
from dreambirds.data.shapes import in_proportion
from dreambirds.pictures.lettering import FAINT, PAPER, fold, font, shorten, write

WIDTH, TALLEST = 1700, 12_000  # of a page, in pixels; it is wider where it would else be taller
NARROWEST = 170
GAP, MARGIN, HEAD = 3, 24, 84
NAME, NOTE = 14, 12  # heights of type
# up to so many classes: so many examples of each, and the longer side of one in pixels
STEPS = ((12, 10, 144), (60, 6, 112), (250, 4, 96), (1000, 3, 80), (math.inf, 2, 64))


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

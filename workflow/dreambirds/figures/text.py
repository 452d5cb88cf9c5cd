"""Fonts and colors of figures, and writing figures to files. Plots use the color-blind safe palette of Okabe and
Ito."""

from functools import cache
from pathlib import Path

import matplotlib
from matplotlib import pyplot
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from dreambirds.io import atomic_write

PAPER = "#faf8f4"
INK = "#22262b"
FAINT = "#6b7078"
COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7f7f7f"]
TRAIN, VALIDATION = COLORS[:2]
DARK, GRAY = "#333333", "#555555"  # error bars; dashed lines and notes
DPI = 110


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return the font at a size of `size` pixels."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), size)


def fold(text: str, width: int, face: ImageFont.FreeTypeFont) -> list[str]:
    """Break a text into lines of at most `width` pixels; a word that is wider than a line is shortened."""
    lines: list[str] = []
    for word in text.split():
        if lines and face.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(shorten(word, width, face))
    return lines


def write(page: Image.Image, text: str, box: tuple[int, int, int, int], face, align: str, fill: str = INK) -> None:
    """Write text into a box (left, top, right, bottom), wrapped and vertically centered.

    `align` is ``left``, ``right``, or ``middle``.
    """
    left, top, right, bottom = box
    lines = fold(text, right - left, face)
    height = round(face.size * 1.25)
    x, anchor = {"left": (left, "lm"), "right": (right, "rm"), "middle": ((left + right) / 2, "mm")}[align]
    y = (top + bottom) / 2 - (len(lines) - 1) * height / 2
    draw = ImageDraw.Draw(page)
    for number, line in enumerate(lines):
        draw.text((x, y + number * height), line, font=face, fill=fill, anchor=anchor)


def shorten(text: str, width: int, face: ImageFont.FreeTypeFont) -> str:
    """Return a text unchanged if it fits into `width` pixels, otherwise its beginning and an ellipsis."""
    if face.getlength(text) <= width:
        return text
    while len(text) > 1 and face.getlength(f"{text.rstrip()}…") > width:
        text = text[:-1]
    return f"{text.rstrip()}…"


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure atomically, and close it."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=DPI, metadata={"Software": "Dreaming of Birds"})
    pyplot.close(figure)

"""Fonts and colors of figures, and writing figures to files. Plots use the color-blind safe palette of Okabe and
Ito."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image, ImageDraw, ImageFont

from dreambirds.figures.fonts import Font, default_font, families, runs
from dreambirds.io import atomic_write

PAPER = "#faf8f4"
INK = "#22262b"
FAINT = "#6b7078"
COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7f7f7f"]
TRAIN, VALIDATION = COLORS[:2]
DARK, GRAY = "#333333", "#555555"  # error bars; dashed lines and notes
DPI = 110


@dataclass(frozen=True)
class Face:
    """The fonts of a text: DejaVu at a size of `size` pixels, and other fonts for characters that it does not have.

    Characters that no font has are written in ASCII.
    """

    size: int
    bold: bool = False

    def getlength(self, text: str) -> float:
        """Return the width of a text in pixels."""
        return sum(_open(part, self.size).getlength(inside) for part, inside in runs(text, self.bold))

    def draw(self, draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, fill: str, anchor: str) -> None:
        """Draw a text at a point. `anchor` is ``lm``, ``mm`` or ``rm``: where the point is in the text."""
        parts, own = runs(text, self.bold), _open(default_font(self.bold), self.size)
        if len(parts) == 1 and parts[0][0] == default_font(self.bold):
            draw.text(at, parts[0][1], font=own, fill=fill, anchor=anchor)
            return
        ascent, descent = own.getmetrics()
        x = at[0] - self.getlength(text) * {"l": 0, "m": 0.5, "r": 1}[anchor[0]]
        for part, inside in parts:  # on one baseline
            other = _open(part, self.size)
            draw.text((x, at[1] + (ascent - descent) / 2), inside, font=other, fill=fill, anchor="ls")
            x += other.getlength(inside)


@cache
def font(size: int, bold: bool = False) -> Face:
    """Return the fonts at a size of `size` pixels."""
    return Face(size, bold)


@cache
def _open(part: Font, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(part.path, size, index=part.index)


def fold(text: str, width: int, face: Face) -> list[str]:
    """Break a text into lines of at most `width` pixels; a word that is wider than a line is shortened."""
    lines: list[str] = []
    for word in text.split():
        if lines and face.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(shorten(word, width, face))
    return lines


def write(
    page: Image.Image, text: str, box: tuple[int, int, int, int], face: Face, align: str, fill: str = INK
) -> None:
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
        face.draw(draw, (x, y + number * height), line, fill, anchor)


def shorten(text: str, width: int, face: Face) -> str:
    """Return a text unchanged if it fits into `width` pixels, otherwise its beginning and an ellipsis."""
    if face.getlength(text) <= width:
        return text
    while len(text) > 1 and face.getlength(f"{text.rstrip()}…") > width:
        text = text[:-1]
    return f"{text.rstrip()}…"


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure atomically, with fonts for all of its characters, and close it."""
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        axis.get_ticklabels()  # sets their texts
    for text in figure.findobj(Text):
        if len(named := families(text.get_text())) > 1:
            text.set_fontfamily(named)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=DPI, metadata={"Software": "Dreaming of Birds"})
    pyplot.close(figure)

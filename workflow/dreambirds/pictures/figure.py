"""Figures as files."""

from pathlib import Path

from matplotlib import pyplot
from matplotlib.figure import Figure

from dreambirds.data.files import atomically

DPI = 110


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all, and close it."""
    with atomically(path) as temporary:
        figure.savefig(temporary, dpi=DPI, metadata={"Software": "Dreaming of Birds"})
    pyplot.close(figure)

"""Montages that show, next to each dream, the photographs that excite its target most."""

from pathlib import Path

import pandas as pd

from dreambirds.data.tables import check_exist
from dreambirds.dream_job.image_files import save_png
from dreambirds.evaluation.excitation_table import LISTED
from dreambirds.figures.montage import Captioned, Grid, montage
from dreambirds.figures.selection import Selection

TITLE = "Photographs that excite each target most"
CAPTIONS = "below each image: the activation of the target"
COLUMNS = ["dream", "most exciting photograph", *(f"number {rank}" for rank in range(2, LISTED + 1))]


def write_exciting(selection: Selection, table: pd.DataFrame, dataset: Path, cell_size: int, path: Path) -> None:
    """Write a montage of the selected dreams, one per target, and of the photographs that excite the target most.

    The number below each image is the activation of the target, which the dream maximizes. `table` is that of
    `read_excitation`, `dataset` the folder of the prepared data set, and `cell_size` is in pixels. Raises UserError if
    an image cannot be read.
    """
    check_exist(dataset, (dataset / each for each in table["path"].unique()))
    photographs = {label: list_captioned(rows, dataset) for label, rows in table.groupby("label")}
    labels, dreams = list(selection.dreams["label"]), selection.dreams
    cells = [
        [Captioned(dream, caption(activation)), *photographs[label]]
        for label, dream, activation in zip(labels, dreams["picture"], dreams["logit"], strict=True)
    ]
    step = selection.name_of("step", dreams["step"].iloc[0])
    names = [selection.name_of("label", label) for label in labels]
    page = Grid(cells, names, COLUMNS, TITLE, f"{selection.describe()} · {step} · {CAPTIONS}")
    exciting = {
        label: dict(zip(rows["path"], rows["activation"], strict=True)) for label, rows in table.groupby("label")
    }
    save_png(montage(page, cell_size), path, TITLE, {**selection.facts(), "exciting": exciting})


def list_captioned(rows: pd.DataFrame, dataset: Path) -> list[Captioned | None]:
    """Return the photographs of a target with their activations, and None for each that is missing of `LISTED`."""
    files = zip(rows["path"], rows["activation"], strict=True)
    cells: list[Captioned | None] = [Captioned(dataset / file, caption(activation)) for file, activation in files]
    return cells + [None] * (LISTED - len(cells))


def caption(activation: float) -> str:
    """Return an activation with three significant digits; empty if it is unknown."""
    return f"{activation:.3g}" if activation == activation else ""

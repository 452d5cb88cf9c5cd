"""Montages that show, next to each dream, the training photographs that it is nearest to."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from dreambirds.data.tables import read_table
from dreambirds.dream_job.archive import Picture
from dreambirds.dream_job.image_files import save_png
from dreambirds.evaluation.nearest import LISTED, read_held_out
from dreambirds.figures.montage import Captioned, Grid, montage
from dreambirds.figures.selection import Selection
from dreambirds.plan.dream_table import DREAM

TITLE = "Nearest training photographs"
COLUMNS = ["dream", "nearest", "second", "third", "held-out photograph", "its nearest"]
Cell = Captioned | Picture | None


def write_nearest(
    selection: Selection,
    tables: Sequence[Path],
    held_out: Path,
    judge: str | None,
    dataset: Path,
    cell_size: int,
    path: Path,
) -> None:
    """Write a montage of the selected dreams, one per class, and of the photographs nearest to them, as a PNG.

    Each row ends with the measure: the held-out photograph of the class whose distance from its nearest training
    photograph is closest to the median, and that photograph. `tables` are those of the `judge`, or of aligned pixels if
    it is None, and `held_out` has the distances of held-out photographs. `dataset` is the folder of the prepared data
    set, and `cell_size` is in pixels. Raises UserError if a file cannot be read.
    """
    column = "nearest_pixels" if judge is None else "nearest"
    found = list_nearest(tables, column, selection)
    measures = dict(list(read_held_out(held_out).groupby("label")))
    cells = [
        [picture, *_photographs(found.get(label, {}), dataset), *_measure(measures.get(label), dataset)]
        for label, picture in zip(selection.dreams["label"], selection.dreams["picture"], strict=True)
    ]
    names = [selection.name_of("label", label) for label in selection.dreams["label"]]
    kind = "distances of aligned pixels" if judge is None else f"distances in the features of judge {judge}"
    step = selection.name_of("step", selection.dreams["step"].iloc[0])
    page = Grid(cells, names, COLUMNS, TITLE, f"{selection.describe()} · {step} · {kind}")
    facts = {**selection.facts(), "judge": judge, "nearest": found}
    save_png(montage(page, cell_size), path, TITLE, facts)


def list_nearest(tables: Sequence[Path], column: str, selection: Selection) -> dict[str, dict[str, float]]:
    """Return the distance of each photograph in a column of `tables`, by the label of the selected dream and the path.

    Dreams without such photographs are omitted, as are those that a judge does not know.
    """
    required = pd.DataFrame(columns=[*DREAM, "view", column])
    rows = pd.concat([read_table(path, rows=required) for path in tables])
    rows = rows[(rows["view"] == selection.shared["view"]) & (rows[column] != "")]
    rows = rows.merge(selection.dreams[["label", "step"]], on=["label", "step"])
    return {label: json.loads(text) for label, text in zip(rows["label"], rows[column], strict=True)}


def _photographs(found: Mapping[str, float], dataset: Path) -> list[Cell]:
    cells: list[Cell] = [Captioned(dataset / file, f"{distance:.3f}") for file, distance in found.items()]
    return cells + [None] * (LISTED - len(cells))


def _measure(held_out: pd.DataFrame | None, dataset: Path) -> list[Cell]:
    """Return the held-out photograph with the most typical distance, and the photograph nearest to it."""
    if held_out is None:
        return [None, None]
    distances = held_out["distance"]
    row = held_out.loc[(distances - distances.median()).abs().idxmin()]
    return [Captioned(dataset / row["path"]), Captioned(dataset / row["nearest"], f"{row['distance']:.3f}")]

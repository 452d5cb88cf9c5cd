"""The photographs that excite targets most, on the gallery's page: small grids of them, and their classes."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from dreambirds.data.tables import check_exist, read_label_names
from dreambirds.dream_job.archive import open_image
from dreambirds.evaluation.excitation_table import read_excitation
from dreambirds.gallery.data import cell_shape
from dreambirds.plan.paths import epoch_name

SHOWN, WIDE = 4, 2  # photographs of a target, and of a row of their grid
FOLDER = "pictures/exciting"


class ExcitingGrid(NamedTuple):
    """A grid of photographs: its path relative to the gallery, its rows, and the (height, width) of its cells."""

    name: str
    cells: list[list[Path]]
    shape: tuple[int, int]


def read_shown(excitation: Sequence[Path]) -> pd.DataFrame:
    """Return the rows of the photographs that the page shows, of the tables of several checkpoints.

    Raises UserError if a table cannot be read.
    """
    tables = [read_excitation(path) for path in excitation]
    return pd.concat([table[table["rank"] <= SHOWN] for table in tables], ignore_index=True)


def exciting_grids(shown: pd.DataFrame, dataset: Path) -> Iterator[ExcitingGrid]:
    """Yield the grid of photographs of each target and checkpoint. Raises UserError if a prepared image is missing."""
    check_exist(dataset, (dataset / path for path in shown["path"].unique()))
    width, height = open_image(dataset / shown["path"].iloc[0]).size
    for (run, epoch, label), rows in shown.groupby(["run", "epoch", "label"], sort=False):
        files = [dataset / path for path in rows["path"]]
        cells = [files[first : first + WIDE] for first in range(0, len(files), WIDE)]
        yield ExcitingGrid(f"{FOLDER}/{run}/{epoch_name(epoch)}/{label}.png", cells, cell_shape((height, width)))


def exciting_facts(shown: pd.DataFrame, dataset: Path) -> dict[str, Any]:
    """Return the page's data of these photographs, ready for JSON.

    ``exciting`` contains, by ``run/epoch-0004`` and the label of a target, the indices of their classes among
    ``classNames``.
    """
    names = {label.label: label.name for label in read_label_names(dataset)}
    index = {label: position for position, label in enumerate(names)}
    found: dict[str, dict[str, list[int]]] = {}
    for (run, epoch, label), rows in shown.groupby(["run", "epoch", "label"], sort=False):
        classes = [index[each] for each in rows["photograph_label"]]
        found.setdefault(f"{run}/{epoch_name(epoch)}", {})[label] = classes
    return {"exciting": found, "classNames": list(names.values())}

"""The table of the photographs that excite units of a layer most. Imports no torch."""

from pathlib import Path

import pandas as pd

from dreambirds.data.tables import read_table

LISTED = 9  # photographs of each target
COLUMNS = ["run", "epoch", "label", "rank", "path", "split", "photograph_label", "activation"]
TEXT = ("run", "label", "path", "split", "photograph_label")


def read_excitation(path: Path) -> pd.DataFrame:
    """Return the table of a checkpoint, with the columns `COLUMNS`: photographs in descending order for each target.

    The `label` is that of the target, the `photograph_label` that of the photograph's class, and the `path` is relative
    to the folder of the prepared data set. Raises UserError if the table cannot be read, or is not complete.
    """
    return read_table(path, TEXT, rows=pd.DataFrame(columns=COLUMNS))


def most_exciting(table: pd.DataFrame, dataset: Path) -> dict[str, Path]:
    """Return the photograph that excites each target most, by label; `dataset` is the prepared data set's folder."""
    first = table[table["rank"] == 1]
    return {label: dataset / path for label, path in zip(first["label"], first["path"], strict=True)}

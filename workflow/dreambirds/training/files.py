"""The files of a checkpoint."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dreambirds.data.tables import read_table
from dreambirds.errors import TRAIN_AGAIN


@dataclass(frozen=True)
class Files:
    """The files of one checkpoint: weights, the optimiser's state, and the history since the checkpoint before."""

    weights: Path
    state: Path
    history: Path

    @classmethod
    def inside(cls, folder: Path) -> "Files":
        """Return files in a folder that holds one checkpoint only."""
        return cls(folder / "weights.safetensors", folder / "state.safetensors", folder / "history.csv")


def read_history(path: Path, epoch: float) -> pd.DataFrame:
    """Return the history of a checkpoint's epochs. Raises StudyError if it can't be read or does not reach `epoch`."""
    return read_table(path, rows=pd.DataFrame({"epoch": [epoch]}), end=TRAIN_AGAIN)

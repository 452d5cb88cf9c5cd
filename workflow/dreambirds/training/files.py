"""The files of a checkpoint."""

from dataclasses import dataclass
from pathlib import Path


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

"""Find the histories that other trainers write next to their checkpoints. Imports no pandas."""

from contextlib import suppress
from pathlib import Path

from dreambirds.io import is_file

TIMM, LIGHTNING, TRANSFORMERS, OURS = "summary.csv", "metrics.csv", "trainer_state.json", "history.csv"
NAMES = (TRANSFORMERS, TIMM, LIGHTNING, OURS)
HEADER = 10_000  # bytes in which the first line of a table must end


def find_history(checkpoint: Path) -> Path | None:
    """Return the history of the training that wrote a checkpoint, a file or a folder; None if there is none.

    It is in the checkpoint's folder, which may be the checkpoint itself, or in the folder above. A table of this name
    without a column of epochs is not a history.
    """
    near = checkpoint if checkpoint.is_dir() else checkpoint.parent
    above = near.parent if near.name.strip(".") else near.resolve().parent
    for folder in (near, above):
        found = [folder / name for name in NAMES if is_file(folder / name) and _may_be_history(folder / name)]
        if found:
            return found[0]
    return None


def _may_be_history(path: Path) -> bool:
    if path.suffix == ".json":
        return True
    with suppress(OSError), path.open("rb") as file:
        return b"epoch" in file.readline(HEADER).lower()
    return True  # reading it reports why it cannot be read

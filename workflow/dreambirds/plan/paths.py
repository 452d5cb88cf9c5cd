"""Where every result lies: names in paths, and paths from names."""

from pathlib import Path
from typing import Any

from dreambirds.config import VIEWS
from dreambirds.shapes import shape_name

# next to a checkpoint's weights and config, which `dreambirds.models` names
STATE_FILE, HISTORY_FILE, SUBMISSION_FILE = "training_state.safetensors", "history.csv", "submission.csv"


def epoch_text(epoch: float | str) -> str:
    """Return an epoch as paths have it: ``0004``, or ``0000.25``; a text, which may be a wildcard, stays as it is."""
    return epoch if isinstance(epoch, str) else f"{epoch:09.4f}".rstrip("0").rstrip(".")


def epoch_name(epoch: float | str) -> str:
    """Return ``epoch-0004``, or ``epoch-0000.25``."""
    return f"epoch-{epoch_text(epoch)}"


def checkpoint_folder(study: str, run: str, epoch: float | str) -> str:
    """Return the folder of a checkpoint."""
    return f"results/{study}/runs/{run}/{epoch_name(epoch)}"


def prepared_folder(study: str, shape: tuple[int, int], trained: tuple[int, int]) -> str:
    """Return the folder of a study's data set, prepared at a (height, width) in pixels: that of training is the data
    set's own."""
    dataset = f"results/{study}/dataset"
    return dataset if shape == trained else f"{dataset}/canvas-{shape_name(shape)}"


def step_name(step: int) -> str:
    """Return ``step-0200``."""
    return f"step-{step:04d}"


def dream_folder(root: Path, run: str, epoch: float | str, recipe: str) -> Path:
    """Return the folder of all dreams of one (run, epoch, recipe) below the folder ``dreams`` of a study's results."""
    return root / run / epoch_name(epoch) / recipe


def job_folder(study: str, run: str, epoch: float | str, recipe: str) -> str:
    """Return that folder of a study."""
    return str(dream_folder(Path("results", study, "dreams"), run, epoch, recipe))


def index_name(part: str) -> str:
    """Return the table of a job's images in its folder; `part` is ``-003`` for a job of some of the labels, else
    empty."""
    return f"dreams{part}.csv"


def picture_name(label: str, step: int, view: str = "raw") -> str:
    """Return where in that folder one picture lies."""
    return f"{label}/{step_name(step)}{VIEWS[view]}.png"


def trace_name(label: str) -> str:
    """Return where in that folder the trace of one dream lies."""
    return f"{label}/trace.csv"


def film_name(label: str) -> str:
    """Return where in that folder the film of one dream lies."""
    return f"{label}/film.gif"


def picture_path(root: Path, dream: Any, view: str = "raw") -> Path:
    """Return the picture of one row of the table of dreams below the folder ``dreams`` of a study's results."""
    return dream_folder(root, dream.run, dream.epoch, dream.recipe) / picture_name(dream.label, dream.step, view)

"""Paths of all results, and the format of names in paths."""

from pathlib import Path
from typing import Any

from dreambirds.config import VIEWS
from dreambirds.shapes import shape_name

CHECKED = "checked.json"  # measurements of a study's models, in its folder
# next to a checkpoint's weights and config, whose names are in `dreambirds.models`
STATE_FILE, HISTORY_FILE, SUBMISSION_FILE = "training_state.safetensors", "history.csv", "submission.csv"


def epoch_text(epoch: float | str) -> str:
    """Return an epoch formatted for paths: ``0004``, or ``0000.25``.

    A string, such as a wildcard, is returned unchanged.
    """
    return epoch if isinstance(epoch, str) else f"{epoch:09.4f}".rstrip("0").rstrip(".")


def epoch_name(epoch: float | str) -> str:
    """Return ``epoch-0004``, or ``epoch-0000.25``."""
    return f"epoch-{epoch_text(epoch)}"


def checkpoint_folder(study: str, run: str, epoch: float | str) -> str:
    """Return the folder of a checkpoint."""
    return f"results/{study}/runs/{run}/{epoch_name(epoch)}"


def prepared_folder(study: str, shape: tuple[int, int], trained: tuple[int, int]) -> str:
    """Return the folder of the data set, prepared at a (height, width) in pixels.

    The shape `trained`, which models are trained on, has no separate folder.
    """
    dataset = f"results/{study}/dataset"
    return dataset if shape == trained else f"{dataset}/canvas-{shape_name(shape)}"


def step_name(step: int) -> str:
    """Return ``step-0200``."""
    return f"step-{step:04d}"


def dream_folder(root: Path, run: str, epoch: float | str, recipe: str) -> Path:
    """Return the folder of the dreams of a (run, epoch, recipe).

    `root` is the folder ``dreams`` of a study's results.
    """
    return root / run / epoch_name(epoch) / recipe


def archive_path(study: str, run: str, epoch: float | str, recipe: str, part: str) -> str:
    """Return the archive of a dream job of a study.

    `part` is ``-003`` for a job with some of the labels, else empty.
    """
    return str(dream_folder(Path("results", study, "dreams"), run, epoch, recipe) / f"dreams{part}.zip")


def picture_name(label: str, step: int, view: str = "raw") -> str:
    """Return the path of an image in the archive and in the folder of its dream job."""
    return f"{label}/{step_name(step)}{VIEWS[view]}.png"


def trace_name(label: str) -> str:
    """Return the path of a dream's trace in the archive of its dream job."""
    return f"{label}/trace.csv"


def film_name(label: str) -> str:
    """Return the path of a dream's film in the archive of its dream job."""
    return f"{label}/film.gif"


def picture_path(root: Path, dream: Any, view: str = "raw") -> Path:
    """Return the path of the image of a row of the table of dreams.

    `root` is the folder ``dreams`` of a study's results.
    """
    return dream_folder(root, dream.run, dream.epoch, dream.recipe) / picture_name(dream.label, dream.step, view)

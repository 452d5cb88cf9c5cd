"""Where every result lies: names in paths, and paths from names."""

from typing import Any

from dreambirds.config.contrasts import VIEWS


def epoch_text(epoch: float) -> str:
    """Return an epoch as paths hold it: ``0004``, or ``0000.25``."""
    return f"{epoch:09.4f}".rstrip("0").rstrip(".")


def epoch_name(epoch: float) -> str:
    """Return ``epoch-0004``, or ``epoch-0000.25``."""
    return f"epoch-{epoch_text(epoch)}"


def step_name(step: int) -> str:
    """Return ``step-0200``."""
    return f"step-{step:04d}"


def job_folder(study: str, run: str, epoch: float | str, recipe: str) -> str:
    """Return the folder of all dreams of one (run, epoch, recipe); `epoch` may be a wildcard that stands for 0004."""
    number = epoch if isinstance(epoch, str) else epoch_text(epoch)
    return f"results/{study}/dreams/{run}/epoch-{number}/{recipe}"


def index_name(part: int | None) -> str:
    """Return the table of a job's pictures in its folder; a job of one part of the labels has one of its own."""
    return "dreams.csv" if part is None else f"dreams-{part:03d}.csv"


def picture_name(label: str, step: int, view: str = "raw") -> str:
    """Return where in that folder one picture lies."""
    return f"{label}/{step_name(step)}{VIEWS[view]}.png"


def trace_name(label: str) -> str:
    """Return where in that folder the trace of one dream lies."""
    return f"{label}/trace.csv"


def film_name(label: str) -> str:
    """Return where in that folder the film of one dream lies."""
    return f"{label}/film.gif"


def picture_path(study: str, dream: Any, view: str = "raw") -> str:
    """Return the picture of one row of the table of dreams."""
    folder = job_folder(study, dream.run, dream.epoch, dream.recipe)
    return f"{folder}/{picture_name(dream.label, dream.step, view)}"

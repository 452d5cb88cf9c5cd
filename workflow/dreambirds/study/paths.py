"""Where every result lies: names in paths, and paths from names."""

VIEWS = {"raw": "", "rescaled": "-rescaled"}


def epoch_name(epoch: int) -> str:
    """Return ``epoch-0004``."""
    return f"epoch-{epoch:04d}"


def step_name(step: int) -> str:
    """Return ``step-0200``."""
    return f"step-{step:04d}"


def job_folder(study: str, run: str, epoch: int | str, recipe: str) -> str:
    """Return the folder of all dreams of one (run, epoch, recipe); `epoch` may be a wildcard that stands for 0004."""
    number = f"{epoch:04d}" if isinstance(epoch, int) else epoch
    return f"results/{study}/dreams/{run}/epoch-{number}/{recipe}"


def picture_name(label: str, step: int, view: str = "raw") -> str:
    """Return where in that folder one picture lies."""
    return f"{label}/{step_name(step)}{VIEWS[view]}.png"


def trace_name(label: str) -> str:
    """Return where in that folder the trace of one dream lies."""
    return f"{label}/trace.csv"


def film_name(label: str) -> str:
    """Return where in that folder the film of one dream lies."""
    return f"{label}/film.gif"


def picture_path(study: str, dream, view: str = "raw") -> str:
    """Return the picture of one row of the table of dreams."""
    folder = job_folder(study, dream.run, dream.epoch, dream.recipe)
    return f"{folder}/{picture_name(dream.label, dream.step, view)}"

"""One file of one dream, asked for by its name."""

from pathlib import Path

from dreambirds.errors import StudyError
from dreambirds.study.paths import index_name, job_folder
from dreambirds.study.plan import Plan


def job_if_there(plan: Plan, run: str, epoch: str, recipe: str, label: str, file: str) -> list[str]:
    """Return the table of the job that the dream belongs to, if it has run: then its pictures must be those of now.

    Raises StudyError if the study makes no such file.
    """
    steps_of(plan, run, epoch, recipe, label, file)
    folder = job_folder(plan.study, run, epoch, recipe)
    tables = [f"{folder}/{index_name(part)}" for part, names in plan.parts.items() if label in names]
    return [table for table in tables if Path(table).exists()]


def steps_of(plan: Plan, run: str, epoch: str, recipe: str, label: str, file: str) -> tuple[int, ...] | None:
    """Return the step that a picture of this name shows, None for a trace or film, which need them all.

    Raises StudyError if the study makes no such file.
    """
    step = {"step": file.split("-")[1].removesuffix(".png")} if file.startswith("step-") else {}
    rows = plan.select(run=run, epoch=epoch, recipe=recipe, label=label, **step)
    if file == "film.gif" and plan.recipes[recipe]["film_every"] is None:
        raise StudyError(f"dreams.recipes.{recipe}: there are films only where film_every is set")
    return tuple(int(number) for number in rows["step"]) if step else None

"""Inputs of the montages that show the training photographs nearest to each dream."""

from dreambirds.errors import UserError
from dreambirds.plan import inputs
from dreambirds.plan.paths import epoch_text
from dreambirds.plan.plan import Plan


def judge_of(plan: Plan, run: str, recipe: str) -> str | None:
    """Return the first judge that evaluates a run's dreams of a recipe with a network, or None."""
    networks = [judge for judge in plan.judges if not inputs.answers(plan, judge)]
    return next((judge for judge in networks if inputs.is_judged(plan, judge, run, recipe)), None)


def nearest_tables(plan: Plan, run: str, epoch: str, recipe: str, **_: str) -> list[str]:
    """Return the tables with the photographs nearest to the dreams of a (run, epoch, recipe).

    They are those of the judge, or of aligned pixels if no network judges these dreams. The arguments are formatted as
    in paths. Raises UserError if the study has no such dreams, or no photographs.
    """
    if not plan.photographs:
        raise UserError(
            f"the study '{plan.study}' has no photographs ('dataset.source: none'); request another montage"
        )
    plan.check_dreamer(run, epoch, recipe)
    jobs = [job for job in plan.dream_jobs if (job.run, epoch_text(job.epoch), job.recipe) == (run, epoch, recipe)]
    judge = judge_of(plan, run, recipe)
    return inputs.pixel_tables(plan, jobs) if judge is None else inputs.judged_tables(plan, judge, jobs)


def held_out_table(plan: Plan, run: str, recipe: str, **_: str) -> str:
    """Return the table of the distances of held-out photographs that these tables are compared with."""
    judge = judge_of(plan, run, recipe)
    return f"results/{plan.study}/{'dataset' if judge is None else f'judged/{judge}'}/held_out.csv"

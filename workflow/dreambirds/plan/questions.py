"""Inputs and parameters of the jobs that answer a study's questions."""

from dataclasses import asdict
from typing import Any

from dreambirds.config.checkpoints import given_checkpoints
from dreambirds.config.questions import question_config
from dreambirds.errors import UserError
from dreambirds.plan import inputs
from dreambirds.plan.paths import HISTORY_FILE, archive_path, checkpoint_folder
from dreambirds.plan.plan import DreamPart, Plan

NETWORK = ("model", "weights", "checkpoints")  # keys of a run that the page of a question shows


def dream_jobs(plan: Plan, question: str) -> list[DreamPart]:
    """Return the dream jobs that a question looks at, in the order of the study."""
    epochs = plan.questions[question].epochs
    return [job for job in plan.dream_jobs if job.epoch in epochs.get(job.run, {}).get(job.recipe, ())]


def archives(plan: Plan, question: str) -> list[str]:
    """Return the archives of the dreams that a question looks at."""
    return [archive_path(plan.study, *job) for job in dream_jobs(plan, question)]


def histories(plan: Plan, question: str) -> list[str]:
    """Return the training history of each run, up to the last epoch that a question looks at."""
    last = {run: max(map(max, recipes.values())) for run, recipes in plan.questions[question].epochs.items()}
    return [f"{checkpoint_folder(plan.study, run, epoch)}/{HISTORY_FILE}" for run, epoch in last.items()]


def judges(plan: Plan, question: str) -> dict[str, dict[str, list[str]]]:
    """Return the recipes of a question that each judge evaluates, by judge and run, without those that have none."""
    found: dict[str, dict[str, list[str]]] = {}
    for judge in plan.judges:
        for run, recipes in plan.questions[question].epochs.items():
            judged = [recipe for recipe in recipes if inputs.is_judged(plan, judge, run, recipe)]
            if judged:
                found.setdefault(judge, {})[run] = judged
    return found


def measured(plan: Plan, question: str) -> dict[str, list[str]]:
    """Return what a question needs of what is measured of its dreams, by kind."""
    return inputs.measured(plan, judges(plan, question), dream_jobs(plan, question))


def asked(plan: Plan, question: str) -> dict[str, Any]:
    """Return a question and the part of the study that it looks at, as JSON data."""
    section = plan.questions[question]
    return {
        **asdict(section),
        "name": question,
        "config": question_config(plan.config, plan.grids, question, section, plan.committees),
        "networks": {run: _network(plan, run) for run in section.epochs},
        "names": plan.names,
        "learnt": len(plan.labels),
    }


def _network(plan: Plan, run: str) -> dict[str, Any]:
    """Return the keys of a run that the page shows, with `checkpoints` for each run that the study does not train."""
    keys = plan.config["runs"][run]
    given = given_checkpoints(keys)[1] if run in plan.foreign else None
    return {**{key: keys.get(key) for key in NETWORK}, "checkpoints": given}


def study_facts(plan: Plan, question: str) -> dict[str, Any]:
    """Return the facts that the tables of a question's dreams need, as JSON data."""
    section = plan.questions[question]
    return inputs.study_facts(plan, section.epochs, section.recipes, judges(plan, question))


def findings(plan: Plan) -> list[str]:
    """Return the table of each question. Raises UserError if the study has no questions."""
    if not plan.questions:
        problem = f"the study '{plan.study}' asks no question, so it has no findings"
        raise UserError(f"questions: {problem}; add one, or use config/findings.yaml")
    return [f"results/{plan.study}/findings/{question}/finding.csv" for question in plan.questions]

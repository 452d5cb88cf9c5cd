"""Values that rules pass from a plan to jobs, for tests without Snakemake."""

from pathlib import Path

import pandas as pd

from dreambirds.config.contrasts import DreamQuery
from dreambirds.evaluation.columns import list_views, read_dreams
from dreambirds.evaluation.contrasts import compute_contrasts
from dreambirds.evaluation.tables import Measured, StudyFacts, measure_dreams, write_tables
from dreambirds.gallery.data import GalleryStudy
from dreambirds.gallery.findings import Asked, write_finding
from dreambirds.plan import inputs, questions
from dreambirds.plan.dream_table import dream_table
from dreambirds.plan.paths import index_name
from dreambirds.plan.plan import Plan


def gallery_study(plan: Plan) -> GalleryStudy:
    """Return the values that the gallery needs of a study."""
    shapes = {recipe: plan.shape(recipe) for recipe in plan.recipes}
    return GalleryStudy(plan.study, plan.dreaming_epochs, plan.recipes, shapes, plan.names)


def job_tables(plan: Plan) -> dict[str, list[str]]:
    """Return the labels of each table in the folder of a (run, epoch, recipe)."""
    return {index_name(part): list(labels) for part, labels in plan.parts.items()}


def dreams_of(plan: Plan, results: Path) -> pd.DataFrame:
    """Return the contents of the dream jobs' tables."""
    return read_dreams(dream_frame(plan.dreams), results / "dreams", job_tables(plan))


def views_of(plan: Plan, results: Path) -> pd.DataFrame:
    """Return the views of all dreams."""
    families = {name: inputs.family_of(recipe) for name, recipe in plan.recipes.items()}
    return list_views(dreams_of(plan, results), results / "dreams", families)


def write_all_tables(plan: Plan, results: Path, judged: list[Path], checks: list[Path], paths: dict[str, Path]) -> None:
    """Write the four tables of results."""
    models = {run: keys["model"] for run, keys in plan.config["runs"].items()}
    runs = {judge: inputs.judged_runs(plan, judge) for judge in plan.judges}
    study = StudyFacts(plan.recipes, plan.names, models, runs)
    measured = measure_dreams(plan.dreams, study, results, job_tables(plan), judged, checks, "code")
    write_tables(measured, models, results, paths)


def contrasts_of(plan: Plan, dreams: pd.DataFrame, name: str = "q") -> pd.DataFrame:
    """Return the contrasts of a question."""
    question = plan.questions[name]
    query = DreamQuery(question.origins, question.recipes, question.epochs, plan.names)
    return compute_contrasts(question.comparisons, query, dreams)


def measure_of(plan: Plan, results: Path, name: str) -> Measured:
    """Return the measured dreams of a question of a finished study."""
    question = plan.questions[name]
    steps = {recipe: keys["steps"] for recipe, keys in question.recipes.items()}
    judged, checks = ([Path(file) for file in list_of(plan, name)] for list_of in (questions.judged, questions.checks))
    facts = StudyFacts(**questions.study_facts(plan, name))
    table = dream_table(question.epochs, steps, plan.names)
    return measure_dreams(table, facts, results, job_tables(plan), judged, checks, "code")


def write_finding_of(plan: Plan, measured: Measured, results: Path, name: str, folder: Path) -> None:
    """Write the answer to a question."""
    config, facts = plan.config, questions.asked(plan, name) | {"comparisons": plan.questions[name].comparisons}
    files = {"page": "index.html", "table": "finding.csv", "montage": "montage.png", "effects": "effects.png"}
    write_finding(
        Asked(**facts),
        measured,
        [Path(file) for file in questions.histories(plan, name)],
        results / "dataset",
        {key: folder / file for key, file in files.items()},
        config["montage"]["cell_size"],
        config["pictures"]["view"],
    )

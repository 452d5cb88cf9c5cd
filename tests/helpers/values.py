"""Values that rules pass from a plan to jobs, for tests without Snakemake."""

from pathlib import Path

import pandas as pd

from dreambirds.evaluation.columns import list_views, read_dreams
from dreambirds.evaluation.contrasts import compute_contrasts
from dreambirds.evaluation.dream_frame import dream_frame
from dreambirds.evaluation.tables import StudyFacts, write_tables
from dreambirds.gallery.data import GalleryStudy
from dreambirds.gallery.findings import write_finding
from dreambirds.plan import inputs
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
    write_tables(dream_frame(plan.dreams), study, results, job_tables(plan), judged, checks, "code", paths)


def contrasts_of(plan: Plan, dreams: pd.DataFrame) -> pd.DataFrame:
    """Return the contrasts of a study's experiment."""
    return compute_contrasts(plan.comparisons, plan.config["dreams"]["recipes"], plan.recipes, dreams)


def write_finding_of(plan: Plan, results: Path, folder: Path) -> None:
    """Write the page of a study's experiment."""
    write_finding(
        plan.config,
        plan.comparisons,
        plan.recipes,
        plan.dreaming_epochs,
        plan.names,
        len(plan.labels),
        results=results,
        folder=folder,
    )

"""Values that rules pass from a plan to jobs, for tests without Snakemake."""

from pathlib import Path

import pandas as pd

from dreambirds.dream_job.archive import read_dreams
from dreambirds.evaluation.columns import list_views, read_dreams_and_runs
from dreambirds.evaluation.contrasts import compute_contrasts
from dreambirds.evaluation.tables import JudgeFiles, StudyFacts, write_tables
from dreambirds.figures.plots import write_plots
from dreambirds.gallery.data import GalleryStudy
from dreambirds.gallery.findings import write_finding
from dreambirds.gallery.gallery import write_gallery
from dreambirds.plan import inputs
from dreambirds.plan.plan import Plan


def gallery_study(plan: Plan) -> GalleryStudy:
    """Return the values that the gallery needs of a study."""
    shapes = {recipe: plan.shape(recipe) for recipe in plan.recipes}
    return GalleryStudy(plan.study, plan.recipes, shapes, plan.names)


def dreams_of(plan: Plan) -> pd.DataFrame:
    """Return the tables of the study's archives."""
    return read_dreams(plan.archives())


def views_of(plan: Plan) -> pd.DataFrame:
    """Return the views of all dreams."""
    return list_views(dreams_of(plan))


def tables_of(results: Path, dreams: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables of dreams and of checkpoints of a study."""
    return read_dreams_and_runs(results / "dreams.csv", results / "runs.csv", dreams)


def write_gallery_of(plan: Plan, archives: list[Path | str], results: Path, folder: Path) -> None:
    """Write the gallery of a study."""
    dreams = read_dreams(archives)
    write_gallery(gallery_study(plan), dreams, *tables_of(results, dreams), results / "dataset", folder)


def write_plots_of(plan: Plan, results: Path, folder: Path) -> None:
    """Write the plots of a study."""
    dreams = dreams_of(plan)
    archives = dreams.set_index(["run", "epoch", "recipe", "label"])["archive"].to_dict()
    write_plots(folder, *tables_of(results, dreams), archives)


def write_all_tables(plan: Plan, results: Path, paths: dict[str, Path]) -> None:
    """Write the four tables of results."""
    models = {run: keys["model"] for run, keys in plan.config["runs"].items()}
    runs = {judge: inputs.judged_runs(plan, judge) for judge in plan.judges}
    checkpoints = inputs.checkpoints(plan)
    write_tables(
        StudyFacts(plan.recipes, plan.names, models, runs),
        list(map(Path, plan.archives())),
        JudgeFiles(*(list(map(Path, files)) for files in inputs.judged(plan).values())),
        [(Path(model), Path(history)) for model, history in zip(*checkpoints.values(), strict=True)],
        results / "dataset",
        "code",
        paths,
    )


def contrasts_of(plan: Plan, dreams: pd.DataFrame) -> pd.DataFrame:
    """Return the contrasts of a study's experiment."""
    return compute_contrasts(plan.comparisons, plan.config["dreams"]["recipes"], plan.recipes, dreams)


def write_finding_of(plan: Plan, results: Path, folder: Path) -> None:
    """Write the page of a study's experiment."""
    write_finding(
        plan.config,
        plan.comparisons,
        plan.recipes,
        list(map(Path, plan.archives())),
        plan.names,
        len(plan.labels),
        results=results,
        folder=folder,
    )

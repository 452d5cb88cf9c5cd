"""Values that rules pass from a plan to jobs, for tests without Snakemake."""

from dataclasses import asdict
from pathlib import Path

import pandas as pd

from dreambirds.config.contrasts import DreamQuery
from dreambirds.dream_job.archive import read_dreams
from dreambirds.evaluation.columns import list_views, read_dreams_and_runs
from dreambirds.evaluation.contrasts import compute_contrasts
from dreambirds.evaluation.tables import JudgeFiles, Measured, StudyFacts, measure_dreams, write_tables
from dreambirds.figures.plots import write_plots
from dreambirds.gallery.data import GalleryStudy
from dreambirds.gallery.findings import Asked, write_finding
from dreambirds.gallery.gallery import write_gallery
from dreambirds.plan import inputs, questions
from dreambirds.plan.excitation import tables
from dreambirds.plan.plan import Plan


def gallery_study(plan: Plan) -> GalleryStudy:
    """Return the values that the gallery needs of a study."""
    shapes = {recipe: plan.shape(recipe) for recipe in plan.recipes}
    points = ({name: asdict(point) for name, point in each.items()} for each in (plan.run_points, plan.recipe_points))
    return GalleryStudy(plan.study, plan.recipes, shapes, plan.names, *points, targets=list(plan.targets))


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
    excitation = [Path(table) for table in tables(plan)]
    write_gallery(gallery_study(plan), dreams, *tables_of(results, dreams), results / "dataset", folder, excitation)


def write_plots_of(plan: Plan, results: Path, folder: Path) -> None:
    """Write the plots of a study."""
    dreams = dreams_of(plan)
    archives = dreams.set_index(["run", "epoch", "recipe", "label"])["archive"].to_dict()
    write_plots(folder, *tables_of(results, dreams), archives)


def write_all_tables(plan: Plan, results: Path, paths: dict[str, Path]) -> None:
    """Write the four tables of results."""
    judged = {judge: inputs.judged_recipes(plan, judge) for judge in plan.judges}
    study = StudyFacts(**inputs.study_facts(plan, plan.config["runs"], plan.recipes, judged))
    measured = measured_of(study, plan.archives(), inputs.measured(plan, plan.judges, plan.dream_jobs))
    checkpoints = zip(*inputs.checkpoints(plan).values(), strict=True)
    write_tables(measured, study.models, [(Path(model), Path(history)) for model, history in checkpoints], paths)


def query_of(plan: Plan, name: str = "q") -> DreamQuery:
    """Return the selection of a question's dreams."""
    question = plan.questions[name]
    return DreamQuery(question.origins, question.recipes, question.epochs, plan.names, question.runs)


def contrasts_of(plan: Plan, dreams: pd.DataFrame, name: str = "q") -> pd.DataFrame:
    """Return the contrasts of a question."""
    return compute_contrasts(plan.questions[name].comparisons, query_of(plan, name), dreams)


def measure_of(plan: Plan, name: str) -> Measured:
    """Return the measured dreams of a question of a finished study."""
    facts, files = StudyFacts(**questions.study_facts(plan, name)), questions.measured(plan, name)
    return measured_of(facts, questions.archives(plan, name), files)


def measured_of(study: StudyFacts, archives: list[str], files: dict[str, list[str]]) -> Measured:
    """Return the measured dreams of archives; `files` contains the names of what was measured, by kind."""
    paths = {kind: [Path(file) for file in names] for kind, names in files.items()}
    judges = JudgeFiles(paths["judged"], paths["features"], paths["checks"])
    return measure_dreams(study, list(map(Path, archives)), paths["pixels"], judges)


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

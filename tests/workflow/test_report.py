"""Snakemake's report of a tiny study: contents, labels, and no reruns."""

import re

import pytest

from dreambirds.plan import targets
from dreambirds.plan.plan import make_plan
from tests.helpers.reports import read_report


@pytest.fixture(scope="module")
def study(reported_study, tmp_path_factory):
    """Return the tiny study and its report."""
    return reported_study.copy(tmp_path_factory.mktemp("report") / "study")


def test_all_figures_are_in_the_report_by_category(study):
    plan = make_plan(study.config)
    categories, results = read_report(study)
    assert set(categories) >= {"training", "dreams", "montages", "films", "findings"}
    paths = {name: {path for paths in parts.values() for path in paths} for name, parts in categories.items()}
    assert paths["montages"] == set(targets.montages(plan)) and paths["films"] == set(targets.films(plan))
    assert len(paths["dreams"]) == 6 and all(path.endswith("/step-0003-rescaled.png") for path in paths["dreams"])
    overview = {path for path in targets.overview(plan) if path.endswith(".png")}
    assert paths["training"] == overview | set(targets.curves(plan))
    assert "results/tiny/compare.html" in paths["findings"]
    assert set(results) == set().union(*paths.values())


def test_results_are_labeled_by_what_they_show(study):
    _, results = read_report(study)
    by_name = {path.removeprefix("results/tiny/"): record["labels"] for path, record in results.items()}
    dream = by_name["gallery/pictures/dreams/scratch/epoch-0001/study/blue_jay/step-0003-rescaled.png"]
    assert dream == {
        "run": "scratch",
        "epoch": "0001",
        "recipe": "study",
        "label": "blue_jay",
        "file": "step-0003-rescaled.png",
    }
    montage = by_name["montages/scratch/study/class-by-epoch_step-0003_raw.png"]
    assert montage == {"run": "scratch", "recipe": "study", "step": "0003", "view": "raw"}
    assert by_name["films/scratch/study/steps_epoch-0001_rescaled.gif"]["epoch"] == "0001"
    assert by_name["runs/scratch/curves.png"] == {"run": "scratch"}


def test_every_caption_describes_its_figure(study):
    _, results = read_report(study)
    captions = {path: re.sub(r"<[^>]+>|\s+", " ", record["caption"] or "") for path, record in results.items()}
    assert [path for path, caption in captions.items() if len(caption.split()) < 6] == []
    assert [path for path, caption in captions.items() if "{" in caption or "problematic" in caption] == []
    film = captions["results/tiny/films/scratch/study/epochs_step-0003_rescaled.gif"]
    assert "run scratch" in film and "after 3 steps" in film and "rescaled" in film


def test_a_study_with_a_report_is_still_finished(study):
    assert "Nothing to be done" in study.run("-n")


def test_a_report_with_a_missing_file_is_refused(study):
    (study.results / "runs/scratch/curves.png").rename(study.folder / "curves.png")
    try:
        result = study.snakemake("--report", "results/tiny/other.zip")
    finally:
        (study.folder / "curves.png").rename(study.results / "runs/scratch/curves.png")
    assert result.returncode != 0 and "curves.png marked for report but does not exist" in result.stdout
    assert not (study.results / "other.zip").exists()

"""The dreams in the report, matched by Snakemake's patterns against files on disk."""

import pytest
from snakemake.io import glob_wildcards

from dreambirds.config import VIEWS
from dreambirds.plan import targets
from dreambirds.plan.paths import epoch_name, step_name
from tests.helpers.plans import plan_of


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """Return a plan with twelve last dreams; the working directory has an empty file for each view of a dream."""
    plan = plan_of({"r": {"steps": [1, 3]}, "s": {"steps": [2]}}, epochs=[0, 0.5])
    for dream in plan.dreams:
        folder = tmp_path / "dreams" / dream.run / epoch_name(dream.epoch) / dream.recipe / dream.label
        folder.mkdir(parents=True, exist_ok=True)
        for ending in VIEWS.values():
            (folder / f"{step_name(dream.step)}{ending}.png").touch()
    monkeypatch.chdir(tmp_path)
    return plan


def matched(plan) -> list[str]:
    """Return the files that the patterns match, as ``run/epoch/recipe/label/file``."""
    matches = [glob_wildcards(pattern) for pattern in targets.patterns(plan)]
    return ["/".join(values) for wildcards in matches for values in zip(*wildcards, strict=True)]


def test_every_last_dream_of_a_small_study_is_matched(plan):
    files = matched(plan)
    assert len(files) == len(set(files)) == 2 * 2 * 3
    assert "a/0000.5/r/blue_jay/step-0003-rescaled.png" in files
    assert not any("step-0001" in file for file in files)


def test_a_recipe_is_shown_for_the_epochs_that_dream_it(tmp_path, monkeypatch):
    monkeypatch.setattr(targets, "MAX_REPORT_IMAGES", 9)
    plan = plan_of({"r": {"steps": [1, 3]}, "s": {"steps": [2], "epochs": [0]}}, epochs=[0, 0.5])
    assert [pattern.count("|") for pattern in targets.patterns(plan)] == [2, 2], "three jobs of three classes"


@pytest.mark.parametrize(("most", "classes"), [(11, 2), (8, 2), (7, 1), (3, 1)])
def test_the_first_classes_of_a_large_study_are_shown(plan, monkeypatch, most, classes):
    monkeypatch.setattr(targets, "MAX_REPORT_IMAGES", most)
    files = matched(plan)
    assert len(files) == 2 * 2 * classes and {file.split("/")[3] for file in files} == set(list(plan.names)[:classes])

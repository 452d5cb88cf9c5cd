"""Dreams of one class that are compared with photographs of the next one."""

from dataclasses import replace

import pandas as pd
import pytest

from dreambirds.dream_job.archive import Picture, read_index, read_picture
from dreambirds.dream_job.context import DreamContext, DreamJob
from dreambirds.dream_job.image_files import read_facts
from dreambirds.dream_job.run import run_dream_job
from dreambirds.errors import UserError
from dreambirds.evaluation.columns import DREAMS, JUDGED, JUDGEMENTS, PIXELS
from dreambirds.evaluation.tables import StudyFacts, merge_dreams
from dreambirds.plan.dream_table import DREAM
from dreambirds.plan.inputs import reference_labels
from dreambirds.plan.plan import make_plan
from tests.helpers.dream_bench import CPU, checkpoint, parameters
from tests.helpers.plans import BIRDS, config, plan_of

MATCHED = {"objective": "feature_match:layer1", "match_photographs": 2}
NAMES = {"auk": "Auk", "bunting": "Bunting", "crane": "Crane"}
NEXT = {"auk": "bunting", "bunting": "crane", "crane": "auk"}
RECIPES = {
    "r": {"preset": "vital", "steps": [3], "match_class": ["own", "next"]},
    "plain": {"preset": "original", "steps": [3]},
}


def test_the_next_class_is_that_of_all_classes_in_the_order_of_the_study():
    plan = plan_of(RECIPES)
    assert reference_labels(plan, "r-match_class-own", "") == reference_labels(plan, "plain", "") == {}
    labels = [label.label for label in plan.labels]
    assert set(labels) == set(BIRDS)
    following = {labels[0]: labels[1], labels[1]: labels[2], labels[2]: labels[0]}
    assert reference_labels(plan, "r-match_class-next", "") == following
    parts = plan_of(RECIPES, labels_per_job=2)
    assert list(parts.parts) == ["-000", "-001"]
    assert reference_labels(parts, "r-match_class-next", "-001") == {labels[2]: labels[0]}


def test_the_next_class_need_not_be_dreamt():
    study = config(dreams={"labels": ["blue_jay"], "recipes": RECIPES})
    assert reference_labels(make_plan(study), "r-match_class-next", "") == {"blue_jay": "northern_cardinal"}


def test_only_a_recipe_that_compares_has_a_class_of_photographs():
    with pytest.raises(UserError, match="match_class: is only used with 'objective: feature_match'; set it to own"):
        plan_of({"r": {"preset": "original", "steps": [3], "match_class": "next"}})


@pytest.fixture
def job(bench, monkeypatch) -> DreamJob:
    """Return a job that compares dreams with photographs of their class."""
    monkeypatch.setenv("DREAMBIRDS_STORE", str(bench.root / "store"))
    return DreamJob(
        **{
            "checkpoint": checkpoint(bench.root / "epoch-0001", labels=list(NAMES)),
            "recipe": "r",
            "parameters": parameters(**MATCHED),
        },
        **{"names": NAMES, "photographs": {}, "statistics": None, "bytes_free": 4 * 10**9},
        **{"references": bench.prepare(image_size=32)},
    )


def test_the_photographs_are_those_of_the_next_class_and_so_are_their_statistics(job, monkeypatch):
    own, wrong = DreamContext(job, CPU), DreamContext(replace(job, reference_labels=NEXT), CPU)
    assert [*wrong.references_sha256] == [*NAMES]
    assert all(wrong.references_sha256[label] == own.references_sha256[following] for label, following in NEXT.items())
    expected = own.own.references(["bunting", "crane"])["whole"]["layer1"]
    monkeypatch.setattr("dreambirds.dream_job.networks.photograph_statistics", lambda *_: pytest.fail("computed again"))
    assert wrong.own.references(["auk", "bunting"])["whole"]["layer1"].equal(expected)


@pytest.mark.parametrize("following", [{}, NEXT], ids=["own", "next"])
def test_the_archive_and_its_images_name_the_class_of_the_photographs(job, following, tmp_path):
    run_dream_job(replace(job, reference_labels=following), CPU, tmp_path / "dreams.zip", lay=False)
    index = read_index(tmp_path / "dreams.zip")
    assert dict(zip(index["label"], index["reference_label"], strict=True)) == (following or {k: k for k in NAMES})
    (tmp_path / "auk.png").write_bytes(read_picture(Picture(tmp_path / "dreams.zip", "auk/step-0003.png")))
    facts = read_facts(tmp_path / "auk.png")
    assert facts["reference_label"] == following.get("auk", "auk") and len(facts["references_sha256"]) == 64


def test_a_dream_without_photographs_has_no_reference_label(job, tmp_path):
    run_dream_job(replace(job, parameters=parameters(), references=None), CPU, tmp_path / "dreams.zip", lay=False)
    assert list(read_index(tmp_path / "dreams.zip")["reference_label"]) == [""] * 6


def test_the_tables_say_whether_the_judge_sees_the_class_of_the_photographs():
    dream = {"run": "a", "epoch": 1, "recipe": "r", "label": "auk", "step": 3}
    own = {"loss": 0.0, "logit": 0.0, "probability": 0.5, "prediction": "auk", "distance": 1.0}
    more = {"reference_label": "bunting", "steps_done": 3, "diverged_at": None, "mean_abs_change": 0.1, "seconds": 1}
    dreams = pd.DataFrame([{**dream, **own, **more}])
    views = [{**dream, "view": view} for view in ("raw", "rescaled")]
    judged = [dict.fromkeys(JUDGED, 0.5) | {"reference_top1": seen} for seen in (1.0, None)]
    judgements = pd.DataFrame([{**view, "judge": "j", **found} for view, found in zip(views, judged, strict=True)])
    pixels = pd.DataFrame([{**view, **dict.fromkeys(PIXELS, 0.25)} for view in views])
    judgements = judgements[JUDGEMENTS].astype({"rank": int, "top1": int}, errors="ignore").assign(rank=1, top1=1)
    runs = {"a": {"model": "m", "group": "a", "seed": 0}}
    study = StudyFacts(runs, {"r": parameters(**MATCHED)}, {"r": "r"}, {"auk": "Auk"}, {"j": {"a": ["r"]}})
    table = merge_dreams(dreams, judgements, pixels[[*DREAM, "view", *PIXELS]], study)
    assert list(table) == DREAMS
    row = table.iloc[0]
    assert row["reference_label"] == "bunting" and row["judge_reference_top1"] == 1
    assert pd.isna(row["judge_reference_top1_rescaled"]) and row["pixel_ratio"] == 0.25 == row["pixel_ratio_rescaled"]

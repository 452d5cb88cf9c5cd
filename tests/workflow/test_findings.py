"""A study with a judge and two questions: its tables, its answers, and what a change runs again."""

import pandas as pd
import pytest

from dreambirds.evaluation.columns import DREAMS, JUDGEMENTS, JUDGES, RUNS
from dreambirds.gallery.findings import read_findings
from tests.helpers.studies import Study, tiny

JUDGE = {"train": {"model": "test_efficientnet", "epochs": [1], "batch_size": 8}}
BLUR = {
    "text": "Does blur make dreams smooth?",
    "runs": ["scratch"],
    "contrasts": [
        {"vary": "epoch", "values": ["first", "last"], "measures": ["judge_probability", "dreamer_probability"]},
        {"vary": "blur_sigma", "measures": ["total_variation", "judge_top1", "feature_ratio"]},
    ],
}
STEPS = {
    "text": "Do steps help?",
    "runs": ["scratch"],
    "epochs": ["last"],
    "recipes": ["study-blur_sigma-0-seed-0"],
    "contrasts": [{"vary": "step"}],
}
ALL = ["findings", "results/asking/dreams.csv"]


def asking() -> dict:
    """Return a tiny study with a judge, two runs, two seeds, two blurs and two questions."""
    config = tiny()
    config["study"] = "asking"
    config["judges"] = {"judge": JUDGE}
    config["runs"]["other"] = {**config["runs"]["scratch"], "seed": 1, "epochs": [0]}
    config["dreams"]["recipes"] = {"study": {"steps": [3, 20], "seed": [0, 1], "blur_sigma": [0.0, 2.0]}}
    config["questions"] = {"blur": BLUR, "steps": STEPS}
    return config


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """Return a study whose questions are answered, one by one."""
    study = Study(tmp_path_factory.mktemp("findings"), asking())
    target = "results/asking/findings/steps/index.html"
    study.first_jobs = study.jobs(target)
    study.run(target)
    study.answered_first = {path.name for path in study.results.glob("findings/*")}
    study.run(*ALL)
    return study


def test_a_question_asked_by_name_is_answered_without_the_rest_of_the_study(study):
    assert study.answered_first == {"steps"}
    quick = {"check", "judge_reference", "spectra", "pixels", "question"}
    assert set(study.first_jobs) == {"dataset", "train", "dream", "judge"} | quick
    assert study.first_jobs["dream"] == study.first_jobs["judge"] == 1


def test_the_tables_of_a_judged_study_are_complete(study):
    dreams, judgements, runs, judges = (
        pd.read_csv(study.results / f"{name}.csv") for name in ("dreams", "judgements", "runs", "judges")
    )
    assert list(dreams) == DREAMS and list(judgements) == JUDGEMENTS and list(runs) == RUNS and list(judges) == JUDGES
    assert len(dreams) == 3 * 3 * 4 * 2 and len(judgements) == 2 * len(dreams) and len(runs) == 3 and len(judges) == 1
    measured = [
        "dreamer_probability",
        "judge_probability",
        "judge_rank",
        "judge_top1",
        "feature_ratio",
        "seed_agreement",
    ]
    measured += ["spectrum_distance", "total_variation", "mean_abs_change", "seconds"]
    assert dreams[measured].notna().all().all() and set(dreams["judge"]) == {"judge"}
    assert dreams["judge_rank"].between(1, 3).all() and (dreams["judge_top1"] == (dreams["judge_rank"] == 1)).all()
    assert all((study.results / path).is_file() for path in [*dreams["image_path"], *dreams["image_path_rescaled"]])
    assert judges["matched"].iloc[0] == 3 and runs["judge_probability"].notna().all()


def test_the_answers_match_the_table_of_dreams(study):
    table = read_findings(study.results / "findings/blur/finding.csv")
    dreams = pd.read_csv(study.results / "dreams.csv")
    last = dreams[(dreams["step"] == 20) & (dreams["epoch"] == 1) & (dreams["run"] == "scratch")]
    means = last.groupby(["blur_sigma", "label"])["total_variation"].mean().groupby("blur_sigma").mean()
    row = table[table["measure"] == "total_variation"].iloc[0]
    assert row["difference"] == pytest.approx(means[2.0] - means[0.0], rel=1e-3) and row["difference"] < 0
    assert (row["baseline"], row["compared"], row["n_classes"], row["n_pairs"]) == ("0", "2", 3, 6)
    assert set(table["verdict"]) == {"too few classes to tell"}
    steps = read_findings(study.results / "findings/steps/finding.csv").iloc[0]
    selected = last[(last["recipe"] == "study-blur_sigma-0-seed-0")]["judge_probability"]
    assert steps["n_pairs"] == 3 and steps["mean_compared"] == pytest.approx(selected.mean(), rel=1e-3)


def test_the_findings_join_all_answers(study):
    table = read_findings(study.results / "findings/findings.csv")
    assert list(table["question"].unique()) == ["blur", "steps"] and set(table["text"]) == {BLUR["text"], STEPS["text"]}
    page = (study.results / "findings/index.html").read_text()
    assert BLUR["text"] in page and '<a href="steps/index.html">' in page


def test_a_finished_study_answers_only_a_changed_question_again(study):
    assert "Nothing to be done" in study.run("-n", *ALL)
    study.config["questions"] = {**asking()["questions"], "blur": {**BLUR, "text": "Well?"}}
    jobs = study.jobs(*ALL)
    study.config = asking()
    assert jobs == {"question": 1, "findings": 1}


def test_a_wrong_contrast_is_refused_before_any_job(study):
    study.config["questions"]["blur"] = {**BLUR, "contrasts": [{"vary": "blur"}]}
    result = study.snakemake()
    study.config = asking()
    assert result.returncode != 0 and "questions.blur.contrasts.0.vary: unknown factor 'blur'" in result.stdout
    assert "Traceback" not in result.stdout


def test_findings_of_a_study_without_questions_are_refused(study):
    study.config["questions"] = {}
    result = study.snakemake("-n", "findings")
    study.config = asking()
    assert result.returncode != 0
    assert "questions: the study 'asking' asks no question, so it has no findings; add one" in result.stdout

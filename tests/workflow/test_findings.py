"""A study with a judge and an experiment; and all experiments of a project."""

import pandas as pd
import pytest
import yaml

from dreambirds.evaluation.columns import DREAMS, JUDGEMENTS, JUDGES, RUNS
from dreambirds.gallery.findings import read_findings
from tests.helpers.studies import Study, copy_workflow, tiny

JUDGE = {"train": {"model": "test_efficientnet", "epochs": [1], "batch_size": 8}}
CONTRASTS = [
    {"vary": "epoch", "values": ["first", "last"], "measures": ["judge_probability", "dreamer_probability"]},
    {"vary": "blur_sigma", "measures": ["total_variation", "judge_top1", "feature_ratio"]},
]


def experiment_study() -> dict:
    """Return a tiny study with a judge, two seeds, two blurs and an experiment."""
    config = tiny()
    config["study"] = "blurring"
    config["judges"] = {"judge": JUDGE}
    config["dreams"]["recipes"] = {"study": {"steps": [3, 20], "seed": [0, 1], "blur_sigma": [0.0, 2.0]}}
    config["experiment"] = {"question": "Does blur make dreams smooth?", "contrasts": CONTRASTS}
    return config


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """Return a finished study; the only experiment of its workflow is the same study."""
    root = copy_workflow(tmp_path_factory.mktemp("code"))
    for path in (root / "config" / "studies").glob("*.yaml"):
        path.unlink()
    (root / "config" / "studies" / "blurring.yaml").write_text(yaml.safe_dump(experiment_study()))
    (root / "config" / "studies" / "plain.yaml").write_text(yaml.safe_dump(tiny()))
    study = Study(tmp_path_factory.mktemp("findings"), experiment_study(), root)
    study.run()
    return study


def test_the_tables_of_a_judged_study_are_complete(study):
    dreams, judgements, runs, judges = (
        pd.read_csv(study.results / f"{name}.csv") for name in ("dreams", "judgements", "runs", "judges")
    )
    assert list(dreams) == DREAMS and list(judgements) == JUDGEMENTS and list(runs) == RUNS and list(judges) == JUDGES
    assert len(dreams) == 2 * 3 * 4 * 2 and len(judgements) == 2 * len(dreams) and len(runs) == 2 and len(judges) == 1
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


def test_the_finding_matches_the_table_of_dreams(study):
    table = read_findings(study.results / "finding" / "finding.csv")
    dreams = pd.read_csv(study.results / "dreams.csv")
    last = dreams[(dreams["step"] == 20) & (dreams["epoch"] == 1)]
    means = last.groupby(["blur_sigma", "label"])["total_variation"].mean().groupby("blur_sigma").mean()
    row = table[table["measure"] == "total_variation"].iloc[0]
    assert row["difference"] == pytest.approx(means[2.0] - means[0.0], rel=1e-3) and row["difference"] < 0
    assert (row["baseline"], row["compared"], row["n_classes"], row["n_pairs"]) == ("0", "2", 3, 6)
    assert set(table["verdict"]) == {"too few classes to tell"}


def test_a_finished_study_evaluates_only_a_changed_question_again(study):
    assert "Nothing to be done" in study.run("-n")
    study.config["experiment"] = {**experiment_study()["experiment"], "question": "Well?"}
    jobs = study.jobs()
    study.config = experiment_study()
    assert jobs == {"study": 1, "finding": 1}


def test_a_wrong_contrast_is_refused_before_any_job(study):
    study.config["experiment"]["contrasts"] = [{"vary": "blur"}]
    result = study.snakemake()
    study.config = experiment_study()
    assert result.returncode != 0 and "experiment.contrasts.0.vary: unknown factor 'blur'" in result.stdout
    assert "Traceback" not in result.stdout


def test_one_command_runs_every_experiment_and_collects_the_findings(tmp_path, study):
    outer = Study(study.folder, {**tiny(), "study": "outer"}, study.root)
    output = outer.run("findings")
    assert outer.jobs("findings") == {}, "everything is up to date"
    folder = outer.results / "findings"
    assert sorted(path.name for path in folder.iterdir()) == [
        "blurring.csv",
        "blurring.html",
        "blurring.yaml",
        "findings.csv",
        "index.html",
    ]
    assert (folder / "blurring.csv").read_bytes() == (study.results / "finding" / "finding.csv").read_bytes()
    assert "Does blur make dreams smooth?" in (folder / "index.html").read_text()
    inner = (study.folder / "results/logs/outer/findings/blurring.snakemake.log").read_text()
    assert "Nothing to be done" in inner and "locked" not in output
    assert not (outer.results / "dreams").exists(), "the outer study itself is not run"

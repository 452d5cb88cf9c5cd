"""Each experiment can be planned, on drawn birds and on another study's data."""

from pathlib import Path

import pytest
import yaml
from PIL import Image

from dreambirds.errors import UserError
from dreambirds.plan import experiments as shipped
from dreambirds.plan.experiments import experiment_config, experiment_file, experiments
from dreambirds.plan.plan import make_plan

pytestmark = pytest.mark.slow

DRAWN = {"dataset": {"source": "drawn"}}


@pytest.fixture
def base(tmp_path) -> dict:
    """Return the config of a study of a folder of photographs, of two classes."""
    for label in ("auk", "owl"):
        for number in range(3):
            path = tmp_path / "photographs" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (9 * number, 0, 0)).save(path)
    run = {"model": "resnet10t", "weights": "hub", "epochs": [0, 0.5, 5], "learning_rate": 0.001, "schedule_epochs": 6}
    dataset = {"source": "folder", "path": str(tmp_path / "photographs"), "image_size": 48}
    config = {"study": "lent", "dataset": dataset, "runs": {"mine": run, "other": {"model": "test_resnet"}}, "gpu": 0}
    config["dreams"] = {"labels": ["owl"], "recipes": {"r": {"steps": [5]}}}
    return make_plan(config).config


def test_every_experiment_of_the_original_study_is_present():
    assert len(experiments()) == 15 and experiments() == sorted(experiments())
    first_lines = "\n".join(experiment_file(name).read_text().splitlines()[0] for name in experiments())
    assert all(f"The original study, {row}:" in first_lines for row in range(1, 11))
    assert first_lines.count("Left for later by the original study:") == 4


@pytest.mark.parametrize("name", experiments())
def test_an_experiment_is_a_study_of_drawn_birds_named_after_its_file(name):
    config = experiment_config(name, DRAWN)
    assert config == yaml.safe_load(experiment_file(name).read_text()) and config["study"] == name
    plan = make_plan(config)
    assert plan.comparisons and plan.judges and plan.config["experiment"]["question"].endswith("?")


@pytest.mark.parametrize("name", experiments())
def test_an_experiment_runs_on_the_data_of_another_study(name, base):
    plan = make_plan(experiment_config(name, base))
    assert plan.study == f"{name}-lent" and list(plan.names) == ["owl"] and len(plan.labels) == 2
    assert plan.config["gpu"] == 0 and plan.config["dataset"]["image_size"] == 48
    first = next(iter(plan.config["runs"].values()))
    assert first["model"] == "resnet10t" and first["learning_rate"] == 0.001 and "other" not in plan.config["runs"]


def test_a_run_keeps_its_differences_on_the_data_of_another_study(base):
    runs, base_run = experiment_config("head-only", base)["runs"], base["runs"]["mine"]
    changed = {"trainable": "head", "adversarial": {}, "learning_rate": 0.01, "epochs": [5]}
    assert runs["head"] == {**base_run, **changed} and runs["scratch"] == {**base_run, "epochs": [5]}
    runs = experiment_config("architectures", base)["runs"]
    assert runs["scratch"]["weights"] == "hub" and runs["convnext"]["model"] == "test_convnext"
    assert "weights" not in runs["convnext"], "they belong to another model"
    assert experiment_config("overfitting", base)["runs"]["overfitted"]["epochs"] == [12.5], "scaled in proportion"


@pytest.mark.parametrize(
    ("name", "epochs"), [("before-training", [0]), ("blurs", [5]), ("training-length", [0, 0.5, 5])]
)
def test_a_run_has_the_requested_checkpoints_on_the_data_of_another_study(base, name, epochs):
    assert next(iter(experiment_config(name, base)["runs"].values()))["epochs"] == epochs


def test_a_run_that_is_a_judge_is_refused(base):
    base["judges"] = {"other": {"run": "other"}}
    sentence = (
        r"^judges\.other\.run: an experiment cannot use a run of the study 'lent' as a judge; "
        r"set 'train', 'checkpoint' or 'weights' instead$"
    )
    with pytest.raises(UserError, match=sentence):
        experiment_config("blurs", base)


def test_the_error_of_a_failed_experiment_names_its_log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shipped, "_command", lambda *_: ["sh", "-c", "echo why; exit 3"])
    paths = {
        "config_file": Path("a/e.yaml"),
        "log_file": Path("e.log"),
        "page": Path("e.html"),
        "table": Path("e.csv"),
    }
    with pytest.raises(UserError, match=r"^the experiment 'e' failed; see 'e\.log'$"):
        shipped.run_experiment({"study": "e"}, 2, **paths)
    assert Path("e.log").read_text() == "why\n" and not Path("e.html").exists()
    assert yaml.safe_load(Path("a/e.yaml").read_text()) == {"study": "e"}

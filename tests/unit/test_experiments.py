"""The experiments of the project: each can be planned, on drawn birds and on the data of another study."""

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
def lender(tmp_path) -> dict:
    """Return the config of a study with a folder of photographs of two classes."""
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
    headers = "\n".join(experiment_file(name).read_text().splitlines()[0] for name in experiments())
    assert all(f"The original study, {row}:" in headers for row in range(1, 11))
    assert headers.count("Left for later by the original study:") == 4


@pytest.mark.parametrize("name", experiments())
def test_an_experiment_is_a_study_of_drawn_birds_named_after_its_file(name):
    config = experiment_config(name, DRAWN)
    assert config == yaml.safe_load(experiment_file(name).read_text()) and config["study"] == name
    plan = make_plan(config)
    assert plan.comparisons and plan.judges and plan.config["experiment"]["question"].endswith("?")


@pytest.mark.parametrize("name", experiments())
def test_an_experiment_can_use_the_data_and_runs_of_another_study(name, lender):
    plan = make_plan(experiment_config(name, lender))
    assert plan.study == f"{name}-lent" and list(plan.names) == ["owl"] and len(plan.labels) == 2
    assert plan.config["gpu"] == 0 and plan.config["dataset"]["image_size"] == 48
    first = next(iter(plan.config["runs"].values()))
    assert first["model"] == "resnet10t" and first["learning_rate"] == 0.001 and "other" not in plan.config["runs"]


def test_a_lent_run_keeps_the_keys_that_the_experiment_varies(lender):
    runs, mine = experiment_config("head-only", lender)["runs"], lender["runs"]["mine"]
    apart = {"trainable": "head", "adversarial": {}, "learning_rate": 0.01, "epochs": [5]}
    assert runs["head"] == {**mine, **apart} and runs["scratch"] == {**mine, "epochs": [5]}
    runs = experiment_config("architectures", lender)["runs"]
    assert runs["scratch"]["weights"] == "hub" and runs["convnext"]["model"] == "test_convnext"
    assert "weights" not in runs["convnext"], "they would be another model's"
    assert experiment_config("overfitting", lender)["runs"]["overfitted"]["epochs"] == [12.5], "in proportion"


@pytest.mark.parametrize(
    ("name", "epochs"), [("before-training", [0]), ("blurs", [5]), ("training-length", [0, 0.5, 5])]
)
def test_a_lent_run_keeps_the_requested_checkpoints(lender, name, epochs):
    assert next(iter(experiment_config(name, lender)["runs"].values()))["epochs"] == epochs


def test_a_run_that_judges_cannot_be_lent(lender):
    lender["judges"] = {"other": {"run": "other"}}
    with pytest.raises(UserError, match=r"^judges\.other: a run of 'lent' judges, and experiments have other runs$"):
        experiment_config("blurs", lender)


def test_a_failed_experiment_reports_its_log_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shipped, "_command", lambda *_: ["sh", "-c", "echo why; exit 3"])
    places = {"config_file": Path("a/e.yaml"), "said": Path("e.log"), "page": Path("e.html"), "table": Path("e.csv")}
    with pytest.raises(UserError, match=r"^the experiment 'e' did not come to its end; 'e\.log' tells why$"):
        shipped.run_experiment({"study": "e"}, 2, **places)
    assert Path("e.log").read_text() == "why\n" and not Path("e.html").exists()
    assert yaml.safe_load(Path("a/e.yaml").read_text()) == {"study": "e"}

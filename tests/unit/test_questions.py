"""The questions of config/findings.yaml, on drawn birds and on photographs; selections, and errors for wrong ones."""

import copy
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

from dreambirds.errors import UserError
from dreambirds.plan import questions
from dreambirds.plan.plan import make_plan
from tests.helpers.plans import BIRDS

CONFIGS = Path(__file__).parents[2] / "config"
FINDINGS, PHOTOGRAPHS = CONFIGS / "findings.yaml", CONFIGS / "findings-cub10.yaml"
CONTRASTS = [{"vary": "view"}]


def plan_of(**selection):
    """Return a plan of two runs and two recipes, and a question `q` with this selection."""
    runs = {name: {"model": "test_resnet", "epochs": epochs} for name, epochs in (("a", [0, 2]), ("b", [0.5, 3]))}
    recipes = {
        "soft": {"blur_sigma": [0.5, 1.0], "steps": [5]},
        "late": {"steps": [6], "runs": ["b"], "epochs": ["last"]},
    }
    config = {"gpu": 0, "judges": {}, "dataset": {"image_size": 32, "labels": BIRDS}, "runs": runs}
    section = {"text": "Why?", "contrasts": CONTRASTS, **selection}
    return make_plan({**config, "dreams": {"recipes": recipes}, "questions": {"q": section}})


@pytest.mark.parametrize(
    ("selection", "epochs"),
    [
        (
            {},
            {
                "a": {"soft-blur_sigma-0.5": [0, 2], "soft-blur_sigma-1": [0, 2]},
                "b": {"soft-blur_sigma-0.5": [0.5, 3], "soft-blur_sigma-1": [0.5, 3], "late": [3]},
            },
        ),
        ({"runs": ["a"], "recipes": ["soft-blur_sigma-1"]}, {"a": {"soft-blur_sigma-1": [0, 2]}}),
        ({"recipes": ["late", "soft-blur_sigma-1"], "epochs": [3]}, {"b": {"soft-blur_sigma-1": [3], "late": [3]}}),
        (
            {"epochs": [0, "last"], "recipes": ["soft-blur_sigma-1"]},
            {"a": {"soft-blur_sigma-1": [0, 2]}, "b": {"soft-blur_sigma-1": [3]}},
        ),
    ],
)
def test_a_question_looks_at_the_selected_dreams(selection, epochs):
    plan = plan_of(**selection)
    assert plan.questions["q"].epochs == epochs
    tables = questions.archives(plan, "q")
    jobs = {(run, recipe, epoch) for run, recipes in epochs.items() for recipe in recipes for epoch in recipes[recipe]}
    assert len(tables) == len(jobs) and all(any(f"/{run}/" in table for table in tables) for run in epochs)


@pytest.mark.parametrize(
    ("selection", "sentence"),
    [
        ({"runs": ["c"]}, "runs: no dream has run 'c'; available: a, b"),
        ({"recipes": ["softly"]}, "recipes: no dream has recipe 'softly'; did you mean 'soft'?"),
        ({"epochs": [4]}, "epochs: no selected dream has epoch 4; available: 0, 0.5, 2, 3, last"),
        ({"runs": ["a"], "epochs": [0.5]}, "epochs: no selected dream has epoch 0.5; "),
        ({"runs": ["a"], "recipes": ["soft", "late"]}, "recipes: no selected dream has recipe 'late'; "),
        ({"runs": ["a", "b"], "recipes": ["late"]}, "runs: no selected dream has run 'a'; available: b"),
        ({"runs": []}, "runs: must contain at least 1 value, not []"),
        (
            {"contrasts": [{"vary": "view", "where": {"run": "b"}}], "runs": ["a"]},
            "contrasts.0.where.run: no dream has run",
        ),
    ],
)
def test_a_selection_without_dreams_is_refused_with_the_keys_path(selection, sentence):
    with pytest.raises(UserError) as error:
        plan_of(**selection)
    assert str(error.value).startswith(f"questions.q.{sentence}")


def test_a_question_depends_only_on_its_part_of_the_config():
    plan = plan_of(runs=["b"], recipes=["late"])
    config = questions.asked(plan, "q")["config"]
    assert list(config["runs"]) == ["b"] and list(config["dreams"]["recipes"]) == ["late"]
    assert not {"threads", "gpu", "montage", "pictures"} & set(config)


def merged(*files: Path) -> dict:
    """Return the config that Snakemake makes of several files."""
    config: dict = {}
    for file in files:
        update_config(config, load_configfile(str(file)))
    return config


def test_the_findings_ask_every_question_of_the_original_study():
    text, plan = FINDINGS.read_text(), make_plan(merged(FINDINGS))
    assert len(plan.questions) == 15 and all(question.text.endswith("?") for question in plan.questions.values())
    assert all(f"# The original study, {number}: " in text for number in range(1, 11))
    assert text.count("# Left for later by the original study: ") == 4


def test_runs_and_recipes_of_the_findings_are_all_looked_at():
    plan = make_plan(merged(FINDINGS))
    tables = {table for name in plan.questions for table in questions.archives(plan, name)}
    assert {Path(table).parent for table in tables} <= {Path(table).parent for table in plan.archives()}
    used = {
        (run, recipe.rpartition("-seed")[0])
        for q in plan.questions.values()
        for run in q.epochs
        for recipe in q.epochs[run]
    }
    assert used == {
        (run, recipe.rpartition("-seed")[0]) for run, recipes in plan.dreaming_epochs.items() for recipe in recipes
    }
    unseen = {Path(table).parent.name for table in set(plan.archives()) - tables}
    assert unseen == {"original-seed-2", "bird-seed-2"}, "a third seed, which `bird` and `blurs` need at the last epoch"


@pytest.fixture
def photographs(tmp_path) -> dict:
    """Return the config of the questions on photographs, of two classes and an existing judge."""
    for label in ("auk", "owl"):
        for number in range(3):
            path = tmp_path / "photographs" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (9 * number, 0, 0)).save(path)
    config = merged(FINDINGS, PHOTOGRAPHS)
    for name in ("weights", "judge"):
        save_file({"a": torch.zeros(1)}, tmp_path / f"{name}.safetensors")
    (tmp_path / "labels.txt").write_text("auk\nowl\n")
    config["dataset"]["path"] = str(tmp_path / "photographs")
    for run in config["runs"].values():
        if "weights" in run:
            run["weights"] = str(tmp_path / "weights.safetensors")
    files = {"weights": str(tmp_path / "judge.safetensors"), "labels": str(tmp_path / "labels.txt"), "names": {}}
    config["judges"]["inaturalist"] |= files
    return config


def test_the_same_questions_are_asked_of_photographs(photographs):
    plan, drawn = make_plan(photographs), make_plan(merged(FINDINGS))
    assert (
        plan.study == "findings-cub10" and list(plan.judges) == ["inaturalist"] and list(plan.names) == ["auk", "owl"]
    )
    assert list(plan.questions) == list(drawn.questions)
    for name, question in plan.questions.items():
        values = [(each.vary, each.compared) for each in question.comparisons if each.vary != "epoch"]
        assert values == [
            (each.vary, each.compared) for each in drawn.questions[name].comparisons if each.vary != "epoch"
        ]
    assert list(plan.questions["architectures"].epochs) == ["scratch", "byobnet", "convnext"]


def test_the_runs_on_photographs_differ_as_those_on_drawn_birds(photographs):
    base = copy.deepcopy(photographs["runs"]["scratch"])
    rate, last, plain = base["learning_rate"], base["epochs"][-1], {"adversarial": {}}
    other = {"model_options": {}, "weights": None, "epochs": [last]}
    changes = {
        "scratch": {},
        **{f"scratch_{seed}": {"seed": seed, "epochs": [0]} for seed in (1, 2, 3)},
        "plain": {**plain, "epochs": [last]},
        "overfitted": {
            **plain,
            "epochs": [last * 60 / 24],
            "schedule": "constant",
            "learning_rate": 2 * rate,
            "weight_decay": 0.0,
            "augmentation": {"crop_padding": 0, "flip": 0.0, "color": 0.0},
        },
        "head": {**plain, "epochs": [last], "trainable": "head", "learning_rate": 10 * rate},
        "byobnet": {**other, "model": "test_byobnet"},
        "convnext": {**other, "model": "test_convnext", "learning_rate": 0.3 * rate},
    }
    expected = make_plan(
        {
            **photographs,
            "questions": {},
            "dreams": {"recipes": {"r": {}}},
            "runs": {run: {**base, **keys} for run, keys in changes.items()},
        }
    ).config["runs"]
    found = make_plan(photographs).config["runs"]
    assert list(found) == list(expected)
    for run, keys in expected.items():
        assert found[run] == {**keys, "learning_rate": pytest.approx(keys["learning_rate"])}

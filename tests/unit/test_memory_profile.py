"""Measurements of models and recipes: each is taken once and stored."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from dreambirds.errors import UserError
from dreambirds.models.classifier import Classifier, build
from dreambirds.plan import measurements, memory
from dreambirds.plan.measurements import stored
from dreambirds.plan.plan import make_plan
from dreambirds.startup import memory_profile
from dreambirds.startup.memory_profile import check_models, optimizer_state, training_bytes
from tests.helpers.plans import BIRDS, STEPS, measured, plan_of

pytestmark = pytest.mark.usefixtures("files")
ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
CASES = [("test_resnet", 64, 32), ("resnet18", 128, 16), ("inception_v4", 128, 8)]


def counted(monkeypatch, name: str) -> list:
    """Return a list that records every call of a function of `memory_profile`."""
    calls, function = [], getattr(memory_profile, name)

    def recorded(*arguments, **named):
        calls.append(arguments)
        return function(*arguments, **named)

    monkeypatch.setattr(memory_profile, name, recorded)
    return calls


def shallow(side: int) -> Classifier:
    """Return a network for which it is known what autograd saves.

    The convolution saves its input, the tanh its output, and the linear layer its input, which is that output in
    another memory format.
    """
    layers = [nn.Conv2d(3, 8, 1), nn.Tanh(), nn.Flatten(), nn.Linear(8 * side**2, 2)]
    return Classifier(nn.Sequential(*layers)).to(memory_format=torch.channels_last)


def test_nothing_is_measured_twice_and_no_model_is_built_twice(files, monkeypatch):
    built, estimated, frozen = (
        counted(monkeypatch, name) for name in ("build", "estimate_activation_memory", "prepare_for_inference")
    )
    similar = {"r": {**STEPS, "blur_sigma": [0.25, 0.5, 1.0], "step_size": [0.01, 0.02]}}
    plan = plan_of({**similar, "pads": {**STEPS, "pad": [1, 2]}, "prior": {**STEPS, "batch_norm_prior": [0.1, 1.0]}})
    assert len(plan.recipes) == 10 and not measurements.is_measured(plan)
    check_models(plan)
    assert measurements.is_measured(plan)
    assert len(built) == 1 and len(estimated) == 1 + 2 + 1, "settings that do not affect memory are not measured again"
    assert len(frozen) == 2, "with folded batch norms for most, and with its batch norms"
    assert len(list(files.glob("*.json"))) == 2 + 4 and not [*files.glob(".*")]
    measurements._known.clear()
    assert measurements.is_measured(plan), "another process reads the files"
    check_models(plan)
    assert len(built) == 1
    for change in ({"labels": BIRDS[:2]}, {"size": 48}, {"model": "test_resnet", "model_options": {"drop_rate": 0.1}}):
        other = plan_of(**change)
        assert (
            measurements.read(measurements.training(other, "a"))
            is None
            is measurements.read(measurements.dreaming(other, "a", "r"))
        )
    for change in ({"epochs": [0, 1, 9]}, {"batch_size": 64, "learning_rate": 1.0}, {"threads": {"loader_workers": 1}}):
        assert measurements.is_measured(plan_of(**change))
    check_models(plan_of(optimizer="momentum"))
    assert len(built) == 2 and len(estimated) == 4 and len(list(files.glob("*.json"))) == 7


def test_measurements_by_other_code_or_libraries_and_corrupt_ones_are_ignored(files, monkeypatch):
    plan = measured()
    measurements._known.clear()
    with monkeypatch.context() as other:
        other.setattr(measurements, "_measurer", lambda: ["torch 9"])
        assert not measurements.is_measured(plan)
    assert measurements.is_measured(plan)
    wrong = {"per_byte": "2", "weights": 1, "learning": math.nan, "image": -1}
    for damage in ("", "{", "[]", '{"found": 3}', "{}", '{"found": {}}', json.dumps({"found": wrong})):
        for path in files.glob("*.json"):
            path.write_text(damage)
        measurements._known.clear()
        assert (
            not measurements.is_measured(plan)
            and memory.train_mb(plan, stored(plan), "a") == memory.dream_mb(plan, stored(plan), "a", "r") == 4000
        )
    check_models(plan)
    measurements._known.clear()
    assert measurements.is_measured(plan)


def test_a_recipe_is_measured_on_the_runs_that_dream_it(files):
    runs = {name: {"model": "test_resnet", "epochs": [1]} for name in ("a", "b")}
    small = {"gpu": 0, "judges": {}, "dataset": {"image_size": 32, "labels": BIRDS}, "runs": runs}
    plan = make_plan({**small, "dreams": {"recipes": {"r": STEPS, "pads": {**STEPS, "pad": 4, "runs": ["b"]}}}})
    keys = {run: [key for key in measurements.profile_keys(plan, run) if key["measured"] == "dreaming"] for run in runs}
    assert [len(found) for found in keys.values()] == [1, 2] and [key["pad"] for key in keys["b"]] == [0, 4]


def test_without_a_writable_store_measurements_are_kept_in_the_process(tmp_path):
    (tmp_path / "store").write_text("a file instead of the folder")
    plan = measured()
    assert measurements.is_measured(plan) and memory.train_mb(plan, stored(plan), "a") < 1500


@pytest.mark.slow
def test_reading_measurements_does_not_import_torch(files):
    measured()
    code = """
import sys
from dreambirds.plan import measurements, memory
from dreambirds.plan.measurements import stored
from dreambirds.plan.plan import make_plan
dataset = {"image_size": 32, "labels": ["blue_jay", "northern_cardinal", "yellow_warbler"]}
recipes = {"r": {"preset": "original", "steps": [3]}}
config = {"gpu": 0, "dataset": dataset, "runs": {"a": {"model": "test_resnet"}}, "dreams": {"recipes": recipes}}
config["judges"] = {}
plan = make_plan(config)
assert measurements.is_measured(plan)
found = stored(plan)
assert memory.train_mb(plan, found, "a") < 1500 > memory.dream_mb(plan, found, "a", "r")
assert memory.dream_bytes(plan, found, "a", "r")
assert not {"torch", "timm"} & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_training_image_takes_what_autograd_saves():
    classifier, pixels = shallow(64), 64**2
    assert training_bytes(classifier.train(), (64, 64)) == (3 + 8 + 8) * 4 * pixels
    for parameter in classifier.network[0].parameters():
        parameter.requires_grad_(False)
    assert training_bytes(classifier, (64, 64)) == 2 * 8 * 4 * pixels, "two of the largest activations, if that is more"
    with pytest.raises(UserError, match=r"the model cannot be trained \(.*\); choose another model$"):
        training_bytes(classifier, (32, 32))


def test_trainable_weights_and_the_optimizer_count():
    plan, head = measured(), measured(trainable="head")
    found, last = (measurements.read(measurements.training(each, "a")) for each in (plan, head))
    parameters = list(build("test_resnet", 3, {}).parameters())
    assert found["learning"] == 4 * sum(parameter.numel() for parameter in parameters) < found["weights"]
    assert last["weights"] == found["weights"] and last["learning"] == 4 * 3 * (parameters[-2].shape[1] + 1)
    assert last["image"] < found["image"]
    adversarial = plan_of(trainable="head", adversarial={"epsilon": 1.0})
    assert measurements.training(adversarial, "a") == measurements.training(plan, "a"), "gradients go through all of it"
    assert optimizer_state("adamw") == pytest.approx(2, abs=0.01) and optimizer_state("momentum") == 1


def test_very_large_dreams_are_extrapolated_or_checked_when_dreaming(monkeypatch):
    most = max
    recipes = {"r": {**STEPS, "size": 700}, "tiles": {**STEPS, "size": 700, "tile": 128}}
    direct = {name: measurements.read(measurements.dreaming(measured(recipes), "a", name))["image"] for name in recipes}
    monkeypatch.setattr(memory_profile, "LARGEST", 350**2)
    monkeypatch.setattr(measurements, "_known", {})
    monkeypatch.setattr(measurements, "_measurer", lambda: ["smaller"])
    calls = counted(monkeypatch, "estimate_activation_memory")
    neuron = {**STEPS, "size": 700, "objective": "neuron:layer1:0:150:0"}
    plan = measured({**recipes, "neuron": neuron})
    found = {name: measurements.read(measurements.dreaming(plan, "a", name))["image"] for name in plan.recipes}
    assert [most(shape) for _, _, shape, *_ in calls] == [350, 700, 350], "tiles are small enough"
    assert direct["r"] <= found["r"] <= 1.01 * direct["r"] and found["tiles"] == direct["tiles"]
    assert found["neuron"] is None and measurements.is_measured(plan), "it is not measured again"
    assert memory.dream_mb(plan, stored(plan), "a", "neuron") == 4000


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"recipes": {"r": STEPS, "wrong": {**STEPS, "objective": "layer_mean:layer9"}}},
            "dreams.recipes.wrong.objective: for the run 'a', the model has no layer 'layer9'; ",
        ),
        (
            {"recipes": {"r": {**STEPS, "objective": {"logit": 1, "feature_match:layer9": 1}}}},
            "dreams.recipes.r.objective: for the run 'a', the model has no layer 'layer9'; did you mean 'layer",
        ),
        (
            {"recipes": {"r": {**STEPS, "objective": "feature_match"}}, "model": "mvitv2_tiny", "size": 64},
            "dreams.recipes.r.objective: for the run 'a', no feature stages were found in this model, "
            "so 'auto' is undefined; ",
        ),
        (
            {"model_options": {"no": 1}},
            "runs.a.model_options: the model 'test_resnet' cannot be built with the options {'no': 1} (",
        ),
        (
            {"model": "vit_tiny_patch16_224", "model_options": {"img_size": 64}, "size": 48},
            "runs.a.model_options: with {'img_size': 64}, the model 'vit_tiny_patch16_224' does not accept images",
        ),
    ],
    ids=["recipe", "matched layer", "no stages", "options", "size"],
)
def test_a_recipe_that_does_not_fit_is_refused_in_one_line_and_not_stored(changes, sentence):
    plan = plan_of(**changes)
    with pytest.raises(UserError) as refused:
        check_models(plan)
    assert str(refused.value).startswith(sentence) and "\n" not in str(refused.value)
    assert not measurements.is_measured(plan)

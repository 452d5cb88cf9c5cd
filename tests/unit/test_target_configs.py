"""The section `dreams.targets`: labels, names, files of directions, and what is refused."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dreambirds.config.targets import interpolations, numbers, vector_files
from dreambirds.data.vectors import read_vectors
from dreambirds.errors import UserError
from dreambirds.plan import inputs, measurements
from dreambirds.plan.plan import make_plan
from dreambirds.plan.start_dreams import start_origin
from dreambirds.startup.memory_profile import check_models
from tests.helpers.plans import config, plan_of

ORIGINAL = {"r": {"preset": "original", "steps": [3]}}


def planned(targets, labels=None, **more):
    """Return the plan of a small study of drawn birds with targets; other keywords are keys of the recipe."""
    dreams = {"targets": targets, "labels": labels, "recipes": {"r": {"steps": [2, 5], **more}}}
    return make_plan(config(dreams=dreams))


def refused(targets, **more) -> str:
    """Return the error of a study with targets."""
    with pytest.raises(UserError) as error:
        planned(targets, **more)
    return str(error.value)


def test_channels_are_dreamt_once_in_place_of_classes():
    plan = planned([{"layer": "75%", "channels": ["0-2", 2, 7]}, {"layer": "75%", "channels": 1}])
    assert plan.names == {f"layer75_channel{number}": f"75% channel {number}" for number in (0, 1, 2, 7)}
    assert plan.targets["layer75_channel7"].facts == {"layer": "75%", "channels": {"7": 1.0}}
    assert not plan.dreamt and len(plan.labels) == 2 and plan.judges == {}, "no network is trained to judge no class"
    assert [dream.label for dream in plan.dreams[:3]] == ["layer75_channel0"] * 2 + ["layer75_channel1"]
    again = make_plan(plan.resolved)
    assert again.names == plan.names and again.config == plan.config, "the resolved config is the same study"


def test_classes_come_first_if_they_are_listed_and_have_the_default_judge():
    targets = {"layer": "layer2.0", "neurons": [3, [3, 1, 0]]}
    plan = planned(targets, labels=["northern_cardinal"])
    assert list(plan.names) == ["northern_cardinal", "layer2_0_neuron3", "layer2_0_neuron3_1_0"]
    assert plan.names["layer2_0_neuron3_1_0"] == "layer2.0 neuron 3:1:0" and list(plan.judges) == ["judge"]
    assert [target.facts["position"] for target in plan.targets.values()] == ["middle", [1, 0]]
    assert list(planned(targets, labels="all").names)[:2] == ["northern_cardinal", "blue_jay"]


def test_what_lies_between_two_classes_or_channels_has_weights():
    plan = planned([{"between": ["Blue Jay", "northern_cardinal"], "weights": 3}])
    assert plan.names["blue_jay_to_northern_cardinal_0500"] == "Blue Jay to Northern Cardinal, 0.5"
    ends = [target.facts["classes"] for target in plan.targets.values()]
    assert [list(each.values()) for each in ends] == [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
    assert interpolations(plan.targets.values()) == {
        f"blue_jay_to_northern_cardinal_{number}": ("blue_jay_to_northern_cardinal", weight)
        for number, weight in (("0000", 0.0), ("0500", 0.5), ("1000", 1.0))
    }
    plan = planned({"layer": "50%", "between": [4, 0], "weights": [0.25, 0.25, 1]})
    assert plan.names == {
        "layer50_channel4_to_0_0250": "50% channel 4 to 0, 0.25",
        "layer50_channel4_to_0_1000": "50% channel 4 to 0, 1",
    }
    assert len(planned({"layer": "50%", "between": [4, 0]}).targets) == 9
    assert not interpolations(planned({"layer": "50%", "channels": 1}).targets.values())


def test_directions_are_the_vectors_of_a_file(tmp_path):
    np.save(tmp_path / "found.npy", np.array([[3.0, 4.0], [0.0, -2.0]]))
    named = {"beak": torch.tensor([0.0, 5.0]), "a wing": torch.tensor([1.0, 0.0], dtype=torch.float16)}
    save_file(named, tmp_path / "named.safetensors")
    vectors = read_vectors(tmp_path / "found.npy")
    assert {name: vector.tolist() for name, vector in vectors.items()} == {
        "0": pytest.approx([0.6, 0.8]),
        "1": [0.0, -1.0],
    }
    assert vectors["0"].dtype == np.float32 and list(read_vectors(tmp_path / "named.safetensors")) == ["a wing", "beak"]
    np.save(tmp_path / "one.npy", np.array([0, 2]))
    assert read_vectors(tmp_path / "one.npy")["0"].tolist() == [0.0, 1.0]
    np.save(tmp_path / "my wings.v2 é.npy", np.ones(3))
    plan = planned({"layer": "75%", "directions": str(tmp_path / "my wings.v2 é.npy")})
    assert plan.names == {"layer75_my_wings_v2_e_0": "75% my wings.v2 é 0"}
    files = [str(tmp_path / name) for name in ("found.npy", "named.safetensors")]
    plan = planned([{"layer": "75%", "directions": file} for file in files])
    assert list(plan.names.values()) == ["75% found 0", "75% found 1", "75% named a wing", "75% named beak"]
    assert list(plan.names) == ["layer75_found_0", "layer75_found_1", "layer75_a_wing", "layer75_beak"]
    assert vector_files(plan.targets.values()) == files, "they are inputs of the dream jobs"


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda path: None, "does not exist; correct the path"),
        (lambda path: path.write_bytes(b"no array"), "cannot read"),
        (lambda path: np.save(path, np.array([["a", "b"]])), "'0' is <U1 of shape (2,), not a vector of numbers"),
        (lambda path: np.save(path, np.ones((2, 2, 2))), "is float64 of shape (2, 2, 2), not a vector of numbers"),
        (lambda path: np.save(path, np.zeros((0, 4))), "contains no vector; write at least one"),
        (lambda path: np.save(path, np.array([[1.0, 0.0], [np.nan, 1.0]])), "the vector '1' in"),
        (lambda path: np.save(path, np.zeros(3)), "is zero, or not finite; remove it"),
        (lambda path: np.save(path, np.array([{"an": "object"}], dtype=object)), "cannot read"),
    ],
)
def test_a_file_without_vectors_is_refused(tmp_path, write, sentence):
    write(tmp_path / "found.npy")
    error = refused({"layer": "75%", "directions": str(tmp_path / "found.npy")})
    assert error.startswith("dreams.targets.0.directions: ") and sentence in error
    assert "is not a file with the suffix .npy or .safetensors" in refused({"layer": "75%", "directions": __file__})


@pytest.mark.parametrize(
    ("targets", "sentence"),
    [
        ({"layer": "75%"}, "dreams.targets.0: needs exactly one of the keys 'channels', 'neurons', 'directions', "),
        ({"layer": "75%", "channels": 1, "neurons": 2}, "but has 'channels' and 'neurons'"),
        ({"channels": [1]}, "dreams.targets.0.layer: is required with 'channels'; set it to the name of a module"),
        (
            {"layer": "75%", "channels": ["3-1"]},
            "dreams.targets.0.channels: '3-1' is not allowed; list numbers from 0, or",
        ),
        ({"layer": "75%", "channels": ["0-99999"]}, "'0-99999' is not allowed"),
        (
            {"layer": "75%", "channels": ["1:2:3"]},
            "'1:2:3' is not allowed; list numbers from 0, or ascending ranges such as 0-63",
        ),
        ({"layer": "75%", "channels": [-1]}, "-1 is not allowed"),
        ({"layer": "75%", "channels": "all"}, "'all' is not allowed"),
        (
            {"layer": "175%", "channels": 1},
            "dreams.targets.0.layer: '175%' is not a depth; use 0% to 100%, or the name",
        ),
        ({"layer": "75%", "channels": []}, "dreams.targets.0.channels: must contain at least 1 value, not []"),
        (
            {"layer": "75%", "neurons": [[1, 2]]},
            "[1, 2] is not allowed; write [CHANNEL, Y, X], with numbers of at least 0",
        ),
        ({"layer": "75%", "neurons": [[1, 2, "a"]]}, "[1, 2, 'a'] is not allowed"),
        ({"layer": "75%", "channels": 1, "weights": 3}, "dreams.targets.0.weights: is only used with 'between'"),
        ({"between": ["blue_jay", "blue_jay"]}, "dreams.targets.0.between: must be two different classes"),
        ({"layer": "75%", "between": ["0-1", 2]}, "two channels of a layer, not ['0-1', 2]"),
        ({"between": ["blue_jay", "jay"]}, "dreams.targets.0.between: unknown label 'jay'"),
        ({"between": ["blue_jay"]}, "dreams.targets.0.between: must contain at least 2 values"),
        ({"between": ["blue_jay", "northern_cardinal"], "weights": 1}, "weights: must be at least 2, not 1"),
        ({"between": ["blue_jay", "northern_cardinal"], "weights": [2]}, "weights.0: must be at most 1, not 2"),
        ({"layer": "75%", "channel": [1]}, "dreams.targets.0: unknown key 'channel'; did you mean 'channels'?"),
        ("75%", "dreams.targets: must be a list, not '75%'"),
        (
            [{"layer": "a.b", "channels": 1}, {"layer": "a_b", "channels": 1}],
            "has the label 'a_b_channel1', which another",
        ),
    ],
)
def test_a_mistake_in_the_targets_has_one_sentence(targets, sentence):
    assert sentence in refused(targets)


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        (
            {"preset": "portrait"},
            "dreams.recipes.r.objective: {cross_entropy: 1.0, feature_match: 1.0} compares dreams with",
        ),
        ({"preset": "google-2015", "start": "gray"}, "'layer_l2:75%' does not score the target of a dream, such as"),
        ({"start": "photograph"}, "dreams.recipes.r.start: 'photograph' is that of a class, and '75% channel 3'"),
        (
            {"start": "class_mean"},
            "'class_mean' is that of a class, and '75% channel 3' (dreams.targets) is not one; use",
        ),
        ({"stop_confidence": 0.9}, "dreams.recipes.r.stop_confidence: is the probability of a class, and"),
    ],
)
def test_a_recipe_that_needs_a_class_is_refused(recipe, sentence):
    assert sentence in refused({"layer": "75%", "channels": [3]}, **recipe)


def test_other_networks_have_other_channels_but_the_same_classes():
    runs = {name: {"model": "test_resnet", "epochs": [0], "seed": seed} for seed, name in enumerate("ab")}
    recipe = {"r": {"steps": [2], "runs": ["a"], "committee": ["b"]}}
    pair = {"between": ["blue_jay", "northern_cardinal"]}
    plan = make_plan(config(runs=runs, dreams={"targets": [pair], "recipes": recipe}))
    assert plan.committees == {("a", "r"): ["b"]}
    with pytest.raises(UserError, match="committee: the other networks have other channels than '75%"):
        make_plan(config(runs=runs, dreams={"targets": {"layer": "75%", "channels": 3}, "recipes": recipe}))


def test_parts_of_a_job_and_the_parameters_of_rules_contain_the_targets():
    dreams = {"targets": {"layer": "75%", "channels": ["0-3"]}, "labels": ["blue_jay"], "labels_per_job": 2}
    plan = make_plan(config(dreams={**dreams, "recipes": {"r": {"steps": [2]}}}))
    assert [list(part) for part in plan.parts.values()] == [
        ["blue_jay"],
        ["layer75_channel0", "layer75_channel1"],
        ["layer75_channel2", "layer75_channel3"],
    ]
    assert inputs.targets_of(plan, "-000") == {}
    assert inputs.targets_of(plan, "-001")["layer75_channel1"] == {"layer": "75%", "channels": {"1": 1.0}}


def test_the_highest_channel_of_each_layer_is_checked_before_the_first_job():
    def plan(*targets):
        config = {"gpu": 0, "judges": {}, "dataset": {"image_size": 32, "labels": ["blue_jay", "northern_cardinal"]}}
        runs = {"a": {"model": "test_resnet"}}
        return make_plan({**config, "runs": runs, "dreams": {"targets": list(targets), "recipes": ORIGINAL}})

    checked = plan({"layer": "layer2", "channels": ["0-3"]}, {"layer": "50%", "neurons": 3})
    assert list(measurements.dreaming(checked, "a", "r")["units"]) == ["layer2_channel3", "layer50_neuron3"]
    assert "units" not in measurements.dreaming(plan_of(ORIGINAL), "a", "r")
    check_models(checked)
    for target, sentence in (
        ({"layer": "layer2", "channels": ["0-999"]}, "the layer 'layer2' has no channel 999; choose 0 to "),
        ({"layer": "layer9", "channels": 1}, "the model has no layer 'layer9'; did you mean 'layer"),
        (
            {"layer": "layer2", "neurons": [[1, 99, 0]]},
            "the layer 'layer2' has no position (99, 0); choose one in its map",
        ),
    ):
        with pytest.raises(UserError) as error:
            check_models(plan(target))
        assert sentence in str(error.value)


def test_a_dream_may_start_from_that_of_another_target():
    recipes = {"r": {"steps": [2]}, "next": {"steps": [1], "start": "dream", "start_dream": {"recipe": "r"}}}
    targets = {"layer": "75%", "channels": ["0-1"]}
    plan = make_plan(config(dreams={"targets": targets, "recipes": recipes}))
    assert start_origin(plan, "scratch", 4, "next")["label"] is None
    recipes["next"]["start_dream"] = {"recipe": "r", "label": "layer75_channel1"}
    plan = make_plan(config(dreams={"targets": targets, "recipes": recipes}))
    assert start_origin(plan, "scratch", 4, "next")["label"] == "layer75_channel1"


def test_numbers_are_those_of_ranges_and_lists():
    assert numbers(["2-4", 9, "7"]) == [2, 3, 4, 9, 7]

"""Presets are scaled to the same number of passes per dream."""

import pytest

from benchmarks.equal_passes import class_presets, count_passes, scale_to_passes
from dreambirds.config.one_recipe import targets_class
from dreambirds.config.recipes import load_presets

SHAPE = (128, 128)


def test_the_presets_of_a_class_are_all_but_those_of_layers():
    assert set(load_presets()) - set(class_presets()) == {"tensorflow-tutorial", "google-2015"}


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        ("logit", True),
        ({"cross_entropy": 1.0, "feature_match": 1.0}, True),
        ({"layer_mean:50%": 1.0, "margin": 0.1}, True),
        ("feature_match:50%", True),
        ("layer_l2:75%", False),
        ("channel:50%:3", False),
    ],
)
def test_an_objective_has_a_class_as_its_target(objective, expected):
    assert targets_class(objective) is expected


# by hand: steps times crops, and the steps of all phases times passes / own passes
SCALED = {
    "original": (2000, {"steps": [300]}),
    "lucid": (512, {"steps": [300]}),
    "torch-dreams": (120, {"steps": [300]}),
    "maco": (6000, {"steps": [50]}),
    "deep-inversion": (3000, {"steps": [300], "octave_steps": 200}),
    "bird": (100, {"steps": [300]}),
    "portrait": (300, {"steps": [300], "pyramid_steps": 100}),
    "portrait-free": (150, {"steps": [300], "pyramid_steps": 100}),
}
OVER = {
    "deep-inversion": {"step_size": 300},
    "vital": {"step_size": 300},
    "bird": {"step_size": 300, "gradient_blur_sigma": 75},
    "portrait": {"step_size": 300, "crop_area": 300},
    "portrait-free": {"step_size": 300},
}


@pytest.mark.parametrize("name", SCALED)
def test_the_steps_of_a_preset_are_scaled_to_the_passes(name):
    own, changed = class_presets()[name], SCALED[name][1]
    scaled = scale_to_passes(own, 300, SHAPE, SHAPE)
    assert count_passes(own, SHAPE, SHAPE) == SCALED[name][0]
    assert {key: scaled[key] for key in changed} == changed
    assert count_passes(scaled, SHAPE, SHAPE) == 300


@pytest.mark.parametrize("name", class_presets())
def test_schedules_are_scaled_and_other_parameters_are_not(name):
    own = class_presets()[name]
    scaled = scale_to_passes(own, 300, SHAPE, SHAPE)
    overs = {key: value["over"] for key, value in scaled.items() if isinstance(value, dict) and "over" in value}
    assert overs == OVER.get(name, {})
    changed = {"steps", "octave_steps", "pyramid_steps"}
    for key in own.keys() - changed:
        before, after = own[key], scaled[key]
        if key in overs:
            before, after = ({part: value[part] for part in value if part != "over"} for value in (before, after))
        assert before == after, key


@pytest.mark.parametrize("passes", [1, 7, 20, 1000])
@pytest.mark.parametrize("name", class_presets())
def test_a_scaled_dream_has_about_the_passes_and_at_least_one_step(name, passes):
    own = class_presets()[name]
    scaled = scale_to_passes(own, passes, SHAPE, SHAPE)
    assert scaled["steps"][0] >= 1
    assert abs(count_passes(scaled, SHAPE, SHAPE) - passes) <= max(1, own["crops"])


def test_the_passes_do_not_change_with_the_size_of_the_dream():
    own = class_presets()["deep-inversion"]
    assert scale_to_passes(own, 60, (192, 256), SHAPE) == scale_to_passes(own, 60, SHAPE, SHAPE)

"""Refusals of the command `dreambirds dream`: each is one sentence that says what to do."""

import re

import pytest

from tests.helpers.one_image import dream, write_photographs, write_study, write_weights

GOOD = ("--class", "a")
CASES = {
    "--model: there is no network; set a model and its weights, or a checkpoint": ("-none-", *GOOD),
    "--weights: are required for 'test_resnet'; set it to package, hub": ("-none-", "--model", "test_resnet", *GOOD),
    "--checkpoint: cannot be combined with weights; remove one": ("--weights", "w.safetensors", *GOOD),
    "--model: is recorded in the checkpoint": ("--model", "test_resnet", *GOOD),
    "--checkpoint: 'nowhere' does not exist; ": ("-none-", "--checkpoint", "nowhere", *GOOD),
    "--model: is required, because 'w.safetensors' does not record it": ("-none-", "--weights", "w.safetensors", *GOOD),
    "--names: are required, because 'w.safetensors' records no class": (
        *("-none-", "--model", "test_resnet", "--weights", "w.safetensors", *GOOD),
    ),
    "--model: timm has no model 'test_resnett'; did you mean": (
        *("-none-", "--model", "test_resnett", "--weights", "w.safetensors", *GOOD),
    ),
    "--weights: no package ships weights for 'resnet18'": (
        *("-none-", "--model", "resnet18", "--weights", "package", *GOOD),
    ),
    "--network: unknown key 'heads'; did you mean 'head'?": (
        *("-none-", "--model", "test_resnet", "--weights", "w.safetensors", "--network", "heads=sigmoid", *GOOD),
    ),
    "--network: must have the form key=value, not 'head'": ("--network", "head", *GOOD),
    "--class: there is no target; set a class or a layer": (),
    "--class: cannot be combined with a layer; remove one": (*GOOD, "--layer", "layer1"),
    "--class: the network has no class 'bich'; available: a, b, c": ("--class", "bich"),
    "--start: 'google-2015' starts from a photograph of the class, of which there is none; set the path": (
        *("--preset", "google-2015", "--steps", "12", "--size", "64"),
    ),
    "--class: is not used, because 'google-2015' maximizes 'layer_l2:75%'": (
        *(*GOOD, "--preset", "google-2015", "--steps", "12"),
    ),
    "--channel: needs the layer it is in; add --layer": ("--channel", "3"),
    "--neuron: needs the layer it is in; add --layer": ("--neuron", "3"),
    "--neuron: cannot be combined with a channel": ("--layer", "layer1", "--channel", "3", "--neuron", "3"),
    "--neuron: must have the form CHANNEL or CHANNEL:Y:X, not '1:2'": ("--layer", "layer1", "--neuron", "1:2"),
    "--layer: the layer 'layer1' has no channel 999": ("--layer", "layer1", "--channel", "999"),
    "--layer: the model has no layer 'layr1'; did you mean 'layer1'?": ("--layer", "layr1"),
    "recipe.objective: a layer is the objective already": ("--layer", "layer1", "--set", "objective=logit"),
    "recipe.stop_confidence: is only used with a class": ("--layer", "layer1", "--set", "stop_confidence=0.9"),
    "unknown preset 'brid'; did you mean 'bird'?": (*GOOD, "--preset", "brid"),
    "recipe: unknown key 'tvweight'; did you mean 'tv_weight'?": (*GOOD, "--set", "tvweight=1"),
    "recipe.tv_weight: must be a number, not 'x'": (*GOOD, "--set", "tv_weight=x"),
    "recipe.tv_weight: must be one value, because one image is made, not [1, 2]": (*GOOD, "--set", "tv_weight=[1, 2]"),
    "recipe.runs: is only used in a study; remove it": (*GOOD, "--set", "runs=[run]"),
    "recipe.preset: is chosen by the option `--preset`": (*GOOD, "--set", "preset=lucid"),
    "recipe.size: is given twice; remove one of the two": (*GOOD, "--set", "size=32"),
    "recipe.steps: must be one step": (*GOOD, "--set", "steps=4"),
    "--set: must have the form key=value, not 'noise'": (*GOOD, "--set", "noise"),
    "--set: 'noise' is given twice; remove one": (*GOOD, "--set", "noise=0", "--set", "noise=1"),
    "--set: '{a: [' is not a YAML value": (*GOOD, "--set", "step_size={a: ["),
    "recipe.momentum: is only used with 'optimizer: ascent'": (
        *(*GOOD, "--set", "momentum=0.5", "--set", "optimizer=adam"),
    ),
    "recipe.size: must be at least 16, not 8": (*GOOD, "--size", "8"),
    "--steps: must be at least 1, not 0": (*GOOD, "--steps", "0"),
    "--threads: must be at least 1, not 0": (*GOOD, "--threads", "0"),
    "recipe.seed: must be at least 0, not -1": (*GOOD, "--seed", "-1"),
    "recipe.precision: unknown value 'float8'": (*GOOD, "--precision", "float8"),
    "--device: must be one of auto, cpu, cuda, mps, not 'tpu'": (*GOOD, "--device", "tpu"),
    "--device: torch sees no device 'mps' on this machine; set it to auto or cpu": (*GOOD, "--device", "mps"),
    "--start: unknown start 'nose'; did you mean 'noise'?": (*GOOD, "--start", "nose"),
    "--start: 'nowhere.jpg' does not exist; correct the path": (*GOOD, "--start", "nowhere.jpg"),
    "--start: cannot read 'broken.png' (": (*GOOD, "--start", "broken.png"),
    "--start: 'portrait-free' starts from a photograph of the class, of which": (*GOOD, "--start", "photograph"),
    "--start: 'portrait-free' starts from the mean image of a class": (*GOOD, "--start", "class_mean"),
    "--photographs: 'portrait' compares dreams with photographs of the class; set the folder": (
        *(*GOOD, "--preset", "portrait"),
    ),
    "--preset: 'maco' needs the mean spectrum of a data set": (*GOOD, "--preset", "maco"),
    "--photographs: are not used by the recipe 'portrait-free'; remove them": (*GOOD, "--photographs", "photos"),
    "--photographs: 'nowhere' is not a folder that can be read": (
        *(*GOOD, "--preset", "portrait", "--photographs", "nowhere"),
    ),
    "--photographs: 'empty' contains no photograph; set another": (
        *(*GOOD, "--preset", "portrait", "--photographs", "empty"),
    ),
    "--output: must be a .png file, which contains the image's metadata, not 'a.jpg'": (*GOOD, "-o", "a.jpg"),
    "--output: the folder 'no' does not exist; create it": (*GOOD, "-o", "no/a.png"),
    "--output: 'folder.png' is a folder; add the name of a file": (*GOOD, "-o", "folder.png"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with a checkpoint without a data set, weights, and photographs that are broken or absent."""
    root = tmp_path_factory.mktemp("refused")
    write_study(root, dataset=False)
    write_weights(root / "w.safetensors")
    write_photographs(root / "photos")
    (root / "broken.png").write_bytes(b"no image")
    (root / "empty").mkdir(), (root / "folder.png").mkdir()
    return root


@pytest.mark.parametrize("expected", CASES)
def test_a_wrong_command_is_refused_in_one_sentence(place, monkeypatch, capsys, expected):
    monkeypatch.chdir(place)
    arguments, files = list(CASES[expected]), sorted(place.rglob("*"))
    own = ["--checkpoint", "results/tiny/runs/run/epoch-0001"]
    arguments = arguments[1:] if arguments[:1] == ["-none-"] else own + arguments
    with pytest.raises(SystemExit, match=re.escape(expected)) as end:
        dream(*arguments)
    assert str(end.value).startswith(f"Error: {expected}") and "\n" not in str(end.value)
    assert sorted(place.rglob("*")) == files

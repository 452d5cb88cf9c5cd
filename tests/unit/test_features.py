"""Layers are recorded by name, and the forward pass stops after the last requested layer."""

import math

import numpy as np
import pytest
import timm
import torch
from torch import nn

from dreambirds.dreaming.features import FeatureExtractor, find_layer
from dreambirds.dreaming.objectives import ModelOutputs
from dreambirds.dreaming.regularizers import norm_layers
from dreambirds.errors import UserError

LOGITS, TARGETS = [[0.3, -1.2, 2.0], [1.5, 0.1, -0.4]], [2, 1]


def close(got, expected, atol: float = 1e-12) -> bool:
    """Return whether two arrays agree within an absolute tolerance."""
    return np.allclose(got, expected, rtol=0, atol=atol)


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    """Return float64 numbers in [0, 1)."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def resnet():
    """Return timm's smallest residual network."""
    return timm.create_model("test_resnet", num_classes=4).eval().requires_grad_(False)


@pytest.fixture
def chain():
    """Return a sequence of modules in float64, with an in-place activation after each convolution."""
    torch.manual_seed(0)
    convolutions = [nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 5, 3), nn.ReLU(inplace=True)]
    network = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(5 * 16, 3)).double()
    return network.eval().requires_grad_(False)


def test_the_prior_sums_all_batch_norms_and_counts_the_first_ten_times(resnet):
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    heard = []
    norms = [module for module in resnet.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [
        norm.register_forward_pre_hook(lambda norm, given: heard.append((norm, given[0].clone()))) for norm in norms
    ]
    resnet(images)
    for hook in hooks:
        hook.remove()
    expected = np.zeros(2)
    for index, (norm, given) in enumerate(heard):
        flat = given.flatten(2).double().numpy()
        mean = np.linalg.norm(flat.mean(axis=2) - norm.running_mean.double().numpy(), axis=1)
        variance = np.linalg.norm(flat.var(axis=2) - norm.running_var.double().numpy(), axis=1)
        expected += (mean + variance) * (10 if index == 0 else 1)
    assert len(norm_layers(resnet)) == len(norms) == len(heard) > 3
    assert close(FeatureExtractor(resnet, statistics=True)(images).statistics, expected, atol=1e-4 * expected.max())


def test_relative_distances_are_averaged_over_all_batch_norms(resnet):
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    norms = [module for module in resnet.modules() if isinstance(module, nn.BatchNorm2d)]
    distances = np.zeros((len(norms), 2))
    for index, norm in enumerate(norms):
        heard: list[np.ndarray] = []
        hook = norm.register_forward_pre_hook(lambda _, given, heard=heard: heard.append(given[0].double().numpy()))
        resnet(images)
        hook.remove()
        mean, deviation = norm.running_mean.double().numpy(), (norm.running_var.double() + norm.eps).sqrt().numpy()
        shift = (heard[0].mean(axis=(2, 3)) - mean) / deviation
        ratio = np.sqrt(heard[0].var(axis=(2, 3)) + norm.eps) / deviation - 1
        distances[index] = np.sqrt((shift**2).mean(axis=1)) + np.sqrt((ratio**2).mean(axis=1))
    got = FeatureExtractor(resnet, statistics=True, relative=True)(images).statistics
    assert np.ptp(distances) > 0.1 and close(got, distances.mean(axis=0), atol=1e-4)


def test_layers_are_found_by_name_or_depth(resnet):
    stages = [stage["module"] for stage in resnet.feature_info]
    assert [find_layer(resnet, depth) for depth in ("0%", "100%")] == [stages[0], stages[-1]]
    middle = 0.5 * (len(stages) - 1)
    assert find_layer(resnet, "50%") in {stages[math.floor(middle)], stages[math.ceil(middle)]}
    assert find_layer(resnet, "layer1.0.conv1") == "layer1.0.conv1"
    with pytest.raises(UserError, match=r"objective: the model has no layer 'layer1.0.conv9'; did you mean 'layer1\."):
        find_layer(resnet, "layer1.0.conv9")
    for depth in ("101%", "-1%", "half%", "%", "nan%"):
        with pytest.raises(UserError, match=f"objective: '{depth}' is not a depth; use 0% to 100%"):
            find_layer(resnet, depth)
    with pytest.raises(UserError, match="objective: no feature stages were found in this model, so '50%' is undefined"):
        find_layer(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), "50%")


def calls_of(
    network: nn.Sequential, names: list[str], logits: bool, images: torch.Tensor
) -> tuple[ModelOutputs, list[int]]:
    """Return the model's outputs, and how often each module was run."""
    calls = [0] * len(network)

    def count(index: int):
        def hook(*_):
            calls[index] += 1

        return hook

    hooks = [module.register_forward_pre_hook(count(index)) for index, module in enumerate(network)]
    seen = FeatureExtractor(network, names, logits)(images)
    for hook in hooks:
        hook.remove()
    return seen, calls


@pytest.mark.parametrize("logits", [False, True], ids=["only layers", "with logits"])
@pytest.mark.parametrize("names", [["0"], ["2"], ["0", "2"], ["2", "0"]], ids="+".join)
def test_layers_are_recorded_unchanged_and_nothing_runs_after_the_last(chain, names, logits):
    images = rand(2, 3, 8, 8)
    first = nn.functional.conv2d(images, chain[0].weight, chain[0].bias)
    second = nn.functional.conv2d(first.clamp(min=0), chain[2].weight, chain[2].bias)
    seen, calls = calls_of(chain, names, logits, images)
    assert calls == ([1] * 6 if logits else [1] * (1 + max(map(int, names))) + [0] * (5 - max(map(int, names))))
    for name in names:
        assert close(seen.layers[name], {"0": first, "2": second}[name]), name
    expected = nn.functional.linear(second.clamp(min=0).flatten(1), chain[5].weight, chain[5].bias)
    assert close(seen.logits, expected) if logits else seen.logits is None


def test_layers_without_one_activation_per_image_or_that_do_not_run_are_refused():
    class Odd(nn.Module):
        """A model with a layer of two outputs, one that splits images, and one that is not run."""

        def __init__(self):
            super().__init__()
            self.pair, self.cut, self.idle = nn.Identity(), nn.Identity(), nn.Identity()

        def forward(self, images):
            self.cut(images.flatten(0, 1))
            return images.mean(dim=(2, 3))

    model = Odd()
    model.pair.forward = lambda images: (images, images)
    for name, sentence in {"cut": "does not return one activation per image", "idle": "does not run it"}.items():
        with pytest.raises(UserError, match=f"'{name}'.* {sentence}"):
            FeatureExtractor(model, [name])(rand(2, 3, 8, 8))
    model.forward = lambda images: (model.pair(images), images.mean(dim=(2, 3)))[1]
    with pytest.raises(UserError, match="'pair' does not return one activation per image"):
        FeatureExtractor(model, ["pair"])(rand(2, 3, 8, 8))


def test_channels_are_found_on_the_last_axis():
    class Last(nn.Module):
        """A linear layer on channels-last images, as in ConvNeXt."""

        def __init__(self):
            super().__init__()
            self.mix = nn.Linear(3, 5).double()

        def forward(self, images):
            return self.mix(images.permute(0, 2, 3, 1)).mean(dim=(1, 2))

    model, images = Last(), rand(2, 3, 8, 6)
    seen = FeatureExtractor(model, ["mix"], logits=False)(images).layers["mix"]
    assert seen.shape == (2, 5, 8, 6)
    by_hand = model.mix.weight[4] @ images.mean(dim=(2, 3)).T + model.mix.bias[4]
    assert close(seen[:, 4].mean(dim=(1, 2)).detach(), by_hand.detach())


def test_no_hook_stays_on_the_model_even_after_an_error(resnet):
    def left() -> int:
        return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in resnet.modules())

    assert left() == 0
    for logits in (True, False):
        watched = FeatureExtractor(resnet, ["layer1", "layer2"], logits, statistics=logits)
        watched(torch.rand(1, 3, 32, 32))
        assert left() == 0
        with pytest.raises(RuntimeError):
            watched(torch.rand(1, 5, 32, 32))
        assert left() == 0


def test_a_prior_without_batch_norms_is_refused(chain):
    with pytest.raises(UserError, match="batch_norm_prior: the model has no batch norm"):
        FeatureExtractor(chain, statistics=True)

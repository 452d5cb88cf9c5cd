"""Units that are silent at the start: the gradient passes their rectifier in the first steps of a dream."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from dreambirds.dreaming.dream import dream
from dreambirds.dreaming.recipe import Recipe
from dreambirds.dreaming.rectifiers import REDIRECTED_STEPS, Redirected
from dreambirds.dreaming.targets import Targets
from tests.helpers.small import FOURIER, PLAIN, SQUARE, streams

X = [[-1.0, -2.0, 3.0], [-1.0, -2.0, -3.0]]
GRADIENT = [[1.0, -1.0, 1.0], [1.0, -1.0, 1.0]]
# which part of the gradient passes: of the first entry what passes always, of the second what leads back
ONE_SIDED = [[0.0, 0.0, 1.0], [1.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    "rectify",
    [
        *(functional.relu, torch.relu, torch.Tensor.relu, functional.relu6, nn.ReLU(), nn.ReLU6(), nn.Threshold(0, 0)),
        *(lambda x: torch.relu_(x * 1), lambda x: (x * 1).relu_(), lambda x: nn.ReLU(inplace=True)(x * 1)),
        *(lambda x: x.clamp(min=0), lambda x: torch.clamp_min(x, 0), lambda x: functional.relu(input=x)),
        *(lambda x: nn.Hardswish()(3 * x) / 3, lambda x: nn.Hardtanh(0, 9, inplace=True)(x * 1)),
    ],
)
def test_the_gradient_passes_a_rectifier_only_for_silent_entries_and_only_inwards(rectify):
    x = torch.tensor(X, requires_grad=True)
    with Redirected():
        outputs = rectify(x)
    assert torch.equal(outputs, rectify(x)), "the outputs are those of the rectifier"
    (found,) = torch.autograd.grad(outputs, x, torch.tensor(GRADIENT))
    assert torch.allclose(found, torch.tensor(ONE_SIDED))


def test_above_the_upper_bound_the_gradient_leads_down():
    x = torch.tensor([[7.0, 8.0, -1.0]], requires_grad=True)
    with Redirected():
        outputs = functional.relu6(x)
    (found,) = torch.autograd.grad(outputs, x, torch.tensor([[1.0, -1.0, 2.0]]))
    assert found.tolist() == [[0.0, -1.0, 2.0]]


def test_other_functions_are_unchanged():
    x = torch.linspace(-2, 2, 8).reshape(2, 4).requires_grad_(True)
    with Redirected():
        outputs = functional.leaky_relu(x) + torch.sigmoid(x) + x.clamp(max=torch.tensor(1.0))
    expected = functional.leaky_relu(x) + torch.sigmoid(x) + x.clamp(max=torch.tensor(1.0))
    assert torch.equal(*(torch.autograd.grad(each.sum(), x)[0] for each in (outputs, expected)))


class Units(nn.Module):
    """Two units per channel of the image, ReLU(mean - bias), in a layer: one layer of weights, and one of ReLUs."""

    def __init__(self, biases: list[float]):
        super().__init__()
        self.register_buffer("biases", torch.tensor(biases))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images):
        means = images.mean(dim=(2, 3))  # (B, 3)
        return self.relu(means[:, :1] - self.biases)[:, :, None, None].flatten(1)


def dream_of(model: nn.Module, unit: int, steps: int, size: float = 0.05, **more):
    """Return the dream of a unit behind the ReLU, from a grey image of 0.5."""
    targets = Targets(torch.tensor([[unit]]), torch.ones(1, 1), "relu")
    recipe = Recipe(steps=(steps,), step_size=size, gradient_normalization="none", **more)
    return dream(model.eval(), targets, torch.full((1, 3, 4, 4), 0.5), recipe)


def test_a_silent_unit_wakes_up_as_its_closed_form_says():
    # the gradient of the mean is 1 / 16 in each pixel of the first channel, so a step adds 8 / 16 * 0.05 = 0.025
    model = Units([0.6, 0.9])
    for unit, steps in ((0, 3), (0, 6), (1, 16)):
        result = dream_of(model, unit, steps, size=0.4)
        first = result.snapshots[steps][0, 0]
        assert torch.allclose(first, torch.full((4, 4), 0.5 + steps * 0.4 / 16), atol=1e-6)
        assert torch.equal(result.snapshots[steps][0, 1:], torch.full((2, 4, 4), 0.5))
        activation = max(0.0, 0.5 + steps * 0.4 / 16 - model.biases[unit].item())
        assert result.metrics[steps].logit.item() == pytest.approx(activation, abs=1e-6)
        assert result.silent.tolist() == [activation == 0 or unit == 1]


def test_the_gradient_is_redirected_in_the_first_steps_only():
    result = dream_of(Units([0.99]), 0, REDIRECTED_STEPS + 9, size=0.1)
    assert torch.allclose(
        result.snapshots[REDIRECTED_STEPS + 9][0, 0], torch.full((4, 4), 0.5 + REDIRECTED_STEPS * 0.1 / 16), atol=1e-6
    )
    assert result.silent.tolist() == [True], "it is said that the unit never became active"


def network(seed: int = 0) -> nn.Module:
    """Return a frozen network with rectifiers of several kinds, in float32."""
    torch.manual_seed(seed)
    layers = [
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 3),
        nn.Hardswish(),
        nn.Conv2d(8, 6, 3),
    ]
    return (
        nn.Sequential(*layers, nn.ReLU6(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 5))
        .eval()
        .requires_grad_(False)
    )


RECIPES = {
    "pixels": replace(PLAIN, steps=(20,)),
    "fourier": replace(FOURIER, steps=(20,)),
    "tiles": replace(PLAIN, steps=(20,), tile=7, jitter=1),
    "crops": replace(PLAIN, steps=(20,), crops=2, crop_size=0.7),
}


def channels(network: nn.Module, indices: list[int], recipe: Recipe):
    """Return the dreams of channels behind the last ReLU6."""
    targets = Targets(torch.tensor(indices)[:, None], torch.ones(len(indices), 1), "5")
    starts = torch.full((len(indices), 3, *SQUARE), 0.5)
    return dream(network, targets, starts, recipe, streams("abcdef"[: len(indices)]))


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_dreams_that_move_from_the_start_are_the_same_bit_for_bit(monkeypatch, recipe):
    model = network()
    model[4].bias[:] = torch.tensor([0.5, -9.0, 0.5, 0.5, -1.5, 0.5])  # a channel that sleeps, and one that is too deep
    redirected = channels(model, [0, 1, 2, 4], recipe)
    monkeypatch.setattr("dreambirds.dreaming.dream.REDIRECTED_STEPS", 0)
    plain = channels(model, [0, 1, 2, 4], recipe)
    assert plain.silent.tolist() == [False, True, False, True]
    assert redirected.silent.tolist()[0::2] == [False, False]
    for mate in (0, 2):
        assert torch.equal(redirected.snapshots[20][mate], plain.snapshots[20][mate])
    if recipe.blur_sigma == 0:
        assert plain.metrics[20].mean_abs_change[1] < 1e-6
    assert (redirected.snapshots[20][3] - plain.snapshots[20][3]).abs().mean() > 1e-4


def test_a_prior_does_not_hide_that_the_objective_has_no_gradient(monkeypatch):
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.BatchNorm2d(2)).eval().requires_grad_(False)
    model[0].weight[:], model[0].bias[:] = 1.0, torch.tensor([-1.7, 0.1])  # of an image of 0.5: -0.2 and 1.6
    recipe = Recipe(steps=(18,), step_size=0.02, gradient_normalization="mean_abs", batch_norm_prior=1e-3)
    targets, starts = Targets(torch.tensor([[0]]), torch.ones(1, 1), "1"), torch.full((1, 3, 4, 4), 0.5)
    found = dream(model, targets, starts, recipe)
    assert found.metrics[18].logit > 0.5 and not found.silent.any()
    monkeypatch.setattr("dreambirds.dreaming.dream.REDIRECTED_STEPS", 0)
    still = dream(model, targets, starts, recipe)
    assert still.silent.all() and still.metrics[18].mean_abs_change > 0.1, "only the prior moves it"

"""Objectives and regularizers, compared with closed forms and plain loops."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from dreambirds.dreaming.objectives import ModelOutputs, Objective, Term, layers, parse
from dreambirds.dreaming.regularizers import l2_norm, statistics_distance, total_variation
from dreambirds.errors import UserError

LOGITS, TARGETS = [[0.3, -1.2, 2.0], [1.5, 0.1, -0.4]], [2, 1]


def close(got, expected, atol: float = 1e-12) -> bool:
    """Return whether two arrays agree within an absolute tolerance."""
    return np.allclose(got, expected, rtol=0, atol=atol)


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    """Return float64 numbers in [0, 1)."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    "text, term",
    {
        "logit": Term("logit"),
        "cross_entropy": Term("cross_entropy"),
        "probability": Term("probability"),
        "margin": Term("margin"),
        "layer_mean:stages.0": Term("layer_mean", layer="stages.0"),
        "layer_l2:50%": Term("layer_l2", layer="50%"),
        "channel:a.b:7": Term("channel", layer="a.b", channel=7),
        "neuron:a:7": Term("neuron", layer="a", channel=7),
        "neuron:a:7:2:3": Term("neuron", layer="a", channel=7, position=(2, 3)),
    }.items(),
)
def test_every_form_of_a_term_is_parsed(text, term):
    assert parse(text) == (term,)
    assert layers(text) == ([] if term.layer is None else [term.layer])


def test_a_weighted_sum_keeps_its_weights_in_order():
    terms = parse({"layer_mean:a": 0.25, "logit": -2.0, "channel:b:1": 3})
    assert [(term.kind, term.weight) for term in terms] == [("layer_mean", 0.25), ("logit", -2.0), ("channel", 3)]
    assert layers({"layer_mean:a": 0.25, "logit": -2.0, "channel:b:1": 3}) == ["a", "b"]


@pytest.mark.parametrize(
    "text, sentence",
    {
        "logits": "unknown objective 'logits'; did you mean 'logit'?",
        "layer_men:a": "unknown objective 'layer_men:a'; did you mean 'layer_mean'?",
        "logit:a": "the objective 'logit' takes no layer; remove ':a'",
        "layer_mean": "the objective 'layer_mean' must have the form layer_mean:LAYER",
        "layer_l2:": "the objective 'layer_l2:' must have the form layer_l2:LAYER",
        "layer_l2:a:1": "the objective 'layer_l2:a:1' must have the form layer_l2:LAYER",
        "channel:a": "the objective 'channel:a' must have the form channel:LAYER:CHANNEL",
        "channel:a:-1": "the objective 'channel:a:-1' must have the form channel:LAYER:CHANNEL",
        "channel:a:b": "the objective 'channel:a:b' must have the form channel:LAYER:CHANNEL",
        "neuron:a:1:2": "the objective 'neuron:a:1:2' must have the form neuron:LAYER:CHANNEL or "
        "neuron:LAYER:CHANNEL:Y:X",
        "neuron:a:1:2:3:4": "the objective 'neuron:a:1:2:3:4' must have the form neuron:LAYER:CHANNEL or",
    }.items(),
)
def test_a_wrong_term_is_a_one_line_error(text, sentence):
    with pytest.raises(UserError) as refusal:
        parse({"logit": 1.0, text: 1.0})
    assert str(refusal.value).startswith(sentence) and "\n" not in str(refusal.value)


def softmax(row: list[float]) -> list[float]:
    """Return the softmax of a list, from its definition."""
    powers = [math.exp(value) for value in row]
    return [power / sum(powers) for power in powers]


def by_textbook(kind: str, row: list[float], target: int) -> tuple[float, list[float]]:
    """Return a class score and its gradient with respect to the logits."""
    chance, hot = softmax(row), [float(index == target) for index in range(3)]
    steep = [h - c for h, c in zip(hot, chance, strict=True)]
    others = [value for index, value in enumerate(row) if index != target]
    return {
        "logit": (row[target], hot),
        "cross_entropy": (math.log(chance[target]), steep),
        "probability": (chance[target], [chance[target] * slope for slope in steep]),
        "margin": (row[target] - sum(others) / 2, [1.0 if h else -0.5 for h in hot]),
    }[kind]


def scored(objective, seen: ModelOutputs, targets: list[int]) -> torch.Tensor:
    """Return the score of each image."""
    return Objective(objective)(seen, torch.tensor(targets))


@pytest.mark.parametrize("kind", ["logit", "cross_entropy", "probability", "margin"])
def test_class_scores_and_their_gradients_equal_closed_forms(kind):
    logits = torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True)
    got = scored(kind, ModelOutputs(logits), TARGETS)
    got.sum().backward()
    for row, target, value, slope in zip(LOGITS, TARGETS, got, logits.grad, strict=True):
        expected, slopes = by_textbook(kind, row, target)
        assert value.item() == pytest.approx(expected, rel=1e-12)
        assert slope.tolist() == pytest.approx(slopes, rel=1e-12)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 6, 3), (2, 3)], ids=["image", "tokens", "vector"])
def test_layer_scores_and_their_gradients_equal_closed_forms(shape):
    count = math.prod(shape[1:])
    mine = (slice(None), 1) if len(shape) == 4 else (..., 1)
    middle = {4: (slice(None), 1, 2, 2), 3: (slice(None), 3, 1), 2: (slice(None), 1)}[len(shape)]
    given = {4: ("neuron:a:1:3:0", (slice(None), 1, 3, 0))}.get(len(shape), ("neuron:a:1", middle))
    values = rand(*shape).numpy() - 0.3
    ones = np.ones_like(values)
    within, at_middle, at_given = (np.zeros_like(values) for _ in range(3))
    within[mine], at_middle[middle], at_given[given[1]] = 1, 1, 1
    within /= within[0].sum()
    for objective, slope, score in (
        ("layer_mean:a", ones / count, values.reshape(2, -1).sum(axis=1) / count),
        ("layer_l2:a", values / count, (values.reshape(2, -1) ** 2).sum(axis=1) / (2 * count)),
        ("channel:a:1", within, (within * values).reshape(2, -1).sum(axis=1)),
        ("neuron:a:1", at_middle, values[middle]),
        (given[0], at_given, values[given[1]]),
    ):
        activation = torch.tensor(values, requires_grad=True)
        got = scored(objective, ModelOutputs(layers={"a": activation}), TARGETS)
        got.sum().backward()
        assert close(got.detach(), score), objective
        assert close(activation.grad, slope), objective


def test_a_weighted_sum_is_the_sum():
    activation, logits = rand(2, 3, 4, 4), torch.tensor(LOGITS, dtype=torch.float64)
    objective = {"logit": 0.5, "layer_l2:a": -2.0, "channel:b:2": 3.0, "margin": 1.5}
    got = scored(objective, ModelOutputs(logits, {"a": activation, "b": activation}), TARGETS)
    for image, row, target, value in zip(activation.numpy(), LOGITS, TARGETS, got, strict=True):
        own = by_textbook("margin", row, target)[0]
        expected = 0.5 * row[target] - (image**2).mean() + 3 * image[2].mean() + 1.5 * own
        assert value.item() == pytest.approx(expected, rel=1e-12)
    assert Objective(objective).layers == ["a", "b"] and Objective(objective).logits
    assert not Objective({"layer_l2:a": 1.0, "channel:a:2": 1.0}).logits
    assert Objective({"layer_l2:a": 1.0, "channel:a:2": 1.0}).layers == ["a"]


@pytest.mark.parametrize(
    "objective, shape, sentence",
    [
        ("channel:a:3", (1, 3, 4, 4), "objective: the layer 'a' has no channel 3; choose 0 to 2"),
        ("channel:a:4", (1, 9, 4), "objective: the layer 'a' has no channel 4; choose 0 to 3"),
        (
            "neuron:a:0:4:0",
            (1, 3, 4, 4),
            r"objective: the layer 'a' has no position \(4, 0\); choose one in its map of shape \(4, 4\)",
        ),
        (
            "neuron:a:0:0:5",
            (1, 3, 4, 4),
            r"objective: the layer 'a' has no position \(0, 5\); choose one in its map of shape \(4, 4\)",
        ),
        (
            "neuron:a:0:0:0",
            (1, 9, 4),
            r"objective: the layer 'a' has no position \(0, 0\); choose one in its map of shape \(9,\)",
        ),
    ],
)
def test_a_channel_or_position_out_of_range_is_a_one_line_error(objective, shape, sentence):
    with pytest.raises(UserError, match=f"^{sentence}$"):
        scored(objective, ModelOutputs(layers={"a": rand(*shape)}), [0])


def variation_by_loops(image: np.ndarray) -> float:
    """Return the L2 norms of differences between neighbors in four directions, one pair after the other."""
    channels, height, width = image.shape
    total = 0.0
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        squares = 0.0
        for c, y, x in np.ndindex(channels, height, width):
            if y + down < height and 0 <= x + across < width:
                squares += (image[c, y + down, x + across] - image[c, y, x]) ** 2
        total += math.sqrt(squares)
    return total


def slopes_by_differences(score, images: torch.Tensor) -> np.ndarray:
    """Return the gradient of a score's sum over images from central differences."""
    slopes, step = np.zeros(images.shape), 1e-5
    for index in np.ndindex(*images.shape):
        up, down = images.clone(), images.clone()
        up[index] += step
        down[index] -= step
        slopes[index] = (score(up).sum() - score(down).sum()).item() / (2 * step)
    return slopes


def norm_of_three_channels() -> nn.BatchNorm2d:
    """Return a batch norm with running statistics of random data."""
    norm = nn.BatchNorm2d(3).double().eval()
    norm.running_mean[:], norm.running_var[:] = torch.tensor([0.1, 0.5, -0.2]), torch.tensor([0.3, 0.05, 2.0])
    return norm


def test_penalties_equal_plain_loops_for_each_image():
    images, norm = rand(3, 3, 5, 4), norm_of_three_channels()
    mean, variance = norm.running_mean.numpy(), norm.running_var.numpy()
    for image, variation, size, distance in zip(
        images.numpy(), total_variation(images), l2_norm(images), statistics_distance(norm, images), strict=True
    ):
        assert variation.item() == pytest.approx(variation_by_loops(image), rel=1e-9)
        assert size.item() == pytest.approx(math.sqrt(sum((value - 0.5) ** 2 for value in image.flat)), rel=1e-9)
        flat = image.reshape(3, -1)
        expected = np.linalg.norm(flat.mean(axis=1) - mean) + np.linalg.norm(flat.var(axis=1) - variance)
        assert distance.item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("shape", [(3, 3, 5, 4), (3, 3)])
def test_the_relative_distance_equals_a_plain_loop_over_channels(shape):
    images, norm = rand(*shape), norm_of_three_channels()
    for image, distance in zip(images.numpy(), statistics_distance(norm, images, relative=True), strict=True):
        shifts, ratios = [], []
        for channel in range(3):
            values = [float(value) for value in image[channel].flat]
            mean = sum(values) / len(values)
            variance = sum((value - mean) ** 2 for value in values) / len(values)
            deviation = math.sqrt(norm.running_var[channel].item() + norm.eps)
            shifts.append((mean - norm.running_mean[channel].item()) / deviation)
            ratios.append(math.sqrt(variance + norm.eps) / deviation - 1)
        expected = sum(math.sqrt(sum(value**2 for value in each) / 3) for each in (shifts, ratios))
        assert distance.item() == pytest.approx(expected, rel=1e-9)


def test_the_relative_distance_has_no_unit():
    images, norm, other = rand(2, 3, 5, 4), norm_of_three_channels(), norm_of_three_channels()
    norm.eps = other.eps = 0.0
    other.running_mean.mul_(7), other.running_var.mul_(49)
    assert close(statistics_distance(other, 7 * images, True), statistics_distance(norm, images, True), 1e-9)
    assert not close(statistics_distance(other, 7 * images), statistics_distance(norm, images), 0.1)


@pytest.mark.parametrize("penalty", ["total_variation", "length", "statistics_distance", "relative"])
def test_the_gradients_of_penalties_equal_finite_differences(penalty):
    norm = norm_of_three_channels()
    score = {
        "total_variation": total_variation,
        "length": l2_norm,
        "statistics_distance": lambda images: statistics_distance(norm, images),
        "relative": lambda images: statistics_distance(norm, images, relative=True),
    }[penalty]
    images = rand(2, 3, 4, 3).requires_grad_(True)
    score(images).sum().backward()
    assert close(images.grad, slopes_by_differences(score, images.detach()), atol=1e-8)
    gray = torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64, requires_grad=True)
    score(gray).sum().backward()
    assert gray.grad.isfinite().all(), "the gradient of a norm at zero is zero"


def test_the_prior_is_zero_for_inputs_with_the_running_statistics():
    norm = norm_of_three_channels()
    values = rand(1, 3, 6, 6)
    values = (values - values.mean(dim=(2, 3), keepdim=True)) / values.std(dim=(2, 3), keepdim=True, unbiased=False)
    mean, deviation = norm.running_mean.view(1, 3, 1, 1), norm.running_var.sqrt().view(1, 3, 1, 1)
    distances = statistics_distance(norm, torch.cat([values * deviation + mean, values]))
    assert distances[0] == pytest.approx(0, abs=3e-6) and distances[1] > 0.5

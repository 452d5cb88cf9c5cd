"""The pyramid parameterization: its levels compared with plain loops, and dreams."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from dreambirds.dreaming.dream import Dreamer, dream
from dreambirds.dreaming.features import FeatureExtractor
from dreambirds.dreaming.matching import photograph_statistics, stack_statistics
from dreambirds.dreaming.parameterization import Pyramid, make_parameterization
from dreambirds.dreaming.recipe import Recipe
from tests.helpers.small import close, network, rand, settled, streams

COLORS = np.array([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]]) / math.sqrt(0.26**2 + 2 * 0.27**2)
LEVELS = {  # the levels of each shape, from the coarsest
    (8, 8): [(1, 1), (2, 2), (4, 4), (8, 8)],
    (5, 7): [(1, 1), (2, 2), (3, 4), (5, 7)],
    (1, 3): [(1, 3)],
    (12, 20): [(1, 2), (2, 3), (3, 5), (6, 10), (12, 20)],
}
SHAPES = pytest.mark.parametrize("shape", LEVELS, ids=str)


def randn(*shape: int) -> torch.Tensor:
    """Return normal float64 numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def enlarged(level: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a level (3, h, w), upsampled bilinearly one pixel at a time."""
    result = np.zeros((3, height, width))
    high, wide = level.shape[1:]
    for y, x in np.ndindex(height, width):
        down = min(max((y + 0.5) * high / height - 0.5, 0), high - 1)
        across = min(max((x + 0.5) * wide / width - 0.5, 0), wide - 1)
        top, left = int(down), int(across)
        for row, share in ((top, 1 - (down - top)), (min(top + 1, high - 1), down - top)):
            for column, part in ((left, 1 - (across - left)), (min(left + 1, wide - 1), across - left)):
                result[:, y, x] += share * part * level[:, row, column]
    return result


def decoded(parameters: np.ndarray, shape: tuple[int, int], decay: float = 1.0) -> np.ndarray:
    """Return the image (3, H, W) of the parameters (N,) of a pyramid."""
    total, start, levels = np.zeros((3, *shape)), 0, LEVELS[shape]
    amplitudes = [1, 1, decay, decay**2, decay**3][-len(levels) :]
    for level, amplitude in zip(levels, amplitudes, strict=True):
        end = start + 3 * level[0] * level[1]
        total += amplitude * enlarged(parameters[start:end].reshape(3, *level), *shape)
        start = end
    assert start == len(parameters)
    return 1 / (1 + np.exp(-2 * np.einsum("ij,jhw->ihw", COLORS, total)))


@SHAPES
def test_levels_halve_down_to_a_single_pixel(shape):
    pyramid = Pyramid(*shape)
    assert pyramid.shapes == LEVELS[shape] and pyramid.sizes == [3 * high * wide for high, wide in LEVELS[shape]]
    assert isinstance(make_parameterization("pyramid", shape), Pyramid)


@pytest.mark.parametrize("decay", [1.0, 0.7])
@SHAPES
def test_the_image_is_the_sigmoid_of_the_sum_of_all_upsampled_levels(shape, decay):
    pyramid = Pyramid(*shape, decay)
    parameters = randn(2, sum(pyramid.sizes))
    images = pyramid.decode(parameters)
    assert images.shape == (2, 3, *shape)
    for image, given in zip(images.numpy(), parameters.numpy(), strict=True):
        assert close(image, decoded(given, shape, decay))


@pytest.mark.parametrize("decay", [1.0, 0.7])
@SHAPES
def test_a_start_image_is_encoded_exactly(shape, decay):
    pyramid = Pyramid(*shape, decay)
    images = 0.01 + 0.98 * rand(3, 3, *shape)
    parameters = pyramid.encode(images)
    assert parameters.shape == (3, sum(pyramid.sizes))
    assert close(pyramid.decode(parameters), images)
    single = pyramid.encode(images.float())
    assert single.dtype == torch.float32 and close(pyramid.decode(single), images, 1e-5)
    assert close(pyramid.encode(images[1:2])[0], parameters[1]), "the same without a batch"


def test_black_and_white_are_clamped_to_a_512th_from_the_edge():
    edges = torch.tensor([0.0, 1.0], dtype=torch.float64).view(1, 1, 1, 2).expand(1, 3, 4, 2)
    found = Pyramid(4, 2).decode(Pyramid(4, 2).encode(edges))
    assert close(found, edges.clamp(1 / 512, 511 / 512))


@SHAPES
def test_gray_and_the_mean_color_of_an_image_are_in_the_coarsest_level(shape):
    pyramid = Pyramid(*shape)
    gray = pyramid.encode(torch.full((1, 3, *shape), 128 / 255, dtype=torch.float64))
    assert gray[0, pyramid.sizes[0] :].abs().sum() < 1e-10
    assert close(pyramid.decode(gray), 128 / 255) and gray.abs().max() < 0.02
    colors = rand(3).view(1, 3, 1, 1).expand(1, 3, *shape)
    assert pyramid.encode(colors)[0, pyramid.sizes[0] :].abs().sum() < 1e-10


@pytest.mark.parametrize(
    ("progress", "levels"), [(0, 1), (0.2, 1), (0.25, 2), (0.49, 2), (0.5, 3), (0.74, 3), (0.75, 4), (1, 4), (7, 4)]
)
def test_levels_are_freed_at_equal_intervals(progress, levels):
    fixed = torch.arange(3 * (1 + 4 + 16 + 64))[Pyramid(8, 8).fixed(progress)]
    assert fixed.tolist() == list(range(3 * sum(4**level for level in range(levels)), 3 * (1 + 4 + 16 + 64)))


def level_moves(recipe: Recipe, steps: int, shape: tuple[int, int] = (8, 8)) -> list[list[bool]]:
    """Return which levels each step of a dream changed."""
    dreamer = Dreamer(network(), torch.tensor([0, 1]), 0.2 + 0.6 * rand(2, 3, *shape), recipe, streams("ab"))
    moves = []
    for step in range(steps):
        before = dreamer.parameters.split(Pyramid(*shape).sizes, dim=1)
        dreamer.step(step)
        after = dreamer.parameters.split(Pyramid(*shape).sizes, dim=1)
        moves.append([not torch.equal(*pair) for pair in zip(before, after, strict=True)])
    return moves


PYRAMID = Recipe(parameterization="pyramid", pyramid_steps=8, optimizer="adam", step_size=0.05, beta1=0.5, beta2=0.9)


@pytest.mark.parametrize(
    "more",
    [
        {"optimizer": "ascent", "momentum": 0.9, "step_size": 10.0},
        {},
        {"optimizer": "nadam", "gradient_normalization": "l2"},
        {"optimizer": "adamw", "weight_decay": 0.1},
        {"optimizer": "adam", "weight_decay": 0.1},
    ],
    ids=str,
)
def test_fixed_levels_do_not_change(more):
    moves = level_moves(replace(PYRAMID, **more), 9)
    assert moves == [[True] * levels + [False] * (4 - levels) for levels in (1, 1, 2, 2, 3, 3, 4, 4, 4)]


def test_without_pyramid_steps_all_levels_are_free_from_the_start():
    assert level_moves(replace(PYRAMID, pyramid_steps=0), 2) == [[True] * 4] * 2


@pytest.mark.parametrize("decay", [1.0, 0.7])
def test_a_step_is_adam_on_the_levels(decay):
    recipe = replace(PYRAMID, pyramid_steps=1, pyramid_decay=decay, steps=(4,))
    model, start = network(), 0.2 + 0.6 * rand(1, 3, 8, 8)
    pyramid = Pyramid(8, 8, decay)
    parameters, first, second = pyramid.encode(start), 0.0, 0.0
    for step in range(1, 5):
        leaf = parameters.clone().requires_grad_(True)
        (slope,) = torch.autograd.grad(model(pyramid.decode(leaf))[0, 0], leaf)
        if step == 1:
            slope[:, 3:] = 0  # except for the coarsest pixel
        first, second = 0.5 * first + 0.5 * slope, 0.9 * second + 0.1 * slope**2
        parameters = parameters + 0.05 * (first / (1 - 0.5**step)) / ((second / (1 - 0.9**step)).sqrt() + 1e-8)
    found = dream(model, torch.tensor([0]), start, recipe, streams("a")).snapshots[4]
    assert close(found, decoded(parameters[0].numpy(), (8, 8), decay), 1e-6)


PORTRAIT = replace(
    PYRAMID,
    objective={"cross_entropy": 1.0, "feature_match": 1.0},
    match_regions="center",
    match_views=2,
    pyramid_steps=4,
    flip=0.5,
    crop_area={"from": 1.0, "to": 0.3, "over": 5, "shape": "cosine"},
    whole_views=0.4,
    crop_output_size=32,
)


@pytest.fixture(scope="module")
def classifier():
    """Return a tiny residual network in float64."""
    return settled().double().requires_grad_(False)


@pytest.fixture(scope="module")
def dreamt(classifier):
    """Return a function that dreams of one class per character."""
    features = FeatureExtractor(classifier, ["act1", "layer1", "layer2", "layer3", "layer4"], logits=False)
    photographs = rand(3, 4, 3, 32, 32)
    seen = [photograph_statistics(features, each, PORTRAIT) for each in photographs]

    def run(keys: str = "abc", **more):
        indices = ["abc".index(key) for key in keys]
        references = stack_statistics([seen[index] for index in indices])
        starts = 0.3 + 0.4 * rand(3, 3, 32, 32)[indices]
        recipe = replace(PORTRAIT, **more)
        return dream(classifier, torch.tensor(indices), starts, recipe, streams(keys), references=references)

    return run


def test_snapshots_of_a_dream_equal_those_of_shorter_dreams(dreamt):
    both = dreamt(steps=(3, 6))
    for steps in (3, 6):
        alone = dreamt(steps=(steps,))
        assert torch.equal(both.snapshots[steps], alone.snapshots[steps])
        assert torch.equal(both.metrics[steps].loss, alone.metrics[steps].loss)
        assert torch.equal(both.trace.loss[:, :steps], alone.trace.loss[:, :steps])
    assert not close(both.snapshots[3], both.snapshots[6], 1e-3)


def test_a_dream_is_the_same_alone_as_in_a_batch(dreamt):
    together = dreamt(steps=(6,))
    for index, key in enumerate("abc"):
        alone = dreamt(key, steps=(6,))
        assert close(together.snapshots[6][index], alone.snapshots[6][0], 1e-5)
        assert close(together.trace.loss[index], alone.trace.loss[0], 1e-5)
    assert not close(together.snapshots[6][0], together.snapshots[6][1], 1e-3)


def test_matching_reduces_the_distance(dreamt):
    losses = dreamt(objective="feature_match", steps=(30,), whole_views=1.0, step_size=0.02, flip=0.0).trace.loss
    assert (losses > 0).all() and (losses[:, -1] < 0.8 * losses[:, 0]).all()

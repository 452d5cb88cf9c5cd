"""Random resized crops, compared with plain loops and torchvision."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as v2

from dreambirds.dreaming.crops import WHOLE, draw_box, resampling_weights, resized_crops
from dreambirds.dreaming.recipe import Recipe, uses_full_images
from dreambirds.dreaming.transforms import Transforms
from dreambirds.seeding import generator
from tests.helpers.small import close, ramps, rand, streams

DRAWS = 4000
SHAPES = [
    ((12, 12), (12, 12)),
    ((12, 12), (5, 5)),
    ((7, 11), (14, 22)),
    ((17, 6), (8, 9)),
    ((20, 30), (3, 2)),
    ((20, 30), (1, 4)),
]


def weights_by_hand(first: float, extent: float, pixels: int, size: int) -> np.ndarray:
    """Return the weights of a side's pixels in each pixel of a resized crop: a triangle, as wide as a new pixel."""
    weights = np.zeros((size, pixels))
    for index in range(size):
        middle = (first + extent * (index + 0.5) / size) * pixels
        reach = max(1.0, extent * pixels / size)
        for pixel in range(pixels):
            weights[index, pixel] = max(0.0, 1 - abs(pixel + 0.5 - middle) / reach)
        weights[index] /= weights[index].sum()
    return weights


def boxes(count: int, smallest: float, ratio: float) -> np.ndarray:
    """Return boxes (count, 4)."""
    rng = generator(0, "boxes")
    return np.array([draw_box(rng, smallest, ratio) for _ in range(count)])


def spread_evenly(values: np.ndarray, low: float, high: float) -> bool:
    """Return whether values are uniform: their distribution function is close to a straight line."""
    ordered = np.sort((values - low) / (high - low))
    inside = ordered[0] >= -1e-6 and ordered[-1] <= 1 + 1e-6
    return inside and np.abs(ordered - (np.arange(len(values)) + 0.5) / len(values)).max() < 1.95 / len(values) ** 0.5


@pytest.mark.parametrize(
    ("first", "extent", "pixels", "size"),
    [(0.0, 1.0, 9, 9), (0.0, 1.0, 9, 4), (0.21, 0.43, 30, 5), (0.21, 0.43, 7, 12), (0.4, 0.6, 5, 1), (0.9, 0.1, 4, 6)],
)
def test_the_weights_equal_a_plain_loop(first, extent, pixels, size):
    given = [torch.tensor([value, 0.25], dtype=torch.float64) for value in (first, extent)]
    found = resampling_weights(*given, pixels, size)
    assert found.shape == (2, size, pixels)
    assert close(found[0], weights_by_hand(first, extent, pixels, size))
    assert close(found[1], weights_by_hand(0.25, 0.25, pixels, size)), "each image has its own weights"


def test_a_crop_is_the_product_of_both_axes_weights_in_every_channel_of_its_image():
    images, cuts, (height, width) = rand(2, 3, 9, 14), [(0.1, 0.3, 0.55, 0.4), (0.37, 0.0, 0.21, 0.8)], (4, 10)
    found = resized_crops(images, cuts, (height, width))
    for index, (top, left, high, wide) in enumerate(cuts):
        down, across = weights_by_hand(top, high, 9, height), weights_by_hand(left, wide, 14, width)
        for channel, y, x in np.ndindex(3, height, width):
            weights = np.outer(down[y], across[x])
            assert close(found[index, channel, y, x], (weights * images[index, channel].numpy()).sum())


@pytest.mark.parametrize(("image_shape", "shape"), SHAPES, ids=str)
def test_a_full_box_equals_torchvision_s_resize(image_shape, shape):
    images = rand(2, 3, *image_shape)
    expected = v2.resize(images, list(shape), antialias=True)
    assert close(resized_crops(images, [WHOLE, WHOLE], shape), expected)
    single = resized_crops(images.float(), [WHOLE, WHOLE], shape)
    assert single.dtype == torch.float32 and close(single, expected, 1e-6)
    assert shape != image_shape or torch.equal(resized_crops(images, [WHOLE, WHOLE], shape), images), (
        "images of the right size are returned unchanged"
    )


@pytest.mark.parametrize("shape", [(8, 8), (4, 10), (3, 3), (16, 25)], ids=str)
def test_inside_a_box_of_integer_pixels_a_crop_equals_torchvision_s(shape):
    """Torchvision crops before it smooths, so pixels at a crop's border do not depend on pixels beyond it."""
    images, (height, width) = rand(1, 3, 20, 30), (20, 30)
    for top, left, high, wide in ((3, 7, 16, 20), (2, 1, 8, 8), (0, 0, 20, 10)):
        expected = v2.resized_crop(images, top, left, high, wide, list(shape), antialias=True)
        found = resized_crops(images, [(top / height, left / width, high / height, wide / width)], shape)
        inside = []
        for side, size, first, end in ((high, shape[0], top, height), (wide, shape[1], left, width)):
            middles = (np.arange(size) + 0.5) * side / size
            reach = max(1.0, side / size) - 0.5  # of the centers of pixels with a weight
            inside.append(
                ((middles >= reach) | (first == 0)) & ((middles <= side - reach) | (first + side == end)),
            )
        within = np.broadcast_to(np.outer(*inside), found.shape)
        assert within.any() or max(shape) == 3
        assert close(found.numpy()[within], expected.numpy()[within])


def test_a_box_of_integer_pixels_is_cropped_exactly_at_its_size():
    images = rand(2, 3, 16, 32)
    found = resized_crops(images, [(2 / 16, 5 / 32, 8 / 16, 8 / 32), (0.5, 0.75, 0.5, 0.25)], (8, 8))
    assert close(found[0], images[0, :, 2:10, 5:13]) and close(found[1], images[1, :, 8:, 24:])


def test_a_crop_s_gradient_is_correct_and_limited_to_its_box():
    cuts = [(0.1, 0.3, 0.55, 0.4), (0.0, 0.0, 1.0, 1.0)]
    images = rand(2, 2, 6, 7).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda images: resized_crops(images, cuts, (4, 5)), images)
    image = rand(1, 1, 40, 40).requires_grad_(True)
    (slope,) = torch.autograd.grad(resized_crops(image, [(0.25, 0.5, 0.25, 0.25)], (5, 5)).sum(), image)
    down, across = slope[0, 0].abs().sum(dim=1), slope[0, 0].abs().sum(dim=0)
    for sums, first in ((down, 10), (across, 20)):  # downscaled by 2: one pixel beyond the box has a weight too
        assert sums.nonzero()[:, 0].tolist() == list(range(first - 1, first + 11))


@pytest.mark.parametrize("smallest", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("ratio", [1.0, 4 / 3, 3.0])
def test_boxes_are_inside_the_image_and_within_the_ratio(smallest, ratio):
    top, left, height, width = boxes(DRAWS, smallest, ratio).T
    for first, side in ((top, height), (left, width)):
        assert side.min() > 0 and side.max() <= 1 and first.min() >= 0 and (first + side).max() <= 1 + 1e-12
    stretch = width / height
    assert stretch.min() >= 1 / ratio - 1e-9 and stretch.max() <= ratio + 1e-9
    assert ratio == 1 or smallest == 1 or (stretch.min() < 1 < stretch.max())


@pytest.mark.parametrize("smallest", [0.08, 0.3, 0.9])
def test_areas_and_positions_are_uniform(smallest):
    top, left, height, width = boxes(DRAWS, smallest, 1.0).T
    assert np.allclose(height, width), "with the image's aspect ratio"
    assert spread_evenly(height * width, smallest, 1.0)
    assert spread_evenly(top / (1 - height), 0, 1) and spread_evenly(left / (1 - width), 0, 1)
    parts = np.corrcoef([height * width, top / (1 - height), left / (1 - width)])
    assert np.abs(parts - np.eye(3)).max() < 0.07, "independent draws"


def test_ratios_are_log_uniform():
    _, _, height, width = boxes(DRAWS, 0.05, 2.0).T
    small = height * width < 0.5  # boxes of this area fit with any ratio
    assert spread_evenly(np.log(width / height)[small], -math.log(2), math.log(2))
    assert spread_evenly((height * width)[small], 0.05, 0.5)
    assert abs(np.corrcoef(height * width, np.log(width / height))[0, 1]) < 0.07


@pytest.mark.parametrize("ratio", [1.0, 4 / 3])
def test_a_smallest_area_of_1_gives_the_full_image(ratio):
    rng = generator(0, "full")
    assert all(np.allclose(draw_box(rng, 1.0, ratio), WHOLE) for _ in range(50))


@pytest.mark.parametrize("smallest", [0.3, 0.8, 0.95])
def test_no_box_is_smaller_than_the_smallest_area(smallest):
    _, _, height, width = boxes(DRAWS, smallest, 4 / 3).T
    assert (height * width).min() >= smallest - 1e-9


@pytest.mark.parametrize(
    ("image_shape", "side", "expected"),
    [((32, 32), 8, (8, 8)), ((32, 32), None, (32, 32)), ((24, 40), 12, (12, 20)), ((40, 24), None, (40, 24))],
    ids=str,
)
def test_a_view_is_one_crop_with_the_image_s_aspect_ratio(image_shape, side, expected):
    views = Transforms(Recipe(crop_area=0.2, crop_ratio=1.5, crop_output_size=side), streams("abcd"))
    for number in range(5):
        seen = views(ramps(4, *image_shape), number)
        assert seen.shape == (4, 3, *expected)
        assert close(seen[:, 2], torch.arange(4).view(4, 1, 1).expand(4, *expected)), "view i is of image i"
        inner = seen[..., 2:-2, 2:-2]  # the image is constant beyond its edge
        width = expected[1] * inner[:, 0].diff(dim=-1).flatten(1).mean(dim=1)
        height = expected[0] * inner[:, 1].diff(dim=-2).flatten(1).mean(dim=1)
        assert ((width / height).log().abs() < math.log(1.5) + 1e-6).all()
        assert ((width * height) > 0.19).all() and ((width * height) <= 1 + 1e-9).all()
        assert (width * height).std() > 0.01


def test_the_smallest_area_is_a_schedule():
    views = Transforms(Recipe(crop_area={"from": 1.0, "to": 0.1, "over": 2}, crop_ratio=1.0), streams("abcde") * 60)
    smallest = []
    for number in range(4):
        seen = views(ramps(300, 20, 20), number)[:, 0, 10, 4:16]
        smallest.append((20 * seen.diff(dim=-1).mean(dim=-1)).square().min().item())
    assert smallest == pytest.approx([1.0, 0.55, 0.1, 0.1], abs=0.03)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 1 / 3, 0.5, 0.7, 1.0])
def test_a_fraction_of_the_steps_uses_full_images_at_equal_intervals(share):
    recipe = Recipe(crop_area=0.1, whole_views=share)
    full = [uses_full_images(recipe, step) for step in range(3000)]
    for count in (*range(1, 60), 3000):
        assert sum(full[:count]) == math.floor(Fraction(share).limit_denominator(1000) * count)
    assert len({sum(full[begun : begun + 30]) for begun in range(2900)}) <= 2, "equally often everywhere"
    assert all(uses_full_images(Recipe(whole_views=share), step) for step in range(9)), "without crops"


@pytest.mark.parametrize(("share", "first"), [(0.5, 10), (0.3, 7), (1.0, 4)])
def test_full_images_can_be_limited_to_the_first_steps(share, first):
    unlimited, limited = (Recipe(crop_area=0.5, whole_views=share, whole_steps=steps) for steps in (None, first))
    expected = [uses_full_images(unlimited, step) and step < first for step in range(40)]
    assert [uses_full_images(limited, step) for step in range(40)] == expected and any(expected)


def test_full_views_equal_torchvision_s_resize_in_the_same_steps_for_every_image():
    images = rand(1, 3, 16, 24).expand(5, 3, 16, 24)
    recipe = Recipe(crop_area=0.1, crop_output_size=8, whole_views=0.3)
    views = Transforms(recipe, streams("abcde"))
    entire = v2.resize(images[:1], [8, 12], antialias=True)[0]
    for step in range(20):
        alike = [close(view, entire) for view in views(images, step)]
        assert alike == [step in (3, 6, 9, 13, 16, 19)] * 5, step


def test_without_crops_or_with_a_fraction_of_1_all_views_are_full():
    images = rand(2, 3, 10, 14)
    plain, always = Transforms(Recipe(), streams("ab")), Transforms(Recipe(crop_area=0.2, whole_views=1), streams("ab"))
    for views in (plain, always):
        assert all(close(views(images, step), images) for step in range(3))


@pytest.mark.parametrize("whole_views", [0.0, 0.5])
def test_the_view_of_an_image_does_not_depend_on_its_batch(whole_views):
    recipe = Recipe(crop_area=0.2, crop_output_size=9, whole_views=whole_views, flip=0.5, jitter=1, noise=0.1, roll=2)
    recipe = replace(recipe, rotate={"random": [-20, 20]}, pad=1)
    images = rand(3, 3, 12, 15)
    together, alone = Transforms(recipe, streams("abc")), Transforms(recipe, streams("b"))
    for number in range(8):
        views = together(images, number)
        assert close(views[1], alone(images[1:2], number)[0])
        assert not close(views[0], views[1], atol=1e-3)


def test_a_view_s_gradient_flows_back_to_the_image():
    """A view is linear in the image, so the gradient times the image equals the differentiated value."""
    image = rand(1, 3, 12, 15).requires_grad_(True)
    views = Transforms(Recipe(crop_area=0.2, crop_output_size=7, whole_views=0.3, flip=0.5), streams("a"))
    for number in range(6):
        seen = views(image, number)
        total = (seen * rand(*seen.shape)).sum()
        (slope,) = torch.autograd.grad(total, image)
        assert (slope * image).sum().item() == pytest.approx(total.item(), rel=1e-9)

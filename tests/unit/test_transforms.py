"""Transforms and schedules, compared with independent numpy code."""

import itertools
import math

import numpy as np
import pytest
import torch

from dreambirds.dreaming.recipe import Recipe, is_always, value_at
from dreambirds.dreaming.transforms import Transforms
from dreambirds.seeding import generator
from tests.helpers.small import close, ramps, rand, streams

SIZE = 12
SHAPES = [(12, 12), (9, 14), (16, 7)]
BETWEEN = {"random": [0.8, 1.25]}


def test_values_are_constant_random_or_scheduled():
    assert value_at(0.7, 99) == 0.7 and value_at(3, 0) == 3.0
    line = {"from": 2.0, "to": 1.0, "over": 4}
    assert [value_at(line, step) for step in (0, 1, 4, 9)] == [2.0, 1.75, 1.0, 1.0]
    wave = {"from": 0.5, "to": 1.5, "over": 6, "shape": "cosine"}
    for step in range(9):
        assert value_at(wave, step) == pytest.approx(1 - 0.5 * math.cos(math.pi * min(step, 6) / 6))
    random = generator(0, "a")
    drawn = torch.tensor([value_at({"random": [0.1, 0.5]}, step, random) for step in range(1000)])
    assert 0.1 <= drawn.min() < 0.11 and 0.49 < drawn.max() <= 0.5
    assert drawn.mean() == pytest.approx(0.3, abs=0.01)


def test_only_a_constant_is_always_the_same():
    assert is_always(1, 1.0) and is_always(0.0, 0)
    assert (
        not is_always(2, 1)
        and not is_always({"random": [1, 1]}, 1)
        and not is_always({"from": 1, "to": 1, "over": 2}, 1)
    )


def test_a_neutral_recipe_returns_the_image_and_draws_no_random_numbers():
    images, random = rand(2, 3, SIZE, SIZE), streams("ab")
    views = Transforms(Recipe(), random)
    assert all(torch.equal(views(images, number), images) for number in range(3))
    assert [each.get_state().tolist() for each in random] == [each.get_state().tolist() for each in streams("ab")]


def test_padding_is_gray():
    images = rand(2, 3, SIZE, SIZE)
    view = Transforms(Recipe(pad=3), streams("ab"))(images, 0).numpy()
    assert np.array_equal(view, np.pad(images.numpy(), ((0, 0), (0, 0), (3, 3), (3, 3)), constant_values=0.5))


def test_rolls_are_up_to_their_length_in_every_direction():
    image = rand(1, 3, SIZE, SIZE)
    views, seen = Transforms(Recipe(roll=2), streams("a")), set()
    rolled = {(y, x): np.roll(image[0].numpy(), (y, x), axis=(1, 2)) for y in range(-2, 3) for x in range(-2, 3)}
    for number in range(150):
        view = views(image, number)[0].numpy()
        (offset,) = [offset for offset, window in rolled.items() if np.array_equal(window, view)]
        seen.add(offset)
    assert len(seen) == 25


def test_views_move_by_at_most_the_jitter_and_flip_by_the_parity_of_the_draws():
    views, image = Transforms(Recipe(jitter=2, flip=1.0), streams("a")), rand(1, 3, SIZE, SIZE)
    padded = np.pad(image[0].numpy(), ((0, 0), (2, 2), (2, 2)), mode="reflect")
    windows = {(y, x): padded[:, y : y + SIZE, x : x + SIZE] for y in range(5) for x in range(5)}
    seen = set()
    for number in range(150):
        view = views(image, number)[0].numpy()
        view = view[..., ::-1] if number % 2 else view
        (offset,) = [offset for offset, window in windows.items() if np.array_equal(window, view)]
        seen.add(offset)
    assert len(seen) == 25


def test_flips_have_the_requested_frequency():
    views, image = Transforms(Recipe(flip=0.2), streams("a")), rand(1, 3, 4, 4)
    odd = [torch.equal(views(image, number), image.flip(-1)) for number in range(1000)]
    changes = sum(before != after for before, after in itertools.pairwise(odd))
    assert not odd[0] and changes / 999 == pytest.approx(0.2, abs=0.04)


def sampled(image: np.ndarray, degrees: float, high: float, wide: float) -> np.ndarray:
    """Return (C, H, W) enlarged by factors and then rotated clockwise, bilinear and reflected at the border."""
    (height, width), turn = image.shape[1:], math.radians(degrees)
    view = np.zeros_like(image)

    def at(y: int, x: int) -> np.ndarray:
        y, x = (
            min(coordinate % (2 * side), 2 * side - 1 - coordinate % (2 * side))
            for coordinate, side in ((y, height), (x, width))
        )
        return image[:, y, x]

    for row, column in np.ndindex(height, width):
        y, x = row + 0.5 - height / 2, column + 0.5 - width / 2
        # the source position of this pixel, before the clockwise rotation (y increases downwards)
        x, y = math.cos(turn) * x + math.sin(turn) * y, math.cos(turn) * y - math.sin(turn) * x
        x, y = x / wide + width / 2 - 0.5, y / high + height / 2 - 0.5
        top, left = math.floor(y), math.floor(x)
        down, across = y - top, x - left
        above = (1 - across) * at(top, left) + across * at(top, left + 1)
        below = (1 - across) * at(top + 1, left) + across * at(top + 1, left + 1)
        view[:, row, column] = (1 - down) * above + down * below
    return view


@pytest.mark.parametrize(
    "degrees, high, wide",
    [(20, 1, None), (-35, 1, None), (0, 2, None), (0, 0.6, None), (15, 0.9, 1.4), (180, 0.7, 1.1)],
)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_views_are_enlarged_and_rotated_as_by_a_bilinear_sampler(shape, degrees, high, wide):
    image = rand(1, 3, *shape)
    view = Transforms(Recipe(rotate=degrees, scale=high, scale_width=wide), streams("a"))(image, 0)
    assert close(view[0], sampled(image[0].numpy(), degrees, high, wide or high), atol=2e-5)


def test_positive_degrees_rotate_clockwise_and_larger_scales_show_the_center():
    image = rand(1, 3, SIZE, SIZE)
    turned = Transforms(Recipe(rotate=90), streams("a"))(image, 0)
    assert close(turned, np.rot90(image, k=-1, axes=(2, 3)), atol=1e-5)
    framed = torch.ones(1, 3, SIZE, SIZE, dtype=torch.float64)
    framed[..., 2:-2, 2:-2] = 0
    assert Transforms(Recipe(scale=2), streams("a"))(framed, 0).abs().max() == 0
    wide = Transforms(Recipe(scale_width=2), streams("a"))(framed, 0)
    assert wide[:, :, 3:-3].abs().max() == 0 and wide[:, :, 0].min() == 1, "only the width is scaled"


@pytest.mark.parametrize(
    "image_shape, view, expected",
    [((32, 32), 8, (8, 8)), ((32, 32), None, (32, 32)), ((24, 40), 12, (12, 20)), ((40, 24), None, (40, 24))],
    ids=str,
)
def test_crops_have_their_size_and_are_inside_the_image_around_its_center(image_shape, view, expected):
    recipe = Recipe(crops=100, crop_size={"random": [0.25, 0.5]}, crop_output_size=view)
    crops = Transforms(recipe, streams("abc"))(ramps(3, *image_shape), 0)
    assert crops.shape == (300, 3, *expected)
    high, wide = expected
    assert crops[:, 2].flatten(1).amin(dim=1).round().tolist() == [0] * 100 + [1] * 100 + [2] * 100
    inner = crops[..., 2:-2, 2:-2]  # the last half pixel of an image is constant
    size = wide * inner[:, 0].diff(dim=2).flatten(1)
    assert (size.amax(dim=1) - size.amin(dim=1)).max() < 1e-4, "a crop beyond the image would be reflected"
    size, tall = size.mean(dim=1), high * inner[:, 1].diff(dim=1).flatten(1).mean(dim=1)
    assert torch.allclose(size, tall, atol=1e-4), "crops have the image's aspect ratio"
    assert 0.25 - 1e-5 < size.min() < 0.26 and 0.49 < size.max() < 0.5 + 1e-5
    for middle in (inner[:, 0].mean(dim=(1, 2)), inner[:, 1].mean(dim=(1, 2))):
        assert (middle - size / 2).min() > -1e-4 and (middle + size / 2).max() < 1 + 1e-4
        assert middle.mean().item() == pytest.approx(0.5, abs=0.03)
        assert middle.std().item() == pytest.approx(0.15, rel=0.15)


def test_noise_is_normal_and_differs_between_images_crops_and_steps():
    flat = torch.full((2, 3, 32, 32), 0.5, dtype=torch.float64)
    views = Transforms(Recipe(crops=2, noise=0.1), streams("ab"))
    noise = torch.cat([views(flat, number) - 0.5 for number in range(2)]).flatten(1)
    assert noise.std().item() == pytest.approx(0.1, rel=0.02) and noise.mean().item() == pytest.approx(0, abs=2e-3)
    beyond = (noise.abs() > 0.2).double().mean().item()
    assert beyond == pytest.approx(0.0455, abs=0.005), "as in a normal distribution"
    assert (torch.corrcoef(noise) - torch.eye(8)).abs().max() < 0.08


EVERYTHING = Recipe(roll=2, jitter=1, flip=0.5, scale=BETWEEN, scale_width=BETWEEN, rotate={"random": [-20, 20]})


@pytest.mark.parametrize(
    "more", [{"pad": 2, "noise": 0.1}, {"crops": 3, "noise": 0.1, "crop_size": {"random": [0.3, 0.8]}}], ids=str
)
def test_the_view_of_an_image_does_not_depend_on_its_batch(more):
    recipe = Recipe(**{**vars(EVERYTHING), **more})
    images = rand(3, 3, SIZE, SIZE)
    together, alone = Transforms(recipe, streams("abc")), Transforms(recipe, streams("b"))
    for number in range(6):
        views = together(images, number).unflatten(0, (3, -1))
        assert close(views[1], alone(images[1:2], number))
        assert not close(views[0], views[1], atol=1e-3)


def test_gradients_flow_back_to_the_image():
    """A view is linear in the image, so the gradient times the image equals the differentiated value."""
    image = rand(1, 3, SIZE, SIZE).requires_grad_(True)
    views, weights = Transforms(EVERYTHING, streams("a")), rand(1, 3, SIZE, SIZE)
    for number in range(4):
        total = (views(image, number) * weights).sum()
        (slope,) = torch.autograd.grad(total, image)
        assert (slope * image).sum().item() == pytest.approx(total.item(), rel=1e-9)

"""Octaves, zoom and tiles, compared with independent numpy and torch code."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from dreambirds.dreaming.octaves import (
    Octaves,
    enlarge,
    evaluation_shape,
    input_shapes,
    octave_shapes,
    resize,
    tile_starts,
    tiled_gradient,
)
from dreambirds.dreaming.recipe import Recipe
from dreambirds.dreaming.transforms import Transforms
from dreambirds.shapes import in_proportion, parse_shape, shape_name
from tests.helpers.small import close, ramps, rand, streams


def test_octaves_grow_to_the_image_s_size():
    four = [82, 114, 160, 224]  # 224 divided by 1.4 once, twice and three times
    assert octave_shapes(Recipe(octaves=4, octave_scale=1.4), (224, 224)) == [(side, side) for side in four]
    wide = list(zip(four, [109, 153, 214, 300], strict=True))
    assert octave_shapes(Recipe(octaves=4, octave_scale=1.4), (224, 300)) == wide
    assert octave_shapes(Recipe(octaves=2, octave_scale=2.0), (129, 50)) == [(64, 25), (129, 50)]
    assert octave_shapes(Recipe(), (77, 30)) == [(77, 30)]


def test_shapes_keep_their_aspect_ratio_and_are_part_of_file_names():
    assert in_proportion((48, 32), 64) == (96, 64) and in_proportion((32, 48), 64) == (64, 96)
    assert in_proportion((48, 32), 24, of=max) == (24, 16) and in_proportion((50, 30), 20) == (33, 20)
    assert in_proportion((2048, 16), 32, of=max) == (32, 1), "a side is at least 1"
    assert all(in_proportion((height, 37), min(height, 37)) == (height, 37) for height in range(16, 2049))
    assert [shape_name(shape) for shape in ((64, 64), (48, 32))] == ["64", "48x32"]
    assert [parse_shape(name) for name in ("64", "48x32")] == [(64, 64), (48, 32)]


@pytest.mark.parametrize(
    "recipe, views, evaluations",
    [
        (Recipe(), [(90, 60)], [(90, 60)]),
        (Recipe(pad=5), [(100, 70)], [(90, 60)]),
        (Recipe(octaves=2, octave_scale=2.0, pad=1), [(47, 32), (92, 62)], [(45, 30), (90, 60)]),
        (Recipe(tile=45, pad=5), [(45, 45)], [(45, 30)]),
        (Recipe(tile=80), [(80, 60)], [(80, 53)]),
        (Recipe(tile=45, octaves=2, octave_scale=2.0), [(45, 30), (45, 45)], [(45, 30)]),
        (Recipe(crops=2, crop_output_size=20, pad=15), [(27, 20)], [(30, 20)]),  # 120 over 90, and 90 over 60
        (Recipe(crops=2, pad=5), [(100, 70)], [(90, 60)]),
    ],
    ids=str,
)
def test_input_shapes_are_those_that_the_model_sees(recipe, views, evaluations):
    assert input_shapes(recipe, (90, 60)) == sorted({*views, *evaluations})
    shown = []

    def watch(tile: torch.Tensor) -> tuple[torch.Tensor]:
        shown.append(tuple(tile.shape[-2:]))
        return (tile,)

    for shape in octave_shapes(recipe, (90, 60)):
        view = Transforms(recipe, streams("a"))(rand(1, 3, *shape), 0)
        tiled_gradient(watch, view, recipe.tile or 999, streams("a"))
        assert evaluation_shape(recipe, shape) in evaluations
    assert set(shown) == set(views)


def shrunk(images: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """Return images resized by torch only."""
    return functional.interpolate(images, shape, mode="bilinear", antialias=True)


@pytest.mark.parametrize("shapes", [[(8, 8), (12, 12), (18, 18)], [(8, 12), (12, 17), (18, 26)]], ids=str)
@pytest.mark.parametrize("manner", ["resize", "detail"])
def test_octaves_equal_the_published_algorithms(manner, shapes):
    """TensorFlow's tutorial resizes the image; google/deepdream resizes the detail and adds it to the photograph."""
    recipe = Recipe(octaves=3, octave_scale=1.5, octave_steps=4, octave_mode=manner, steps=(12,))
    starts = 0.3 + 0.4 * rand(2, 3, *shapes[-1])
    octaves = Octaves(recipe, starts)
    images = octaves.first()
    for number in range(12):
        images = octaves.grow(images, number)
        images = images + 0.01 * images.sin() + 0.001 * number  # any dream
    image, detail, number = shrunk(starts, shapes[0]), torch.zeros(2, 3, *shapes[0], dtype=torch.float64), 0
    for shape in shapes:
        base = shrunk(starts, shape)
        image = base + shrunk(detail, shape) if manner == "detail" else shrunk(image, shape)
        for _ in range(4):
            image = image + 0.01 * image.sin() + 0.001 * number
            number += 1
        detail = image - base
    assert close(images, image, atol=1e-9)
    assert resize(images, shapes[-1]) is images


@pytest.mark.parametrize("shape", [(16, 16), (12, 20)], ids=str)
def test_a_zoom_enlarges_the_center_every_so_many_steps(shape):
    ramp = ramps(1, *shape)[:, :2] - 0.5
    nearer = enlarge(ramp + 0.5, 1.25) - 0.5
    # bicubic interpolation is not exact for a straight line
    assert close(nearer[..., 2:-2, 2:-2], ramp[..., 2:-2, 2:-2] / 1.25, atol=0.004)
    assert close(nearer, -nearer.flip(-1, -2)), "the center does not move"
    assert close(enlarge(rand(1, 3, 8, 8), 1.0), rand(1, 3, 8, 8), atol=1e-6)
    recipe = Recipe(octaves=2, octave_scale=2.0, octave_steps=4, zoom=1.25, zoom_every=3)
    octaves, images = Octaves(recipe, rand(1, 3, *shape)), rand(1, 3, *shape)
    changed = [number for number in range(5, 14) if octaves.grow(images, number) is not images]
    assert changed == [7, 10, 13], "every three steps of the last octave"
    assert torch.equal(octaves.grow(images, 7), enlarge(images, 1.25))


def test_tiles_cover_the_image_evenly():
    for side, tile in [(10, 10), (11, 10), (30, 10), (29, 7), (1000, 512), (1024, 512), (1025, 512)]:
        starts = tile_starts(side, tile)
        assert len(starts) == -(-side // tile) and starts[0] == 0 and starts[-1] == side - tile
        gaps = np.diff(starts)
        assert (gaps <= tile).all() and (not len(gaps) or gaps.max() - gaps.min() <= 1)


@pytest.mark.parametrize("shape", [(12, 12), (10, 10), (12, 8), (9, 14), (4, 10)], ids=str)
def test_a_pointwise_objective_has_the_same_gradient_in_tiles(shape):
    images, mix = rand(2, 3, *shape), rand(4, 3) - 0.5

    def mean_of_squares(tile: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        tile = tile.detach().requires_grad_(True)
        score = functional.conv2d(tile, mix[:, :, None, None]).square().flatten(1).mean(dim=1)
        return torch.autograd.grad(score.sum(), tile)[0], score.detach()

    gradient, score = tiled_gradient(mean_of_squares, images, 4, streams("ab"))
    mixed = np.einsum("kc,bchw->bkhw", mix, images)
    expected = 2 * np.einsum("kc,bkhw->bchw", mix, mixed) / (4 * 4 * 4)  # the mean over a tile, not the image
    assert close(gradient, expected)
    if all(side % 4 == 0 for side in shape):
        assert close(score, (mixed**2).mean(axis=(1, 2, 3)))


def test_seams_between_tiles_move_at_each_step_for_each_image():
    images, random = rand(2, 3, 12, 12), streams("ab")

    def rims(tile: torch.Tensor) -> tuple[torch.Tensor]:
        marked = torch.zeros_like(tile)
        marked[..., 0, :] = marked[..., :, 0] = 1
        return (marked,)

    seams = [tiled_gradient(rims, images, 4, random)[0] for _ in range(60)]
    for image in (0, 1):
        first = {(int(each[image, 0, :, 3].argmin()), str(each[image, 0].tolist())) for each in seams}
        assert len(first) == 16, "one per roll of a tile"
    assert any(not torch.equal(each[0], each[1]) for each in seams)
    untouched = streams("ab")
    assert tiled_gradient(rims, images, 12, untouched)[0][..., 1:, 1:].abs().max() == 0, (
        "an image that fits is one tile"
    )
    assert torch.equal(untouched[0].get_state(), streams("a")[0].get_state())

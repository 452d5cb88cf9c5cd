"""What the model is shown, how pictures grow and parameters move: against plain numpy that shares no code with it."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from dreambirds.dreaming.octaves import Octaves, enlarge, octave_sides, resize
from dreambirds.dreaming.recipe import Recipe
from dreambirds.dreaming.schedule import is_always, value_at
from dreambirds.dreaming.starts import stream
from dreambirds.dreaming.tiles import tile_starts, tiled
from dreambirds.dreaming.transform import Views

SIZE = 12
BETWEEN = {"random": [0.8, 1.25]}


def close(got, expected, atol: float = 1e-12) -> bool:
    """Tell whether two arrays are the same but for an absolute difference."""
    return np.allclose(got, expected, rtol=0, atol=atol)


def rand(*shape: int) -> torch.Tensor:
    """Return float64 numbers in [0, 1)."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def streams(keys: str) -> list[torch.Generator]:
    """Return a stream a letter."""
    return [stream(0, key) for key in keys]


def test_values_are_fixed_drawn_or_move_over_their_own_length():
    assert value_at(0.7, 99) == 0.7 and value_at(3, 0) == 3.0
    line = {"from": 2.0, "to": 1.0, "over": 4}
    assert [value_at(line, step) for step in (0, 1, 4, 9)] == [2.0, 1.75, 1.0, 1.0]
    wave = {"from": 0.5, "to": 1.5, "over": 6, "shape": "cosine"}
    for step in range(9):
        assert value_at(wave, step) == pytest.approx(1 - 0.5 * math.cos(math.pi * min(step, 6) / 6))
    random = stream(0, "a")
    drawn = torch.tensor([value_at({"random": [0.1, 0.5]}, step, random) for step in range(1000)])
    assert 0.1 <= drawn.min() < 0.11 and 0.49 < drawn.max() <= 0.5
    assert drawn.mean() == pytest.approx(0.3, abs=0.01)


def test_only_a_fixed_value_is_always_the_same():
    assert is_always(1, 1.0) and is_always(0.0, 0)
    assert (
        not is_always(2, 1)
        and not is_always({"random": [1, 1]}, 1)
        and not is_always({"from": 1, "to": 1, "over": 2}, 1)
    )


def test_a_neutral_recipe_shows_the_picture_itself_and_draws_nothing():
    images, random = rand(2, 3, SIZE, SIZE), streams("ab")
    views = Views(Recipe(), random)
    assert all(torch.equal(views(images, number), images) for number in range(3))
    assert [each.get_state().tolist() for each in random] == [each.get_state().tolist() for each in streams("ab")]


def test_padding_is_grey():
    images = rand(2, 3, SIZE, SIZE)
    view = Views(Recipe(pad=3), streams("ab"))(images, 0).numpy()
    assert np.array_equal(view, np.pad(images.numpy(), ((0, 0), (0, 0), (3, 3), (3, 3)), constant_values=0.5))


def test_rolls_go_up_to_their_length_in_every_direction():
    image = rand(1, 3, SIZE, SIZE)
    views, seen = Views(Recipe(roll=2), streams("a")), set()
    rolled = {(y, x): np.roll(image[0].numpy(), (y, x), axis=(1, 2)) for y in range(-2, 3) for x in range(-2, 3)}
    for number in range(150):
        view = views(image, number)[0].numpy()
        (place,) = [place for place, window in rolled.items() if np.array_equal(window, view)]
        seen.add(place)
    assert len(seen) == 25


def test_views_move_by_at_most_the_jitter_and_mirror_by_the_parity_of_the_draws():
    views, image = Views(Recipe(jitter=2, flip=1.0), streams("a")), rand(1, 3, SIZE, SIZE)
    padded = np.pad(image[0].numpy(), ((0, 0), (2, 2), (2, 2)), mode="reflect")
    windows = {(y, x): padded[:, y : y + SIZE, x : x + SIZE] for y in range(5) for x in range(5)}
    seen = set()
    for number in range(150):
        view = views(image, number)[0].numpy()
        view = view[..., ::-1] if number % 2 else view
        (place,) = [place for place, window in windows.items() if np.array_equal(window, view)]
        seen.add(place)
    assert len(seen) == 25


def test_mirrorings_are_as_frequent_as_asked():
    views, image = Views(Recipe(flip=0.2), streams("a")), rand(1, 3, 4, 4)
    odd = [torch.equal(views(image, number), image.flip(-1)) for number in range(1000)]
    changes = sum(before != after for before, after in itertools.pairwise(odd))
    assert not odd[0] and changes / 999 == pytest.approx(0.2, abs=0.04)


def sampled(image: np.ndarray, degrees: float, high: float, wide: float) -> np.ndarray:
    """Return (C, S, S) enlarged by factors and then turned clockwise, bilinear and mirrored at the border."""
    side, turn = image.shape[-1], math.radians(degrees)
    view = np.zeros_like(image)

    def at(y: int, x: int) -> np.ndarray:
        y, x = (min(place % (2 * side), 2 * side - 1 - place % (2 * side)) for place in (y, x))
        return image[:, y, x]

    for row, column in np.ndindex(side, side):
        y, x = row + 0.5 - side / 2, column + 0.5 - side / 2
        # what is here came, before it was turned clockwise (y grows downwards), from this place
        x, y = math.cos(turn) * x + math.sin(turn) * y, math.cos(turn) * y - math.sin(turn) * x
        x, y = x / wide + side / 2 - 0.5, y / high + side / 2 - 0.5
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
def test_views_are_enlarged_and_turned_as_by_a_bilinear_sampler(degrees, high, wide):
    image = rand(1, 3, SIZE, SIZE)
    view = Views(Recipe(rotate=degrees, scale=high, scale_width=wide), streams("a"))(image, 0)
    assert close(view[0], sampled(image[0].numpy(), degrees, high, wide or high), atol=2e-5)


def test_positive_degrees_turn_clockwise_and_larger_scales_show_the_middle():
    image = rand(1, 3, SIZE, SIZE)
    turned = Views(Recipe(rotate=90), streams("a"))(image, 0)
    assert close(turned, np.rot90(image, k=-1, axes=(2, 3)), atol=1e-5)
    framed = torch.ones(1, 3, SIZE, SIZE, dtype=torch.float64)
    framed[..., 2:-2, 2:-2] = 0
    assert Views(Recipe(scale=2), streams("a"))(framed, 0).abs().max() == 0
    wide = Views(Recipe(scale_width=2), streams("a"))(framed, 0)
    assert wide[:, :, 3:-3].abs().max() == 0 and wide[:, :, 0].min() == 1, "only the width is enlarged"


def ramps(count: int, side: int) -> torch.Tensor:
    """Return images whose channels tell the column and row, of the side, and the image."""
    middles = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    across, down = middles.expand(count, side, side), middles[:, None].expand(count, side, side)
    return torch.stack([across, down, torch.arange(count).view(-1, 1, 1).expand(count, side, side)], dim=1)


@pytest.mark.parametrize("view", [8, None], ids=str)
def test_crops_have_their_size_and_lie_inside_the_picture_around_the_middle(view):
    recipe = Recipe(crops=100, crop_size={"random": [0.25, 0.5]}, crop_view=view)
    side = view or 32
    crops = Views(recipe, streams("abc"))(ramps(3, 32), 0)
    assert crops.shape == (300, 3, side, side)
    assert crops[:, 2].flatten(1).amin(dim=1).round().tolist() == [0] * 100 + [1] * 100 + [2] * 100
    inner = crops[..., 2:-2, 2:-2]  # the last half pixel of a picture has no slope
    size = side * inner[:, 0].diff(dim=2).flatten(1)
    assert (size.amax(dim=1) - size.amin(dim=1)).max() < 1e-4, "a crop that left the picture would turn back"
    assert torch.allclose(size, (side * inner[:, 1].diff(dim=1)).flatten(1), atol=1e-4), "crops are square"
    size = size.mean(dim=1)
    assert 0.25 - 1e-5 < size.min() < 0.26 and 0.49 < size.max() < 0.5 + 1e-5
    for middle in (inner[:, 0].mean(dim=(1, 2)), inner[:, 1].mean(dim=(1, 2))):
        assert (middle - size / 2).min() > -1e-4 and (middle + size / 2).max() < 1 + 1e-4
        assert middle.mean().item() == pytest.approx(0.5, abs=0.03)
        assert middle.std().item() == pytest.approx(0.15, rel=0.15)


def test_noise_is_normal_and_differs_between_images_crops_and_steps():
    flat = torch.full((2, 3, 32, 32), 0.5, dtype=torch.float64)
    views = Views(Recipe(crops=2, noise=0.1), streams("ab"))
    noise = torch.cat([views(flat, number) - 0.5 for number in range(2)]).flatten(1)
    assert noise.std().item() == pytest.approx(0.1, rel=0.02) and noise.mean().item() == pytest.approx(0, abs=2e-3)
    beyond = (noise.abs() > 0.2).double().mean().item()
    assert beyond == pytest.approx(0.0455, abs=0.005), "as much as of a normal distribution"
    assert (torch.corrcoef(noise) - torch.eye(8)).abs().max() < 0.08


EVERYTHING = Recipe(roll=2, jitter=1, flip=0.5, scale=BETWEEN, scale_width=BETWEEN, rotate={"random": [-20, 20]})


@pytest.mark.parametrize(
    "more", [{"pad": 2, "noise": 0.1}, {"crops": 3, "noise": 0.1, "crop_size": {"random": [0.3, 0.8]}}], ids=str
)
def test_the_view_of_an_image_does_not_depend_on_its_mates(more):
    recipe = Recipe(**{**vars(EVERYTHING), **more})
    images = rand(3, 3, SIZE, SIZE)
    together, alone = Views(recipe, streams("abc")), Views(recipe, streams("b"))
    for number in range(6):
        views = together(images, number).unflatten(0, (3, -1))
        assert close(views[1], alone(images[1:2], number))
        assert not close(views[0], views[1], atol=1e-3)


def test_gradients_flow_back_to_the_image_as_it_stands():
    """A view is linear in the picture, so a gradient times the picture is what the gradient was taken of."""
    image = rand(1, 3, SIZE, SIZE).requires_grad_(True)
    views, weights = Views(EVERYTHING, streams("a")), rand(1, 3, SIZE, SIZE)
    for number in range(4):
        total = (views(image, number) * weights).sum()
        (slope,) = torch.autograd.grad(total, image)
        assert (slope * image).sum().item() == pytest.approx(total.item(), rel=1e-9)


def test_octaves_grow_to_the_picture_s_own_side():
    assert octave_sides(Recipe(octaves=4, octave_scale=1.4), 224) == [82, 114, 160, 224]
    assert octave_sides(Recipe(octaves=2, octave_scale=2.0), 129) == [64, 129]
    assert octave_sides(Recipe(), 77) == [77]


def shrunk(images: torch.Tensor, side: int) -> torch.Tensor:
    """Return images resized by torch alone."""
    return functional.interpolate(images, (side, side), mode="bilinear", antialias=True)


@pytest.mark.parametrize("manner", ["resize", "detail"])
def test_octaves_are_the_published_algorithms(manner):
    """TensorFlow's tutorial resizes the picture; google/deepdream resizes the detail and adds it to the photograph."""
    recipe = Recipe(octaves=3, octave_scale=1.5, octave_steps=4, octave_manner=manner, steps=(12,))
    starts = 0.3 + 0.4 * rand(2, 3, 18, 18)
    octaves = Octaves(recipe, starts)
    images = octaves.first()
    for number in range(12):
        images = octaves.grow(images, number)
        images = images + 0.01 * images.sin() + 0.001 * number  # any dream
    picture, detail, number = shrunk(starts, 8), torch.zeros(2, 3, 8, 8, dtype=torch.float64), 0
    for side in (8, 12, 18):
        base = shrunk(starts, side)
        picture = base + shrunk(detail, side) if manner == "detail" else shrunk(picture, side)
        for _ in range(4):
            picture = picture + 0.01 * picture.sin() + 0.001 * number
            number += 1
        detail = picture - base
    assert close(images, picture, atol=1e-9)
    assert resize(images, 18) is images


def test_a_zoom_enlarges_the_middle_every_so_many_steps():
    ramp = ramps(1, 16)[:, :2] - 0.5
    nearer = enlarge(ramp + 0.5, 1.25) - 0.5
    # torch's cubic bends a straight line a little
    assert close(nearer[..., 2:-2, 2:-2], ramp[..., 2:-2, 2:-2] / 1.25, atol=0.004)
    assert close(nearer, -nearer.flip(-1, -2)), "the middle stays where it is"
    assert close(enlarge(rand(1, 3, 8, 8), 1.0), rand(1, 3, 8, 8), atol=1e-6)
    recipe = Recipe(octaves=2, octave_scale=2.0, octave_steps=4, zoom=1.25, zoom_every=3)
    octaves, images = Octaves(recipe, rand(1, 3, 16, 16)), rand(1, 3, 16, 16)
    changed = [number for number in range(5, 14) if octaves.grow(images, number) is not images]
    assert changed == [7, 10, 13], "three steps after the last octave began, and so on"
    assert torch.equal(octaves.grow(images, 7), enlarge(images, 1.25))


def test_tiles_cover_the_picture_evenly():
    for side, tile in [(10, 10), (11, 10), (30, 10), (29, 7), (1000, 512), (1024, 512), (1025, 512)]:
        places = tile_starts(side, tile)
        assert len(places) == -(-side // tile) and places[0] == 0 and places[-1] == side - tile
        gaps = np.diff(places)
        assert (gaps <= tile).all() and (not len(gaps) or gaps.max() - gaps.min() <= 1)


@pytest.mark.parametrize("side", [12, 10])
def test_a_pointwise_objective_has_the_same_gradient_in_tiles(side):
    images, mix = rand(2, 3, side, side), rand(4, 3) - 0.5

    def mean_of_squares(tile: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        tile = tile.detach().requires_grad_(True)
        score = functional.conv2d(tile, mix[:, :, None, None]).square().flatten(1).mean(dim=1)
        return torch.autograd.grad(score.sum(), tile)[0], score.detach()

    gradient, score = tiled(mean_of_squares, images, 4, streams("ab"))
    mixed = np.einsum("kc,bchw->bkhw", mix, images)
    expected = 2 * np.einsum("kc,bkhw->bchw", mix, mixed) / (4 * 4 * 4)  # the mean over a tile, not the picture
    assert close(gradient, expected)
    if side % 4 == 0:
        assert close(score, (mixed**2).mean(axis=(1, 2, 3)))


def test_seams_between_tiles_fall_elsewhere_each_step_for_each_picture():
    images, random = rand(2, 3, 12, 12), streams("ab")

    def rims(tile: torch.Tensor) -> tuple[torch.Tensor]:
        marked = torch.zeros_like(tile)
        marked[..., 0, :] = marked[..., :, 0] = 1
        return (marked,)

    seams = [tiled(rims, images, 4, random)[0] for _ in range(60)]
    for image in (0, 1):
        first = {(int(each[image, 0, :, 3].argmin()), str(each[image, 0].tolist())) for each in seams}
        assert len(first) == 16, "as many as there are rolls of a tile"
    assert any(not torch.equal(each[0], each[1]) for each in seams)
    untouched = streams("ab")
    assert tiled(rims, images, 12, untouched)[0][..., 1:, 1:].abs().max() == 0, "a picture that fits is one tile"
    assert torch.equal(untouched[0].get_state(), streams("a")[0].get_state())

"""The dreamer against plain loops and float64 references that share no code with it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

from dreambirds.dreaming.loop import Recipe, dream
from dreambirds.dreaming.objective import OBJECTIVES
from dreambirds.dreaming.schedule import width_at
from dreambirds.dreaming.starts import Starts, stream
from dreambirds.dreaming.transform import Views, blur, normalise
from dreambirds.errors import StudyError

SIZE = 12
PLAIN = Recipe(steps=(1, 4, 6), step_size=0.05, blur_sigma=0.5, flip=0.5)
FALLING, RANDOM = {"from": 1.5, "to": 0.5, "over": 4}, {"random": [0.2, 1.0]}
RICH = replace(PLAIN, jitter=2, gradient_blur_sigma=RANDOM, blur_sigma=FALLING)


@pytest.fixture(scope="module")
def model():
    """Return a small frozen network that is not symmetric, in float64 so that nothing hides in rounding."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 6, 3, padding=1), nn.Tanh(), nn.Conv2d(6, 4, 3, stride=2), nn.Tanh(), nn.Flatten()]
    network = nn.Sequential(*layers, nn.Linear(4 * 25, 5)).double()
    return network.eval().requires_grad_(False)


def starts(count: int) -> torch.Tensor:
    """Return images that differ from each other and from their mirror images."""
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def streams(*keys: str) -> list[torch.Generator]:
    """Return a stream a key."""
    return [stream(0, key) for key in keys]


def run(model, recipe: Recipe, keys: str = "abc"):
    """Dream of class 0, 1, 2 … from the first images."""
    return dream(model, torch.arange(len(keys)), starts(len(keys)), recipe, streams(*keys))


def softmax(row: list[float]) -> list[float]:
    """Return the softmax of a list, by the textbook."""
    powers = [math.exp(value) for value in row]
    return [power / sum(powers) for power in powers]


def test_objectives_and_their_gradients_are_the_textbook_s():
    logits = [[0.3, -1.2, 2.0], [1.5, 0.1, -0.4]]
    targets = [2, 1]
    for name, score in OBJECTIVES.items():
        tensor = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
        got = score(tensor, torch.tensor(targets))
        got.sum().backward()
        for row, target, value, slope in zip(logits, targets, got, tensor.grad, strict=True):
            chance = softmax(row)
            hot = [float(index == target) for index in range(3)]
            expected = {"logit": row[target], "cross_entropy": math.log(chance[target]), "probability": chance[target]}
            slopes = {
                "logit": hot,
                "cross_entropy": [h - c for h, c in zip(hot, chance, strict=True)],
                "probability": [chance[target] * (h - c) for h, c in zip(hot, chance, strict=True)],
            }
            assert value.item() == pytest.approx(expected[name])
            assert slope.tolist() == pytest.approx(slopes[name])


def blur_by_hand(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur (C, H, W) with a separable Gaussian and mirrored borders, one pixel after the other."""
    reach = round(3 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()
    for axis in (1, 2):
        moved = np.moveaxis(image, axis, 0)
        padded = np.concatenate([moved[reach:0:-1], moved, moved[-2 : -reach - 2 : -1]])
        moved = sum(weight * padded[shift : shift + len(moved)] for shift, weight in enumerate(weights))
        image = np.moveaxis(moved, 0, axis)
    return image


@pytest.mark.parametrize("sigmas", [[0.5, 0.5, 0.5], [0.3, 1.0, 2.0]])
def test_blur_is_a_gaussian_of_each_image_s_own_width(sigmas):
    images = starts(3)
    for image, sigma, blurred in zip(images, sigmas, blur(images, sigmas), strict=True):
        assert np.allclose(blur_by_hand(image.numpy(), sigma), blurred.numpy(), atol=1e-6)
    assert blur(images, [0.0] * 3) is images


def test_normalisation_divides_each_gradient_by_its_own_size():
    gradient = starts(2) - 0.4
    flat = gradient.flatten(1).numpy()
    sizes = {
        "none": np.ones(2),
        "std": flat.std(axis=1, ddof=1),
        "mean_abs": np.abs(flat).mean(axis=1),
        "l2": np.sqrt((flat**2).sum(axis=1)),
    }
    for how, size in sizes.items():
        expected = gradient.numpy() / size[:, None, None, None]
        assert np.allclose(normalise(gradient, how).numpy(), expected, atol=1e-5), how
    assert normalise(torch.zeros(1, 3, 2, 2), "std").abs().max() == 0


def test_widths_are_fixed_drawn_or_fall_over_their_own_length():
    assert width_at(0.7, 99, None) == 0.7
    assert [width_at({"from": 2.0, "to": 1.0, "over": 4}, step, None) for step in (0, 1, 4, 9)] == [2.0, 1.75, 1.0, 1.0]
    random = stream(0, "a")
    drawn = torch.tensor([width_at({"random": [0.1, 0.5]}, step, random) for step in range(1000)])
    assert 0.1 <= drawn.min() < 0.11 and 0.49 < drawn.max() <= 0.5
    assert drawn.mean() == pytest.approx(0.3, abs=0.01)


def test_views_move_by_at_most_the_jitter_and_mirror_by_the_parity_of_the_draws():
    views, random = Views(1, jitter=2, flip=1.0), streams("a")
    images = starts(1)
    padded = np.pad(images[0].numpy(), ((0, 0), (2, 2), (2, 2)), mode="reflect")
    windows = {(y, x): padded[:, y : y + SIZE, x : x + SIZE] for y in range(5) for x in range(5)}
    seen = set()
    for number in range(60):
        view = views(images, random)[0].numpy()
        view = view[..., ::-1] if number % 2 else view
        seen |= {place for place, window in windows.items() if np.array_equal(window, view)}
    assert len(seen) > 20, "every step finds one of the 25 windows, and most are visited"


def test_a_dream_is_the_original_algorithm_with_mirrorings_undone(model):
    """The study mirrors the picture itself after each step; written here as it would be, then turned back."""
    got = run(model, replace(PLAIN, steps=(6,)), "a").snapshots[6]
    random, image, mirrored = stream(0, "a"), starts(1), False
    for _ in range(6):
        torch.randint(0, 1, (2,), generator=random)  # the offsets of no jitter are drawn too
        image = image.requires_grad_(True)
        model(image)[0, 0].backward()
        slope = image.grad
        image = (image.detach() + 0.05 * slope / (slope.std() + 1e-8)).clamp(0, 1)
        image = torch.from_numpy(blur_by_hand(image[0].numpy(), 0.5))[None]
        if torch.rand((), generator=random) < 0.5:
            image, mirrored = image.flip(-1), not mirrored
    image = image.flip(-1) if mirrored else image
    assert np.allclose(got.numpy(), image.numpy(), atol=1e-5)


def test_the_gradient_is_blurred_before_it_is_normalised(model):
    recipe = Recipe(steps=(3,), step_size=0.05, gradient_blur_sigma=0.8, blur_sigma=0.0, flip=0.0)
    image = starts(1)
    for _ in range(3):
        image = image.requires_grad_(True)
        model(image)[0, 0].backward()
        slope = torch.from_numpy(blur_by_hand(image.grad[0].numpy(), 0.8))
        image = (image.detach() + 0.05 * slope / (slope.std() + 1e-8)).clamp(0, 1)
    assert np.allclose(run(model, recipe, "a").snapshots[3].numpy(), image.numpy(), atol=1e-5)


@pytest.mark.parametrize("recipe", [PLAIN, RICH], ids=["plain", "rich"])
def test_a_dream_does_not_depend_on_its_batch_mates(model, recipe):
    together = run(model, recipe, "abc")
    alone = dream(model, torch.tensor([1]), starts(3)[1:2], recipe, streams("b"))
    for step in recipe.steps:
        assert torch.allclose(together.snapshots[step][1:2], alone.snapshots[step], atol=1e-6)
    for measure, values in alone.trace.items():
        assert torch.allclose(together.trace[measure][1:2], values, atol=1e-6), measure


@pytest.mark.parametrize("recipe", [PLAIN, RICH], ids=["plain", "rich"])
def test_shorter_dreams_are_moments_of_longer_ones(model, recipe):
    whole = run(model, recipe)
    for step in recipe.steps:
        single = run(model, replace(recipe, steps=(step,)))
        assert torch.equal(whole.snapshots[step], single.snapshots[step])
    assert not torch.equal(whole.snapshots[4], whole.snapshots[6])


def test_the_same_seed_gives_the_same_dream_and_another_seed_another(model):
    assert torch.equal(run(model, RICH).snapshots[6], run(model, RICH).snapshots[6])
    other = dream(model, torch.arange(3), starts(3), RICH, [stream(1, key) for key in "abc"])
    assert not torch.allclose(run(model, RICH).snapshots[6], other.snapshots[6], atol=1e-3)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_trace_measures_what_it_says_and_the_dream_climbs(model, objective):
    recipe = Recipe(objective=objective, steps=(30,), step_size=0.02, blur_sigma=0.0, flip=0.0)
    result = run(model, recipe)
    image = result.snapshots[30]
    logits = model(image.double())
    for place in range(3):
        chance = softmax(logits[place].tolist())[place]
        loss = {"logit": -logits[place, place].item(), "cross_entropy": -math.log(chance), "probability": -chance}
        last = {measure: values[place, -1].item() for measure, values in result.trace.items()}
        assert last["loss"] == pytest.approx(loss[objective], abs=1e-5)
        assert last["logit"] == pytest.approx(logits[place, place].item(), abs=1e-5)
        assert last["probability"] == pytest.approx(chance, abs=1e-5)
        assert last["top1"] == logits[place].argmax()
        assert last["change"] == pytest.approx((image[place] - starts(3)[place]).abs().mean().item(), abs=1e-6)
        assert result.trace["change"][place, 0] == 0
    assert (result.trace["probability"][:, -1] > result.trace["probability"][:, 0] + 0.05).all()
    assert all(values.shape == (3, 31) for values in result.trace.values())


def test_pictures_stay_in_range_and_the_model_keeps_no_gradient(model):
    result = run(model, replace(PLAIN, step_size=50.0))
    assert all(images.min() >= 0 and images.max() <= 1 for images in result.snapshots.values())
    assert all(images.dtype == torch.float32 for images in result.snapshots.values())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_starts_come_through_a_data_loader_and_belong_to_their_dream():
    for kind in ("grey", "noise", "gradient"):
        images, places = next(iter(DataLoader(Starts(kind, 8, streams("a", "b")), 2)))
        assert images.shape == (2, 3, 8, 8) and images.dtype == torch.float32 and places.tolist() == [0, 1]
        assert images.min() >= 0 and images.max() <= 1
        alone = Starts(kind, 8, streams("b"))[0][0]
        assert torch.equal(images[1], alone), kind
        assert torch.equal(images[0], images[1]) == (kind != "noise")
    assert torch.all(Starts("grey", 4, streams("a"))[0][0] == 128 / 255)
    red, green, blue = Starts("gradient", 8, streams("a"))[0][0]
    assert (red.diff(dim=1) > 0).all() and (green.diff(dim=0) > 0).all() and (blue.diff(dim=1) < 0).all()


def test_each_dream_starts_from_its_photograph_and_a_broken_one_is_named(tmp_path):
    for colour in ("red", "lime"):
        Image.new("RGB", (20, 10), colour).save(tmp_path / f"{colour}.png")
    (tmp_path / "empty.png").touch()
    files = [tmp_path / name for name in ("lime.png", "red.png", "empty.png")]
    given = Starts("photograph", 8, streams("a", "b", "c"), files)
    assert [given[place][0].mean(dim=(1, 2)).tolist() for place in range(2)] == [[0, 1, 0], [1, 0, 0]]
    with pytest.raises(StudyError, match=r"the start photograph '.*empty\.png' can't be read: the file is empty"):
        given[2]

"""Optimizers compared with the papers' formulas, and blur, clipping and normalization of gradients."""

import numpy as np
import pytest
import torch

from dreambirds.dreaming.updates import blur, clip, make_optimizer, normalize
from tests.helpers.small import blur_by_hand


def close(got, expected, atol: float = 1e-12) -> bool:
    """Return whether two arrays agree within an absolute tolerance."""
    return np.allclose(got, expected, rtol=0, atol=atol)


def rand(*shape: int) -> torch.Tensor:
    """Return float64 numbers in [0, 1)."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def by_the_papers(kind: str, start: np.ndarray, slopes: np.ndarray, sizes: list[float], decay: float) -> np.ndarray:
    """Return the result of gradient ascent, clipped to [0, 1] after each step.

    Kingma and Ba 2015, Loshchilov and Hutter 2019, Dozat 2016 with torch's schedule of momentum.
    """
    beta1, beta2, momentum = 0.8, 0.95, 0.6
    way, first, second, product = (0.0, 0.0, 0.0, 1.0)
    parameters = start
    for step, (slope, size) in enumerate(zip(slopes, sizes, strict=True), start=1):
        down = -slope + (decay * parameters if kind in ("adam", "nadam") else 0.0)
        way = momentum * way + slope
        first, second = beta1 * first + (1 - beta1) * down, beta2 * second + (1 - beta2) * down**2
        now, then = (beta1 * (1 - 0.5 * 0.96 ** (0.004 * at)) for at in (step, step + 1))
        product *= now
        nesterov = then * first / (1 - product * then) + (1 - now) * down / (1 - product)
        length = np.sqrt(second / (1 - beta2**step)) + 1e-8
        if kind == "ascent":
            parameters = parameters + size * way
        else:
            parameters = parameters * (1 - size * decay) if kind == "adamw" else parameters
            parameters = parameters - size * (nesterov if kind == "nadam" else first / (1 - beta1**step)) / length
        parameters = np.clip(parameters, 0, 1)
    return parameters


def moved(kind: str, start: torch.Tensor, slopes: torch.Tensor, sizes: list[float], decay: float) -> torch.Tensor:
    """Return the result of the project's optimizer for the same gradients."""
    optimizer, parameters = make_optimizer(kind, 0.6, 0.8, 0.95, decay), start
    for slope, size in zip(slopes, sizes, strict=True):
        parameters = optimizer(parameters, slope, size).clamp(0, 1)
    return parameters


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["ascent", "adam", "adamw", "nadam"])
def test_updates_equal_the_papers_formulas_and_do_not_depend_on_the_batch(kind, decay):
    start, slopes = rand(3, 4), rand(12, 3, 4) - 0.45
    sizes = [0.05 / (1 + step) ** 0.5 for step in range(12)]
    got = moved(kind, start, slopes, sizes, decay)
    expected = by_the_papers(kind, start.numpy(), slopes.numpy(), sizes, decay)
    assert close(got, expected, atol=1e-8 if kind == "nadam" else 1e-12), (
        "torch's NAdam computes its momentum product in float32"
    )
    assert torch.equal(got[1:2], moved(kind, start[1:2], slopes[:, 1:2], sizes, decay))
    assert torch.equal(start, rand(3, 4)), "arguments do not change"
    upwards = moved(kind, torch.full((1,), 0.5), torch.ones(3, 1), [0.01] * 3, 0.0)
    assert upwards.item() > 0.5


MIXED = [[0.5, 0.5, 0.5], [0.3, 1.0, 2.0], [0.0, 0.66, 1.5], [0.04, 0.06, 0.7]]


@pytest.mark.parametrize("sigma", sorted({sigma for sigmas in MIXED for sigma in sigmas}))
def test_blur_is_a_gaussian_up_to_about_three_deviations(sigma):
    image = rand(1, 3, 12, 11)
    expected = blur_by_hand(image[0].numpy(), sigma, round(3 * sigma + 0.5))
    assert close(blur(image, [sigma])[0], expected, atol=1e-12)


@pytest.mark.parametrize("sigmas", MIXED, ids=str)
def test_the_blur_of_an_image_does_not_depend_on_its_batch(sigmas):
    images = rand(3, 3, 12, 11)
    together = blur(images, sigmas)
    for index, sigma in enumerate(sigmas):
        alone = blur(images[index : index + 1], [sigma])[0]
        assert close(together[index], alone, atol=1e-12), sigma


def test_blur_ignores_narrow_widths_and_can_be_wider_than_the_image():
    images = rand(2, 3, 6, 5)
    assert blur(images, [0.049, 0.0]) is images
    assert torch.equal(blur(images, [0.0, 1.0])[0], images[0])
    for sigma in (3.0, 40.0):
        wide = blur(images, [sigma] * 2)
        assert close(wide[1], blur_by_hand(images[1].numpy(), sigma, 4), atol=1e-12)
    assert wide.std() < 0.5 * images.std()


def test_normalization_divides_each_gradient_by_its_magnitude():
    gradient = rand(2, 3, 4, 5) - 0.4
    flat = gradient.flatten(1).numpy()
    sizes = {
        "none": np.ones(2),
        "std": flat.std(axis=1, ddof=1),
        "mean_abs": np.abs(flat).mean(axis=1),
        "l2": np.sqrt((flat**2).sum(axis=1)),
    }
    for how, size in sizes.items():
        expected = gradient.numpy() / size[:, None, None, None]
        assert close(normalize(gradient, how), expected, atol=1e-6), how
    assert normalize(torch.zeros(1, 3, 2, 2), "std").abs().max() == 0


def test_clipping_scales_longer_gradients_and_keeps_the_rest():
    gradient = torch.randn(2, 3, 4, 3, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    gradient = gradient / torch.tensor([np.linalg.norm(each) for each in gradient]).view(2, 1, 1, 1, 1)
    gradient *= torch.tensor([5.0, 0.5]).view(2, 1, 1, 1, 1)
    clipped = clip(gradient, 1.0)
    assert np.linalg.norm(clipped[0]) == pytest.approx(1.0) and torch.equal(clipped[1], gradient[1])
    assert close(clipped[0], gradient[0] / 5)
    assert clip(torch.zeros(1, 3), 1.0).abs().max() == 0

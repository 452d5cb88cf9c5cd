"""How parameters move, by the formulas of the papers."""

import numpy as np
import pytest
import torch

from dreambirds.dreaming.updates import make_optimizer


def close(got, expected, atol: float = 1e-12) -> bool:
    """Tell whether two arrays are the same but for an absolute difference."""
    return np.allclose(got, expected, rtol=0, atol=atol)


def rand(*shape: int) -> torch.Tensor:
    """Return float64 numbers in [0, 1)."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def by_the_papers(kind: str, start: np.ndarray, slopes: np.ndarray, sizes: list[float], decay: float) -> np.ndarray:
    """Return where an ascent ends, clipped to [0, 1] after each step: Kingma and Ba 2015, Loshchilov and Hutter 2019,
    Dozat 2016 with torch's schedule of momentum."""
    beta1, beta2, momentum = 0.8, 0.95, 0.6
    way, first, second, product = (0.0, 0.0, 0.0, 1.0)
    place = start
    for step, (slope, size) in enumerate(zip(slopes, sizes, strict=True), start=1):
        down = -slope + (decay * place if kind in ("adam", "nadam") else 0.0)
        way = momentum * way + slope
        first, second = beta1 * first + (1 - beta1) * down, beta2 * second + (1 - beta2) * down**2
        now, then = (beta1 * (1 - 0.5 * 0.96 ** (0.004 * at)) for at in (step, step + 1))
        product *= now
        nesterov = then * first / (1 - product * then) + (1 - now) * down / (1 - product)
        length = np.sqrt(second / (1 - beta2**step)) + 1e-8
        if kind == "ascent":
            place = place + size * way
        else:
            place = place * (1 - size * decay) if kind == "adamw" else place
            place = place - size * (nesterov if kind == "nadam" else first / (1 - beta1**step)) / length
        place = np.clip(place, 0, 1)
    return place


def moved(kind: str, start: torch.Tensor, slopes: torch.Tensor, sizes: list[float], decay: float) -> torch.Tensor:
    """Return where the project's optimiser ends on the same way."""
    optimizer, place = make_optimizer(kind, 0.6, 0.8, 0.95, decay), start
    for slope, size in zip(slopes, sizes, strict=True):
        place = optimizer(place, slope, size).clamp(0, 1)
    return place


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["ascent", "adam", "adamw", "nadam"])
def test_parameters_climb_by_the_papers_formulas_and_never_meet_their_mates(kind, decay):
    start, slopes = rand(3, 4), rand(12, 3, 4) - 0.45
    sizes = [0.05 / (1 + step) ** 0.5 for step in range(12)]
    got = moved(kind, start, slopes, sizes, decay)
    expected = by_the_papers(kind, start.numpy(), slopes.numpy(), sizes, decay)
    assert close(got, expected, atol=1e-8 if kind == "nadam" else 1e-12), "torch's NAdam counts in float32"
    assert torch.equal(got[1:2], moved(kind, start[1:2], slopes[:, 1:2], sizes, decay))
    assert torch.equal(start, rand(3, 4)), "what was given stays as it was"
    upwards = moved(kind, torch.full((1,), 0.5), torch.ones(3, 1), [0.01] * 3, 0.0)
    assert upwards.item() > 0.5

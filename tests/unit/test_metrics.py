"""Metrics of images and of a judge's outputs, compared with known values."""

import math

import numpy as np
import pytest
import torch

from dreambirds.evaluation.metrics import (
    ROUNDING,
    classification_metrics,
    cosine_distance,
    mean_cosine_similarity,
    radial_spectrum,
    spectrum_distance,
    total_variation,
)


def noise_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return uniform noise."""
    return np.random.default_rng(seed).random((height, width, 3))


def test_total_variation_equals_a_plain_loop_and_the_value_of_noise():
    noise = noise_image(7, 5)
    steps = []
    for y in range(7):
        for x in range(5):
            for color in range(3):
                steps += [abs(noise[y, x + 1, color] - noise[y, x, color])] if x < 4 else []
                steps += [abs(noise[y + 1, x, color] - noise[y, x, color])] if y < 6 else []
    assert total_variation(noise) == pytest.approx(sum(steps) / len(steps), rel=1e-12)
    assert total_variation(np.full((8, 8, 3), 0.3)) == 0
    assert total_variation(noise_image(200, 200)) == pytest.approx(1 / 3, abs=0.01)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 11), (10, 7)])
def test_a_spectrum_equals_a_plain_loop(height, width):
    noise = noise_image(height, width)
    window = [
        [math.sin(math.pi * (y + 1) / (height + 1)) ** 2 * math.sin(math.pi * (x + 1) / (width + 1)) ** 2]
        for y in range(height)
        for x in range(width)
    ]
    window = np.array(window).reshape(height, width)
    side = min(height, width)
    rings: dict[int, list[float]] = {}
    for down in range(height):
        for across in range(width):
            cycles_y = down / height if down <= (height - 1) // 2 else down / height - 1
            cycles_x = across / width if across <= (width - 1) // 2 else across / width - 1
            power = 0.0
            for color in range(3):
                plain = (noise[:, :, color] - noise[:, :, color].mean()) * window
                total = sum(
                    plain[y, x] * np.exp(-2j * np.pi * (down * y / height + across * x / width))
                    for y in range(height)
                    for x in range(width)
                )
                power += abs(total) ** 2 / 3 / (window**2).sum()
            rings.setdefault(round(side * math.hypot(cycles_y, cycles_x)), []).append(power)
    expected = [math.log10(np.mean(rings[ring]) + ROUNDING) for ring in range(1, side // 2 + 1)]
    np.testing.assert_allclose(radial_spectrum(noise), expected, rtol=1e-9)


def test_white_noise_has_a_flat_spectrum_and_a_wave_a_peak():
    noise = np.random.default_rng(0).normal(0.5, 0.1, (256, 256, 3))
    assert radial_spectrum(noise)[3:] == pytest.approx(np.full(125, -2.0), abs=0.12)
    wave = np.repeat(0.5 + 0.4 * np.sin(2 * np.pi * 9 * np.arange(64) / 64)[None, :, None], 64, axis=0)
    assert radial_spectrum(np.repeat(wave, 3, axis=2)).argmax() == 9 - 1
    assert radial_spectrum(np.full((16, 16, 3), 0.5)) == pytest.approx(np.full(8, math.log10(ROUNDING)))


def test_a_spectrum_ten_times_as_strong_has_a_distance_of_one_decade():
    one = radial_spectrum(noise_image(32, 32))
    assert spectrum_distance(one, one) == 0
    assert spectrum_distance(one + 1, one) == pytest.approx(1)


def test_classification_metrics_equal_a_plain_loop():
    logits = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    logits[3, :] = 1.0
    targets = torch.arange(20) % 6
    metrics = classification_metrics(logits, targets)
    for row, target in enumerate(targets.tolist()):
        powers = [math.exp(value) for value in logits[row].double().tolist()]
        assert float(metrics["probability"][row]) == pytest.approx(powers[target] / sum(powers), rel=1e-9)
        others = [value for index, value in enumerate(logits[row].tolist()) if index != target]
        assert int(metrics["rank"][row]) == 1 + sum(value >= logits[row, target] for value in others)
    assert int(metrics["rank"][3]) == 6, "among equal logits the target ranks last"
    assert metrics["first"].tolist() == [row.index(max(row)) for row in logits.tolist()]


def test_cosine_distances_of_known_directions():
    features = torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0], [1.0, 1.0]])
    assert cosine_distance(features, torch.tensor([5.0, 0.0])).tolist() == pytest.approx([0, 1, 2, 1 - math.sqrt(0.5)])


def test_agreement_is_the_mean_over_pairs():
    features = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).double()
    found = mean_cosine_similarity(features)
    for one in range(4):
        cosines = [
            float(features[one] @ features[other] / features[one].norm() / features[other].norm())
            for other in range(4)
            if other != one
        ]
        assert float(found[one]) == pytest.approx(sum(cosines) / 3, rel=1e-9)
    assert torch.isnan(mean_cosine_similarity(features[:1])).all()

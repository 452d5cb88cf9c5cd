"""Metrics of images and of a judge's outputs, compared with known values."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from dreambirds.errors import REBUILD, UserError
from dreambirds.evaluation.agreement import mean_similarity, read_features, seed_agreement, write_features
from dreambirds.evaluation.metrics import classification_metrics, cosine_distance
from dreambirds.evaluation.pixels import ROUNDING, radial_spectrum, spectrum_distance, total_variation


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


def test_agreement_is_the_mean_over_pairs_of_a_group():
    random = np.random.default_rng(0)
    features, groups = random.standard_normal((9, 3)).astype(np.float32), np.array([0, 1, 0, 2, 1, 0, 0, 3, 3])
    found = mean_similarity(features, groups)
    for one, group in enumerate(groups):
        vectors = features.astype(float)
        cosines = [
            math.fsum(vectors[one] * vectors[other]) / math.hypot(*vectors[one]) / math.hypot(*vectors[other])
            for other in range(9)
            if other != one and groups[other] == group
        ]
        assert found[one] == pytest.approx(sum(cosines) / len(cosines), rel=1e-9) if cosines else np.isnan(found[one])


def test_agreement_is_between_the_recipes_of_a_family_for_the_same_dream_of_the_same_judge(tmp_path):
    random, tables, files = np.random.default_rng(0), [], []
    for judge in ("i", "j"):
        for recipe in ("one", "two", "alone"):
            for part in ("ab", "c"):
                rows = [(label, step, view) for view in ("raw", "rescaled") for label in part for step in (1, 2)]
                table = pd.DataFrame(rows, columns=["label", "step", "view"])
                tables.append(table.assign(judge=judge, run="r", epoch=1, recipe=recipe))
                files.append(tmp_path / f"{len(files)}.safetensors")
                write_features(random.standard_normal((len(rows), 4)), files[-1])
    tables.append(tables[0].iloc[:0])
    files.append(tmp_path / "none.safetensors")
    agreement = seed_agreement(tables, files, {"one": "f", "two": "f", "alone": "g"})
    joined = pd.concat(tables, ignore_index=True)
    vectors = np.concatenate([read_features(file, len(table)) for file, table in zip(files[:-1], tables, strict=False)])
    keys = list(joined[["judge", "label", "step", "view"]].itertuples(index=False, name=None))
    for row, key in enumerate(keys):
        (other,) = (
            [
                each
                for each in range(len(keys))
                if keys[each] == key and each != row and joined["recipe"][each] != "alone"
            ]
            if joined["recipe"][row] != "alone"
            else [row]
        )
        cosine = vectors[row] @ vectors[other] / np.linalg.norm(vectors[row]) / np.linalg.norm(vectors[other])
        expected = np.nan if joined["recipe"][row] == "alone" else cosine
        assert agreement[row] == pytest.approx(expected, rel=1e-5, nan_ok=True)


def test_damaged_features_are_reported(tmp_path):
    path = tmp_path / "a.safetensors"
    write_features(np.ones((3, 2)), path)
    with pytest.raises(UserError, match=rf"^'{path}' is corrupt \(it has 3 rows instead of 4\); {REBUILD}$"):
        read_features(path, 4)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(UserError, match=rf"^'{path}' is corrupt \(.+\); {REBUILD}$"):
        read_features(path, 3)

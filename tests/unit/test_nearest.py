"""Distances from training photographs, in aligned pixels and in features, compared with known values."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from dreambirds.errors import UserError
from dreambirds.evaluation.aligned import FLAT, AlignedPhotographs, read_small, shrink, write_small
from dreambirds.evaluation.nearest import (
    HELD_OUT,
    cosine_distances,
    describe_nearest,
    held_out_table,
    read_held_out,
    typical_distances,
)


def smooth_images(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return smooth images as uint8 (N, H, W, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 5, 4, 3), np.uint8)
    return np.stack([np.asarray(Image.fromarray(each).resize((width, height), Image.BICUBIC)) for each in coarse])


def correlation(one: np.ndarray, two: np.ndarray) -> float:
    """Return the correlation of two images, without each color's mean."""
    one, two = (image.astype(float) - image.mean(axis=(0, 1)) for image in (one, two))
    least = FLAT * 255**2 * one.size
    flat = (one**2).sum() < least or (two**2).sum() < least
    return 0.0 if flat else float((one * two).sum() / np.sqrt((one**2).sum() * (two**2).sum()))


def by_loop(image: np.ndarray, photograph: np.ndarray) -> float:
    """Return the distance of two images by trying all shifts."""
    height, width, _ = image.shape
    found = []
    for view in (image, image[:, ::-1]):
        for down in range(-(height // 4), height // 4 + 1):
            for across in range(-(width // 4), width // 4 + 1):
                moved = view[max(0, down) : height + min(0, down), max(0, across) : width + min(0, across)]
                fixed = photograph[max(0, -down) : height - max(0, down), max(0, -across) : width - max(0, across)]
                found.append(correlation(moved, fixed))
    return 1 - max(found)


@pytest.mark.parametrize(("height", "width"), [(12, 12), (13, 9), (8, 15), (3, 5)])
def test_aligned_distances_equal_a_plain_loop(height, width):
    photographs, images = smooth_images(4, height, width), smooth_images(3, height, width, 1)
    images[2], photographs[3, :, : width // 2] = 77, 9
    aligned = AlignedPhotographs(photographs)
    found = [aligned.distances(image) for image in images]
    expected = [[by_loop(image, photograph) for photograph in photographs] for image in images]
    assert np.allclose(found, expected, atol=1e-9) and np.allclose(found[2], 1), "a constant image"


def test_a_shifted_mirrored_and_noisy_copy_is_found():
    photographs = smooth_images(20, 32, 32)
    large = smooth_images(20, 48, 48)
    moved = [large[7][8:40, 8:40], large[7][1:33, 14:46][:, ::-1]]
    photographs[7] = moved[0]
    noise = np.random.default_rng(1).normal(0, 6, photographs[7].shape)
    copy = (0.7 * moved[1] + [40, 10, 20] + noise).clip(0, 255).astype(np.uint8)
    distances = AlignedPhotographs(photographs).distances(copy)
    assert distances.argmin() == 7 and distances[7] < 0.05 < 0.2 < np.delete(distances, 7).min()


@pytest.mark.parametrize(
    ("change", "distance"),
    [
        (lambda image: image, 0),
        (lambda image: image[:, ::-1], 0),
        (lambda image: image // 2 + 60, 0),
        (lambda image: np.full_like(image, 128), 1),
    ],
)
def test_distances_of_known_changes(change, distance):
    photographs = smooth_images(1, 32, 32)
    assert AlignedPhotographs(photographs).distances(change(photographs[0])) == pytest.approx(distance, abs=2e-4)


def test_areas_are_averaged():
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    expected = image.reshape(16, 4, 24, 4, 3).mean(axis=(1, 3))
    assert np.abs(shrink(Image.fromarray(image), (16, 24)) - expected).max() <= 1, "rounded twice"


def test_cosine_distances_are_those_of_torch_and_survive_half_precision():
    features, photographs = torch.randn(64, dtype=torch.double), torch.randn(7, 64, dtype=torch.double)
    expected = 1 - torch.nn.functional.cosine_similarity(features, photographs)
    assert np.allclose(cosine_distances(features.numpy(), photographs.numpy()), expected, atol=1e-12)
    half = torch.nn.functional.normalize(photographs, dim=1).half().numpy()
    assert np.abs(cosine_distances(features.numpy(), half) - expected.numpy()).max() < 1e-4
    assert cosine_distances(photographs[3].numpy(), half)[3] < 1e-6, "a copy"
    assert cosine_distances(np.zeros(64), half) == pytest.approx(1)


def test_the_nearest_photographs_are_listed_with_the_ratio_to_a_typical_distance():
    distances, paths = np.array([0.5, 0.1, 0.3, -1e-17]), ["a", "b", "c", "d"]
    listed, distance, ratio = describe_nearest(distances[:3], paths[:3], 0.2)
    assert list(json.loads(listed).items()) == [("b", 0.1), ("c", 0.3), ("a", 0.5)]
    assert (distance, ratio) == (0.1, pytest.approx(0.5))
    assert json.loads(describe_nearest(distances, paths, 0.2)[0]) == {"d": 0, "b": 0.1, "c": 0.3}
    assert all(np.isnan(describe_nearest(distances, paths, typical)[2]) for typical in (None, 0.0, 1e-8))


def test_the_typical_distance_is_the_median_over_held_out_photographs():
    distances = np.array([[0.4, 0.2], [0.1, 0.3], [0.9, 0.8]])
    table = held_out_table("auk", ["x", "y", "z"], ["a", "b"], distances)
    assert table.to_dict("list") == {
        "label": ["auk"] * 3,
        "path": ["x", "y", "z"],
        "nearest": ["b", "a", "b"],
        "distance": [0.2, 0.1, 0.8],
    }
    assert typical_distances(table) == {"auk": 0.2} and typical_distances(pd.DataFrame(columns=HELD_OUT)) == {}


def test_small_copies_are_written_once_for_all_jobs(bench, tmp_path):
    folder, files = bench.prepare(), (tmp_path / "small.safetensors", tmp_path / "held_out.csv")
    write_small(folder, *files)
    small, paths = read_small(files[0])
    images = pd.read_csv(folder / "images.csv", dtype=str, keep_default_na=False)
    for label in ("auk", "bunting", "crane"):
        rows = images[(images["label"] == label) & (images["path"] != "")]
        training = rows.loc[rows["split"] == "train", "path"]
        assert paths[label] == list(training)
        expected = [shrink(Image.open(folder / path), small[label].shape[1:3]) for path in training]
        assert np.array_equal(small[label], expected) and min(small[label].shape[1:3]) == 32
    held_out = read_held_out(files[1])
    assert set(held_out["path"]) == set(images.loc[(images["split"] == "validation") & (images["path"] != ""), "path"])
    first = held_out.iloc[0]
    copy = shrink(Image.open(folder / first["path"]), small[first["label"]].shape[1:3])
    distances = [by_loop(copy, photograph) for photograph in small[first["label"]][:2]]
    found = AlignedPhotographs(small[first["label"]]).distances(copy)
    assert np.allclose(found[:2], distances) and first["distance"] == pytest.approx(found.min(), rel=1e-5)
    assert first["nearest"] == paths[first["label"]][found.argmin()]
    files[0].write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"small\.safetensors' is corrupt"):
        read_small(files[0])

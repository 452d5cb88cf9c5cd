"""Photographs that dreams are compared with: their digests, and the store of their statistics."""

import logging
import re

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from dreambirds.dream_job.references import ReferenceStore, TrainingPhotographs
from dreambirds.errors import UserError
from tests.helpers.dream_bench import same_statistics
from tests.helpers.small import rand

LABELS = {"auk": "Auk", "bunting": "Bunting", "crane": "Crane"}
OWN = {label: label for label in LABELS}
KEY = "0123456789abcdef"


def training(folder, label: str) -> pd.DataFrame:
    """Return the rows of the prepared table for a label's training images."""
    images = pd.read_csv(folder / "images.csv", dtype=str, keep_default_na=False)
    return images[(images["label"] == label) & (images["split"] == "train") & (images["path"] != "")]


def digests(folder, most: int = 99) -> dict[str, str]:
    """Return the digest of each label's photographs."""
    return TrainingPhotographs(folder, OWN, most).digests


def test_the_photographs_are_the_first_prepared_training_images(bench):
    folder = bench.prepare()
    for most in (1, 3, 99):
        photographs = TrainingPhotographs(folder, OWN, most)
        for label in LABELS:
            paths = training(folder, label)["path"][:most]
            expected = [np.asarray(Image.open(folder / path)).transpose(2, 0, 1) / 255 for path in paths]
            found = photographs.read(label)
            assert found.dtype == torch.float32 and np.allclose(found, expected, atol=1e-7)
    assert 1 < len(training(folder, "auk")) < 6 == len(list((bench.root / "in/auk").iterdir())), "some are held out"


def test_the_digest_depends_on_pixels_and_not_on_their_position(bench):
    before = digests(bench.prepare("before"))
    assert len(set(before.values())) == 3
    bench.photograph("albatross/0.png", 999)
    for number in range(1, 6):
        bench.photograph(f"albatross/{number}.png", 990 + number)
    assert digests(bench.prepare("after")) == before, "a new class precedes them"


def test_the_digest_changes_with_a_pixel_of_its_own_class_only(bench):
    folder = bench.prepare("before")
    before, most = digests(folder), digests(folder, 2)
    images = pd.read_csv(folder / "images.csv", dtype=str, keep_default_na=False)
    source = images.loc[training(folder, "bunting").index[-1], "source"]
    photograph = next(path for path in (bench.root / "in/bunting").iterdir() if path.name in source)
    pixels = np.array(Image.open(photograph))
    pixels[12:18, 15:25] ^= 255
    Image.fromarray(pixels).save(photograph)
    after = bench.prepare("after")
    assert {label for label in LABELS if digests(after)[label] != before[label]} == {"bunting"}
    assert digests(after, 2) == most, "the changed image is not among the first two"
    assert digests(after, 2)["auk"] != digests(after)["auk"]


@pytest.mark.parametrize("missing", ["no image", "validation only"])
def test_a_class_without_training_photographs_gives_a_one_line_error(bench, missing):
    folder, label = bench.prepare(), "dodo"
    if missing == "validation only":
        images, label = pd.read_csv(folder / "images.csv", dtype=str, keep_default_na=False), "bunting"
        images.loc[images["label"] == label, "split"] = "validation"
        images.to_csv(folder / "images.csv", index=False)
    with pytest.raises(UserError) as error:
        TrainingPhotographs(folder, {"auk": label}, 9)
    sentence = f"'{folder}/images.csv' has no training photograph of the class '{label}'; "
    assert str(error.value) == f"{sentence}delete the folder '{folder}' and run the same command again to rebuild it"


def test_images_that_do_not_match_the_table_are_refused(bench):
    folder = bench.prepare()
    packed = np.load(folder / "pictures.npy")
    np.save(folder / "pictures.npy", packed[:-1])
    with pytest.raises(UserError, match="does not contain 18 RGB images; delete the folder"):
        TrainingPhotographs(folder, OWN, 9)
    np.save(folder / "pictures.npy", packed[::-1])
    with pytest.raises(UserError, match=r"does not contain the images of 'images\.csv'; delete the folder"):
        TrainingPhotographs(folder, OWN, 9)


class Counted:
    """A function that returns statistics and counts its calls."""

    def __init__(self):
        self.times = 0
        self.statistics = {
            "crop": {"features.0.conv": rand(3, 5).float(), "stem": rand(2, 1).float()},
            "whole": {"features.0.conv": rand(6, 5).float()[3:], "stem": rand(4, 1).float()[2:]},
        }

    def __call__(self):
        self.times += 1
        return self.statistics


def test_statistics_are_computed_once_and_then_read_from_the_store(tmp_path, caplog):
    compute, store = Counted(), ReferenceStore(tmp_path / "references")
    for _ in range(3):
        assert same_statistics(store.get(KEY, compute), compute.statistics)
    assert same_statistics(ReferenceStore(tmp_path / "references").get(KEY, compute), compute.statistics)
    assert compute.times == 1 and not caplog.records
    store.get("f" + KEY, compute)
    assert compute.times == 2, "another key"


def test_an_environment_variable_sets_the_store(tmp_path, monkeypatch):
    monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path / "elsewhere"))
    ReferenceStore().get(KEY, Counted())
    assert len(list((tmp_path / "elsewhere/references").rglob("*.safetensors"))) == 1


def truncate(content: bytes) -> bytes:
    """Remove the last four bytes."""
    return content[:-4]


def flip(content: bytes) -> bytes:
    """Flip a bit of the last value."""
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize(
    "damage", [truncate, flip, lambda _: b"", lambda _: b"no tensors"], ids=["truncated", "bit", "empty", "text"]
)
def test_a_damaged_file_is_reported_and_recomputed(tmp_path, caplog, damage):
    compute, store = Counted(), ReferenceStore(tmp_path)
    store.get(KEY, compute)
    (path,) = tmp_path.rglob("*.safetensors")
    content = path.read_bytes()
    path.write_bytes(damage(content))
    with caplog.at_level(logging.WARNING):
        assert same_statistics(store.get(KEY, compute), compute.statistics) and compute.times == 2
    (record,) = caplog.records
    assert re.fullmatch(rf"'{path}' is corrupt \([^;']*\); recomputing it", record.getMessage())
    assert path.read_bytes() == content and list(path.parent.iterdir()) == [path]
    assert (
        same_statistics(store.get(KEY, compute), compute.statistics) and compute.times == 2 and len(caplog.records) == 1
    )


def test_a_store_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "references").write_text("a file instead of a folder")
    with pytest.raises(UserError, match=r"cannot write to the store of statistics of photographs '.*references' \("):
        ReferenceStore(tmp_path / "references").get(KEY, Counted())

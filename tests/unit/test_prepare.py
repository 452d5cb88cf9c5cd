"""Pictures are prepared once: in any number of threads, after a job was killed, for other studies and longer lists."""

import logging
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dreambirds.data import prepare
from dreambirds.data import prepare as preparing
from dreambirds.data.image_cache import ImageCache
from dreambirds.data.labels import Label
from dreambirds.data.prepare import AHEAD, ImagePreparer, in_order
from dreambirds.data.sources.source import Photograph
from dreambirds.data.tables import read_images, read_labels
from dreambirds.errors import UserError
from tests.helpers.bench import contents


def test_threads_change_nothing(bench):
    one = bench.prepare("one")
    for entry in bench.entries:
        entry.unlink()
    four = bench.prepare("four", threads=4)
    assert len(bench.made) == 18 and len(set(bench.made)) > 1
    assert contents(one) == contents(four) and len(contents(one)) == 18 + 3


def test_a_job_that_was_killed_goes_on_where_it_was(bench, monkeypatch):
    whole = contents(bench.prepare("whole"))
    for entry in bench.entries:
        entry.unlink()
    counted, left = prepare.make_image, [7]

    def killed(*arguments):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return counted(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(prepare, "make_image", killed)
        with pytest.raises(KeyboardInterrupt):
            bench.prepare("killed")
    assert len(bench.entries) == 7
    assert not set(contents(bench.root / "killed")) & {"images.csv", "labels.csv", "pictures.npy"}, (
        "nothing half-written"
    )
    again = bench.prepare("killed")
    assert len(bench.made) == 18 - 7 and contents(again) == whole
    assert bench.prepare("killed") and bench.made == []


def test_only_what_decides_pixels_makes_them_anew(bench, caplog):
    caplog.set_level(logging.INFO, "dreambirds")
    bench.prepare("few", labels=["auk", "crane"])
    assert len(bench.made) == 12 and "0 of them from the store" in caplog.text
    bench.prepare("all", labels=None, validation_fraction=0.5, seed=9)
    assert len(bench.made) == 6 and "12 of them from the store" in caplog.text
    bench.prepare("large", image_size=20)
    assert len(bench.made) == 18
    bench.prepare("wide", image_size=[16, 20])
    assert len(bench.made) == 18
    bench.photograph("auk/new.png", 999)
    bench.photograph("bunting/0.png", 998)
    bench.prepare("changed")
    assert len(bench.made) == 2


def test_boxes_are_cropped_and_those_that_miss_are_told(bench, caplog):
    path = bench.photograph("one.png", 5)
    config = {"image_size": 16, "crop_margin": 0.0}
    workshop = ImagePreparer(config, bench.root / "out", ImageCache(bench.root / "store"))
    photograph = Photograph(Label("a", "A"), path, box=(10.0, 5.0, 16.0, 16.0))
    made = workshop.make(photograph, "0")
    expected = np.asarray(Image.open(path).convert("RGB"))[5:21, 10:26]
    assert np.array_equal(made.pixels.transpose(1, 2, 0), expected) and made.row["size"] == "40x30"
    assert "whole" not in caplog.text
    for times in (1, 2):  # made, and found again
        missing = replace(photograph, box=(60.0, 5.0, 16.0, 16.0))
        assert "error" not in workshop.make(missing, "0").row
        assert caplog.text.count("is not cropped: its box [60.0, 5.0, 16.0, 16.0] does not overlap the image") == times
    whole = replace(workshop, dataset={**config, "crop_margin": None}).make(photograph, "0")
    assert not np.array_equal(whole.pixels, made.pixels)


def test_a_given_split_is_kept_and_the_rest_is_divided(tmp_path, bench):
    for label in ("auk", "bunting"):
        for part, places in (("train", (0, 1, 2, 3)), ("val", (4, 5))):
            for place in places:
                (tmp_path / "given" / part / label).mkdir(parents=True, exist_ok=True)
                (tmp_path / f"in/{label}/{place}.png").rename(tmp_path / f"given/{part}/{label}/{place}.png")
    given = {"path": str(tmp_path / "given")}
    images = read_images(bench.prepare("kept", **given))
    assert [*images["split"]] == ["train"] * 4 + ["validation"] * 2 + ["train"] * 4 + ["validation"] * 2
    assert all(("/val/" in source) == (part == "validation") for source, part in images[["source", "split"]].to_numpy())
    drawn = read_images(bench.prepare("drawn", **given, split="random", validation_fraction=0.5))
    assert (drawn["split"] == "validation").sum() == 6
    for path in (tmp_path / "given/train/auk").iterdir():
        path.write_text("broken")
    with pytest.raises(
        UserError,
        match=r"^dataset.split: .*leaves no readable image to train class 'auk' \(2 for validation\); set it",
    ):
        bench.prepare("broken", **given)
    bench.photograph("../given/train/auk/0.png", 1)
    for path in [
        *(tmp_path / "given/val/bunting").iterdir(),
        *sorted((tmp_path / "given/train/bunting").iterdir())[1:],
    ]:
        path.unlink()
    labels = read_labels(bench.prepare("one", **given))
    assert labels[["train", "validation"]].to_numpy().tolist() == [[1, 2], [1, 0]], "one that trains is enough"


def test_copies_are_named_and_loudly_where_they_spoil_what_is_measured(bench, caplog):
    caplog.set_level(logging.INFO, "dreambirds")
    whole = (bench.root / "in/auk/0.png").read_bytes()
    (bench.root / "in/auk/9.png").write_bytes(whole)
    images = read_images(bench.prepare("same", validation_fraction=0.0))
    copies = images[images["duplicate_of"] != ""]
    assert copies[["path", "duplicate_of"]].to_numpy().tolist() == [["images/auk/00006.png", "images/auk/00000.png"]]
    assert "1 images are exact copies of others" in caplog.text
    assert "WARNING" not in [record.message[:7] for record in caplog.records]
    for place in range(6):
        (bench.root / f"in/bunting/{place}.png").write_bytes(whole)
    bench.prepare("spoilt", validation_fraction=0.5)
    loud = [record.message for record in caplog.records if record.message.startswith("WARNING: ")]
    assert len(loud) == 2 and all(str(bench.root / "in/auk/0.png") in message for message in loud)
    assert "1 images are in both training and validation, which inflates the validation accuracy" in loud[0]
    assert "1 images are in more than one class" in loud[1]


def test_large_sets_tell_how_far_they_are(bench, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "dreambirds")
    bench.prepare("quiet")
    assert " %: " not in caplog.text
    monkeypatch.setattr(preparing, "LARGE", 18)
    bench.prepare("told")
    said = [record.message for record in caplog.records if " %: " in record.message]
    assert len(said) == 10 and said[-1] == "100 %: 18 of 18 images"


def test_results_come_in_order_and_few_wait():
    begun, taken, most = [], 0, 0

    def slow(number: int) -> int:
        begun.append(number)
        time.sleep(0.002 * (number % 3))
        return number * number

    for number, result in enumerate(in_order(slow, range(60), 3)):
        assert result == number * number
        taken, most = taken + 1, max(most, len(begun) - taken)
    assert taken == 60 and 3 <= most <= AHEAD * 3


def test_what_fails_is_raised_in_its_turn_and_nothing_more_is_begun():
    begun, taken = [], []

    def fail(number: int) -> int:
        begun.append(number)
        if number == 5:
            raise UserError("five")
        time.sleep(0.1 if number > 5 else 0)
        return number

    with pytest.raises(UserError, match="five"):
        for number in in_order(fail, range(1000), 2):
            taken.append(number)
    assert taken == [0, 1, 2, 3, 4] and len(begun) <= 6 + 3, "those that only wait are dropped"

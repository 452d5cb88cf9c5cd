"""Images are prepared once: with any number of threads, after a killed job, for other studies and more labels."""

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


def test_threads_do_not_change_the_result(bench):
    one = bench.prepare("one")
    for entry in bench.entries:
        entry.unlink()
    four = bench.prepare("four", threads=4)
    assert len(bench.decoded) == 18 and len(set(bench.decoded)) > 1
    assert contents(one) == contents(four) and len(contents(one)) == 18 + 3


def test_a_killed_job_resumes_where_it_stopped(bench, monkeypatch):
    expected = contents(bench.prepare("complete"))
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
    assert not set(contents(bench.root / "killed")) & {"images.csv", "labels.csv", "pictures.npy"}, "no partial files"
    again = bench.prepare("killed")
    assert len(bench.decoded) == 18 - 7 and contents(again) == expected
    assert bench.prepare("killed") and bench.decoded == []


def test_images_are_prepared_again_only_if_their_pixels_change(bench, caplog):
    caplog.set_level(logging.INFO, "dreambirds")
    bench.prepare("few", labels=["auk", "crane"])
    assert len(bench.decoded) == 12 and "0 of them from the store" in caplog.text
    bench.prepare("all", labels=None, validation_fraction=0.5, seed=9)
    assert len(bench.decoded) == 6 and "12 of them from the store" in caplog.text
    bench.prepare("large", image_size=20)
    assert len(bench.decoded) == 18
    bench.prepare("wide", image_size=[16, 20])
    assert len(bench.decoded) == 18
    bench.photograph("auk/new.png", 999)
    bench.photograph("bunting/0.png", 998)
    bench.prepare("changed")
    assert len(bench.decoded) == 2


def test_images_are_cropped_to_boxes_and_a_box_without_overlap_is_logged(bench, caplog):
    path = bench.photograph("one.png", 5)
    config = {"image_size": 16, "crop_margin": 0.0}
    preparer = ImagePreparer(config, bench.root / "out", ImageCache(bench.root / "store"))
    photograph = Photograph(Label("a", "A"), path, box=(10.0, 5.0, 16.0, 16.0))
    prepared = preparer.make(photograph, "0")
    expected = np.asarray(Image.open(path).convert("RGB"))[5:21, 10:26]
    assert np.array_equal(prepared.pixels.transpose(1, 2, 0), expected) and prepared.row["size"] == "40x30"
    assert "not cropped" not in caplog.text
    for times in (1, 2):  # prepared, then from the store
        missing = replace(photograph, box=(60.0, 5.0, 16.0, 16.0))
        assert "error" not in preparer.make(missing, "0").row
        assert caplog.text.count("is not cropped, because its box [60.0, 5.0, 16.0, 16.0] does not overlap") == times
    full = replace(preparer, dataset={**config, "crop_margin": None}).make(photograph, "0")
    assert not np.array_equal(full.pixels, prepared.pixels)


def test_a_given_split_is_kept_and_other_images_are_split(tmp_path, bench):
    for label in ("auk", "bunting"):
        for part, numbers in (("train", (0, 1, 2, 3)), ("val", (4, 5))):
            for number in numbers:
                (tmp_path / "given" / part / label).mkdir(parents=True, exist_ok=True)
                (tmp_path / f"in/{label}/{number}.png").rename(tmp_path / f"given/{part}/{label}/{number}.png")
    given = {"path": str(tmp_path / "given")}
    images = read_images(bench.prepare("kept", **given))
    assert [*images["split"]] == ["train"] * 4 + ["validation"] * 2 + ["train"] * 4 + ["validation"] * 2
    assert all(("/val/" in source) == (part == "validation") for source, part in images[["source", "split"]].to_numpy())
    drawn = read_images(bench.prepare("drawn", **given, split="random", validation_fraction=0.5))
    assert (drawn["split"] == "validation").sum() == 6
    for path in (tmp_path / "given/train/auk").iterdir():
        path.write_bytes(path.read_bytes()[:99])
    with pytest.raises(
        UserError,
        match=r"^dataset.path: class 'auk' has no readable photograph for training in '.*' "
        r"\(the first skipped one is '.*/auk/0.png': image file is truncated.*\); replace its files",
    ):
        bench.prepare("broken", **given)
    bench.photograph("../given/train/auk/0.png", 1)
    for path in [
        *(tmp_path / "given/val/bunting").iterdir(),
        *sorted((tmp_path / "given/train/bunting").iterdir())[1:],
    ]:
        path.unlink()
    labels = read_labels(bench.prepare("one", **given, min_photographs=1))
    assert labels[["train", "validation"]].to_numpy().tolist() == [[1, 2], [1, 0]], "one training image is enough"


def test_copies_are_logged_with_a_warning_if_they_affect_measurements(bench, caplog):
    caplog.set_level(logging.INFO, "dreambirds")
    image = (bench.root / "in/auk/0.png").read_bytes()
    (bench.root / "in/auk/9.png").write_bytes(image)
    images = read_images(bench.prepare("same", validation_fraction=0.0))
    copies = images[images["duplicate_of"] != ""]
    assert copies[["path", "duplicate_of"]].to_numpy().tolist() == [["images/auk/00006.png", "images/auk/00000.png"]]
    assert "found 1 duplicate image: " in caplog.text
    assert "WARNING" not in [record.levelname for record in caplog.records]
    for number in range(6):
        (bench.root / f"in/bunting/{number}.png").write_bytes(image)
    bench.prepare("copies", validation_fraction=0.5)
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 2 and all(str(bench.root / "in/auk/0.png") in message for message in warnings)
    assert "1 image is in both training and validation, which inflates the validation accuracy" in warnings[0]
    assert "1 image is in more than one class" in warnings[1]


def test_the_progress_of_large_sets_is_logged(bench, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "dreambirds")
    bench.prepare("quiet")
    assert "%: " not in caplog.text
    monkeypatch.setattr(preparing, "LARGE", 18)
    bench.prepare("logged")
    lines = [record.message for record in caplog.records if "%: " in record.message]
    assert len(lines) == 10 and lines[-1] == "100%: 18 of 18 images"


def test_results_are_in_order_and_few_wait():
    begun, taken, most = [], 0, 0

    def slow(number: int) -> int:
        begun.append(number)
        time.sleep(0.002 * (number % 3))
        return number * number

    for number, result in enumerate(in_order(slow, range(60), 3)):
        assert result == number * number
        taken, most = taken + 1, max(most, len(begun) - taken)
    assert taken == 60 and 3 <= most <= AHEAD * 3


def test_an_exception_is_raised_in_its_turn_and_no_further_item_is_started():
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
    assert taken == [0, 1, 2, 3, 4] and len(begun) <= 6 + 3, "waiting items are canceled"

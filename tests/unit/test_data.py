"""Images of any format become RGB of one size, are split and listed; unreadable ones are listed with a reason."""

import hashlib
import io
import logging
import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw
from torchvision.transforms.v2 import functional as v2

from dreambirds.config.load import check
from dreambirds.data.dataset import PreparedImages
from dreambirds.data.image_io import decoding_errors, read_photograph, resize_and_crop, to_rgb
from dreambirds.data.prepare import prepare
from dreambirds.data.sources.catalog import list_labels
from dreambirds.data.split import split
from dreambirds.data.tables import example_images, read_images, read_labels
from dreambirds.errors import UserError


def settings(**changes) -> dict:
    """Return a complete dataset section."""
    config = {"dataset": changes, "runs": {"a": {}}, "dreams": {"recipes": {"a": {}}}}
    check(config, "config")
    return config["dataset"]


def orange(width: int = 40, height: int = 20) -> Image.Image:
    """Return an image whose left half is orange and whose right half is blue."""
    image = Image.new("RGB", (width, height), (230, 120, 20))
    image.paste((20, 40, 200), (width // 2, 0, width, height))
    return image


def put_two(folder):
    """Create the folder of a class with two photographs."""
    folder.mkdir()
    for number in (1, 2):
        orange().save(folder / f"{number}.png")


@pytest.fixture
def photographs(tmp_path):
    """Return a folder of two classes with images of many formats, and some unreadable ones."""
    first, second = tmp_path / "in" / "001.Blue Bird's", tmp_path / "in" / "Other"
    first.mkdir(parents=True)
    second.mkdir()
    orange().save(first / "a.jpg", quality=95)
    orange().convert("L").save(first / "grey.png")
    orange().quantize(16).save(first / "palette.png")
    orange().convert("CMYK").save(first / "cmyk.jpg", quality=95)
    orange().convert("RGBA").save(first / "rgba.webp", lossless=True)
    (first / "empty.jpg").touch()
    (first / "text.jpg").write_text("not an image")
    (first / "link.jpg").symlink_to("nowhere.jpg")
    (first / os.fsdecode(b"caf\xe9.jpg")).write_text("a name that is not UTF-8")
    (first / "notes.txt").write_text("not an image by its name")
    complete = (first / "a.jpg").read_bytes()
    (second / "cut.jpg").write_bytes(complete[: len(complete) // 2])
    for number in range(4):
        orange(30 + number, 50).save(second / f"{number}.png")
    (tmp_path / "out").mkdir()
    return tmp_path


def test_every_mode_becomes_rgb_of_the_same_colors():
    expected = np.asarray(orange()).astype(int)
    sixteen = Image.fromarray((np.asarray(orange().convert("L")).astype(np.uint16)) * 257)
    for image in (orange().convert("CMYK"), orange().convert("RGBA"), orange().convert("P", palette=1, colors=64)):
        assert np.abs(np.asarray(to_rgb(image)).astype(int) - expected).max() <= 3, image.mode
    assert np.array_equal(np.asarray(to_rgb(sixteen))[..., 0], np.asarray(orange().convert("L")))
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert to_rgb(clear).getpixel((0, 0)) == (255, 255, 255)


def test_a_photograph_taken_sideways_is_rotated(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated by 90 degrees clockwise
    orange().save(tmp_path / "a.png", exif=exif)
    upright = read_photograph(tmp_path / "a.png")
    assert upright.size == (20, 40)
    assert upright.getpixel((10, 5)) == (230, 120, 20), "the left half is at the top"


def test_a_photograph_can_be_read_from_an_open_file(tmp_path):
    orange().save(tmp_path / "a.jpg")
    with (tmp_path / "a.jpg").open("rb") as file:
        file.read()
        assert read_photograph(file, "a.jpg").tobytes() == read_photograph(tmp_path / "a.jpg").tobytes()
        assert not file.closed
    with pytest.raises(ValueError, match=r"^the file is empty$"):
        read_photograph(io.BytesIO(), "a.jpg")
    with pytest.raises(ValueError, match=r"^'a\.jpg' is broken$"), decoding_errors("a.jpg"):
        raise OSError(f"{io.BytesIO()!r} is broken")


def test_an_image_that_is_too_large_to_decode_safely_is_rejected(tmp_path, monkeypatch):
    orange(40, 20).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 799)
    with (
        pytest.warns(Image.DecompressionBombWarning),
        pytest.raises(ValueError, match="40x20 pixels exceed the limit of 799"),
    ):
        read_photograph(tmp_path / "a.png")


@pytest.mark.parametrize("size", [50, (50, 80), [80, 50], (30, 200)])
@pytest.mark.parametrize("of", [(300, 100), (100, 300), (200, 201), (20, 10)])
def test_images_keep_proportions_and_center_and_cover_their_size(size, of):
    height, width = (size, size) if isinstance(size, int) else size
    scale, radius = max(width / of[0], height / of[1]), min(of) / 4
    disc = Image.new("RGB", of, "black")
    box = [of[0] / 2 - radius, of[1] / 2 - radius, of[0] / 2 + radius, of[1] / 2 + radius]
    ImageDraw.Draw(disc).ellipse(box, "white")
    found = np.asarray(resize_and_crop(disc, size))[..., 0] / 255
    assert found.shape == (height, width)
    for axis, length in ((0, width), (1, height)):
        inside = np.flatnonzero(found.max(axis=axis) > 0.5)
        expected = [max(0, length / 2 - scale * radius), min(length, length / 2 + scale * radius) - 1]
        assert np.abs(inside[[0, -1]] - expected).max() <= 1 + scale / 2
    assert resize_and_crop(orange(*of), of[::-1]).tobytes() == orange(*of).tobytes()


@pytest.mark.parametrize("of", [(500, 333), (333, 500), (227, 227), (91, 640)])
def test_squares_are_equal_to_torchvisions_resize_and_center_crop(of):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (of[1], of[0], 3), np.uint8))
    expected = v2.center_crop(v2.resize(noise, [64], antialias=True), [64, 64])
    assert resize_and_crop(noise, 64).tobytes() == expected.tobytes()


def test_a_folder_is_prepared_and_unreadable_files_are_listed(photographs, caplog):
    caplog.set_level(logging.INFO, "dreambirds")
    dataset = settings(source="folder", path=str(photographs / "in"), image_size=32, validation_fraction=0.25)
    prepare(dataset, list_labels(dataset), photographs / "out")
    images, labels = read_images(photographs / "out"), read_labels(photographs / "out")
    assert list(labels["label"]) == ["001_Blue_Bird_s", "Other"]
    assert list(labels["class_name"]) == ["001.Blue Bird's", "Other"]
    assert labels[["train", "validation"]].to_numpy().tolist() == [[4, 1], [3, 1]]
    problems = {path.rpartition("/")[2]: problem for path, problem in images[["source", "error"]].to_numpy() if problem}
    assert problems["empty.jpg"] == "the file is empty"
    assert problems["text.jpg"] == problems["notes.txt"] == "not an image: text"
    assert "truncated" in problems["cut.jpg"].lower()
    assert problems["link.jpg"] == "a broken symbolic link"
    assert problems["caf\\xe9.jpg"] == "not an image: text"
    assert len(problems) == 6 and all(name in caplog.text for name in problems)
    assert "left out 6 files (text: 3, empty: 1, broken link: 1, truncated: 1); images.csv lists all" in caplog.text
    for path, digest in images.loc[images["error"] == "", ["path", "sha256"]].to_numpy():
        image = Image.open(photographs / "out" / path)
        assert (image.mode, image.size) == ("RGB", (32, 32))
        assert hashlib.sha256(image.tobytes()).hexdigest() == digest
    assert set(images.loc[images["error"] == "", "size"]) == {"40x20", "30x50", "31x50", "32x50", "33x50"}
    assert set(example_images(photographs / "out")) == {"001_Blue_Bird_s", "Other"}
    assert len(PreparedImages(photographs / "out", "train")) == 7


def test_files_damaged_at_random_are_rejected_with_a_reason_or_read(tmp_path):
    random = np.random.default_rng(0)
    for suffix in ("jpg", "png", "webp"):
        orange().save(tmp_path / f"good.{suffix}")
        good = np.frombuffer((tmp_path / f"good.{suffix}").read_bytes(), np.uint8)
        for _ in range(100):
            damaged = good.copy()
            damaged[random.integers(len(good), size=5)] = random.integers(256, size=5)
            (tmp_path / "damaged").write_bytes(damaged[: random.integers(1, len(good) + 1)].tobytes())
            try:
                assert read_photograph(tmp_path / "damaged").mode == "RGB"
            except ValueError as reason:
                assert str(reason)


def test_a_class_without_readable_images_is_reported(photographs):
    for path in (photographs / "in" / "Other").glob("?.png"):
        path.unlink()
    (photographs / "in" / "Other" / "text.png").write_bytes((photographs / "in" / "Other" / "cut.jpg").read_bytes())
    dataset = settings(source="folder", path=str(photographs / "in"))
    problem = r"class 'Other' has no readable photograph for training in '.*' \(the first skipped one is '.*cut.jpg': "
    with pytest.raises(UserError, match=problem):
        prepare(dataset, list_labels(dataset), photographs / "out")


def test_labels_are_unique_when_their_safe_names_would_be_the_same(tmp_path):
    for name in ("a b", "a_b", "A.b", ".hidden", "x/"):
        put_two(tmp_path / name)
    labels = list_labels(settings(source="folder", path=str(tmp_path)))
    dotted, spaced, *others = [label.label for label in labels]
    assert dotted.startswith("A_b_") and spaced.startswith("a_b_") and dotted[4:] != spaced[4:]
    assert others == ["a_b", "x"], "a name that is a label keeps it"
    assert [label.folder for label in labels] == ["A.b", "a b", "a_b", "x"]


def test_a_folder_name_has_priority_over_the_label_and_the_name_of_another_class(tmp_path):
    for name in ("a b", "a_b", "c"):
        put_two(tmp_path / name)
    for requested in ("a b", "a_b"):
        chosen = list_labels(settings(source="folder", path=str(tmp_path), labels=[requested, "c"]))
        assert [label.folder for label in chosen] == [requested, "c"]


@pytest.mark.slow
def test_drawn_birds_depend_on_the_seed_and_not_on_the_other_classes(tmp_path):
    digests = []
    for number, (seed, labels) in enumerate([(0, None), (0, ["blue_jay", "great_blue_heron"]), (1, None)]):
        dataset = settings(image_size=16, images_per_label=4, seed=seed, labels=labels)
        folder = tmp_path / str(number)
        folder.mkdir()
        prepare(dataset, list_labels(dataset), folder)
        images = read_images(folder)
        digests.append(images.loc[images["label"] == "blue_jay", ["sha256", "split"]].to_numpy().tolist())
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.2, 0.5, 0.9])
def test_the_split_is_stratified_and_every_class_has_training_images(fraction):
    labels = pd.Series(["a"] * 50 + ["b"] * 7 + ["c"] * 2)
    parts = split(labels, fraction, seed=3)
    for label, count in (("a", 50), ("b", 7), ("c", 2)):
        validating = (parts[labels == label] == "validation").sum()
        expected = min(max(round(fraction * count), 1 if fraction else 0), count - 1)
        assert validating == expected
    assert parts.equals(split(labels, fraction, seed=3))
    assert fraction < 0.2 or not parts.equals(split(labels, fraction, seed=4))


def test_each_class_is_split_with_its_own_generator():
    labels = pd.Series(["a"] * 40 + ["b"] * 40)
    parts = split(labels, 0.25, seed=3)
    assert parts[:40].tolist() != parts[40:].tolist()
    assert parts[40:].equals(split(labels[40:], 0.25, seed=3)), "the other class does not change the split"

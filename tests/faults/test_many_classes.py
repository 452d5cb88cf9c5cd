"""Thousands of classes are planned and prepared with a short log."""

import os
import zlib
from pathlib import Path

import numpy as np
import pytest

from dreambirds.data.labels import make_labels
from dreambirds.data.prepare import prepare
from dreambirds.data.sources.catalog import list_labels
from dreambirds.data.tables import read_images, read_labels
from dreambirds.log import MOST_WARNINGS
from tests.helpers.hostile import png, problems
from tests.helpers.layouts import settings
from tests.helpers.studies import Study, tiny

CLASSES = int(os.environ.get("DREAMBIRDS_CLASSES", "2000"))  # `make test-all` and `make faults` take ten thousand
EACH, BROKEN, SIDE = 2, CLASSES // 10, 16
LINES = 50  # the most lines of a log


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    """Return a folder of many classes with two images each; every tenth class also has a corrupt one."""
    root, random = tmp_path_factory.mktemp("many"), np.random.default_rng(0)
    for number in range(CLASSES):
        folder = root / "in" / f"{number:05d}.Bird {number}"
        folder.mkdir(parents=True)
        for index in range(EACH):
            rows = np.zeros((SIDE, 1 + 3 * SIDE), np.uint8)
            rows[:, 1:] = random.integers(0, 256, (SIDE, 3 * SIDE))
            (folder / f"{index}.png").write_bytes(png((SIDE, SIDE), 8, 2, zlib.compress(rows.tobytes(), 1)))
        if number % (CLASSES // BROKEN) == 0:
            (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return root


def test_thousands_of_classes_are_planned(many, counted):
    config = tiny()
    config["dataset"] = {"source": "folder", "path": str(many / "in"), "image_size": SIDE}
    config["dreams"]["labels"] = ["00000_Bird_0", "01000.Bird 1000", "01999_Bird_1999"]
    (many / "study").mkdir()
    study = Study(many / "study", config)
    output = study.run("-n")
    assert "12 dreams requested (2 checkpoints, 1 run, 1 recipe, 3 classes)" in output
    assert len(output.splitlines()) < 200 and max(map(len, output.splitlines())) < 5000
    counted("classes in one study", CLASSES)


def test_thousands_of_classes_are_prepared_with_a_short_log(many, own_log, counted):
    dataset, out = settings("folder", many / "in", image_size=SIDE), many / "out"
    out.mkdir()
    prepare(dataset, list_labels(dataset), out, many / "store", threads=2)
    labels, images = read_labels(out), read_images(out)
    assert labels[["train", "validation"]].to_numpy().tolist() == [[1, 1]] * CLASSES
    assert list(labels["class_name"][:2]) == ["00000.Bird 0", "00001.Bird 1"] and labels["label"].is_unique
    assert len(problems(out)) == 1 and (images["error"] != "").sum() == BROKEN
    assert len(np.load(out / "pictures.npy", mmap_mode="r")) == CLASSES * EACH
    lines = own_log.read_text().splitlines()
    assert len(lines) < LINES and sum(" skipped " in line for line in lines) == MOST_WARNINGS
    counted("bad photographs handled or listed", BROKEN)


def test_thousands_of_classes_of_the_same_name_get_unique_labels():
    labels = make_labels(("鳥", f"鳥 {number}", f"鳥{number}") for number in range(CLASSES))
    assert len({label.label for label in labels}) == CLASSES
    assert all(label.label.startswith("Niao_") for label in labels)
    few = make_labels([("鳥", "鳥 7", "鳥7"), ("鳥", "鳥 9", "鳥9")])
    assert few == [labels[7], labels[9]], "a label does not depend on the number of classes"

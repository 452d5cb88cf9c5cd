"""The competition's submission: the class number of each image, in the competition's order and format."""

import csv
import logging
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from dreambirds.data.image_io import to_tensor
from dreambirds.data.prepare import prepare
from dreambirds.data.sources.catalog import list_labels
from dreambirds.data.tables import read_images
from dreambirds.errors import UserError
from dreambirds.models import MODEL_FILE
from dreambirds.models.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from dreambirds.models.classifier import build
from dreambirds.plan.checkpoints import fingerprint_test_images, submissions, submitted_weights
from dreambirds.training import submission
from dreambirds.training.submission import fill, read, write_submission
from tests.helpers import layouts
from tests.helpers.layouts import photographs, settings

NUMBERS = ["10", "2", "9"]
LABELS = ["Yellow_Warbler", "Blue_Jay", "Northern_Cardinal"]
CPU = torch.device("cpu")


@pytest.fixture
def birds(tmp_path) -> Path:
    """Return the competition's folder, with seven images to classify."""
    return layouts.kaggle(tmp_path, tests=7)


@pytest.fixture
def weights(birds, tmp_path) -> Path:
    """Return a checkpoint with another order of classes, whose predictions differ between images."""
    images = torch.stack([to_tensor(Image.open(path)) for path in (birds / "test" / "0").iterdir()]) / 255
    torch.manual_seed(0)
    classifier = build("test_resnet", 3, {}).eval()
    with torch.no_grad():
        head, logits = classifier.network.get_classifier(), classifier(images)
        head.weight.div_(logits.std(dim=0).view(3, 1))
        head.bias.copy_(-(classifier(images) - head.bias).mean(dim=0))
    save_checkpoint(tmp_path / "epoch-0001", classifier, CheckpointInfo("test_resnet", {}, LABELS, "a", 1, 32))
    return tmp_path / "epoch-0001" / MODEL_FILE


def expected(weights: Path, file: Path) -> str:
    """Return the model's prediction for a single image that already has the right size."""
    classifier, _ = load_checkpoint(weights)
    pixels = torch.from_numpy(np.asarray(Image.open(file)).transpose(2, 0, 1) / 255).float()
    with torch.no_grad():
        return NUMBERS[int(classifier(pixels[None]).argmax())]


def rows(path: Path) -> list[list[str]]:
    """Return the rows of a table, its header first."""
    with path.open(newline="") as file:
        return list(csv.reader(file))


def submit(weights: Path, path: Path, **changes) -> list[list[str]]:
    """Return the rows of a submission, its header first."""
    output = weights.parent / "out.csv"
    write_submission(weights, settings("kaggle", path, image_size=layouts.SIDE, **changes), output, CPU, threads=2)
    return rows(output)


def test_every_image_gets_its_class_s_number_in_the_requested_order(birds, weights, monkeypatch):
    requested = [row[0] for row in rows(birds / "sample.csv")[1:]]
    answers = [[name, expected(weights, birds / "test" / "0" / name.removeprefix("test/"))] for name in requested]
    assert len({answer for _, answer in answers}) == 3 and requested != sorted(requested)
    assert submit(weights, birds) == [["path", "class"], *answers]
    assert (weights.parent / "out.csv").read_bytes().startswith(b"path,class\ntest/")
    sizes = []
    monkeypatch.setattr(submission, "BATCH", 3)
    monkeypatch.setattr(submission, "_most_likely", lambda *given: sizes.append(len(given[1])) or most_likely(*given))
    assert submit(weights, birds)[1:] == answers and sizes == [3, 3, 1], "batches do not change it"
    assert submit(weights, layouts.zipped(birds, birds.parent / "b.zip"))[1:] == answers, "nor does reading the zip"
    (birds / "sample.csv").unlink()
    (birds / "test" / "1").mkdir()
    first, second, *_ = sorted(name.removeprefix("test/") for name in requested)
    (birds / "test" / "0" / first).rename(birds / "test" / "1" / first)
    (birds / "test" / "0" / second).rename(birds / "test" / second)
    assert submit(weights, birds)[1:] == sorted(answers), "without the table: all images, by name"


most_likely = submission._most_likely


def test_the_spelling_of_the_sample_is_kept(birds, weights):
    names = [path.name for path in sorted((birds / "test" / "0").iterdir())[:2]]
    (birds / "sample.csv").write_bytes(f"\ufeffpath,class\r\ntest/0/{names[1]},0\r\n{names[0]},1\r\n\r\n".encode())
    assert [row[0] for row in submit(weights, birds)] == ["path", f"test/0/{names[1]}", names[0]]
    (birds / "sample.csv").write_text(f"path,class\ntest/{names[0]},0\ntest/{names[1]}\n")
    with pytest.raises(UserError, match=r"sample\.csv', line 3: must contain a file name and a class"):
        submit(weights, birds)


def test_images_that_cannot_be_read_get_the_most_frequent_class(birds, weights, caplog, monkeypatch):
    requested = [row[0].removeprefix("test/") for row in rows(birds / "sample.csv")[1:]]
    (birds / "test" / "0" / requested[0]).unlink()
    (birds / "test" / "0" / requested[3]).write_text("not an image")
    kept = {
        name: expected(weights, birds / "test" / "0" / name)
        for name in requested
        if name not in (requested[0], requested[3])
    }
    counts = Counter(kept.values())
    usual = min(counts, key=lambda number: (-counts[number], NUMBERS.index(number)))
    answers = [kept.get(name, usual) for name in requested]
    monkeypatch.setattr(submission, "BATCH", 1)
    assert [row[1] for row in submit(weights, birds)[1:]] == answers
    assert "cannot read 2 of 7 images, so the most frequent class is predicted for these" in caplog.text
    assert f"{requested[0]}' (listed in sample.csv, but the file does not exist)" in caplog.text


def test_missing_classes_become_the_first_of_the_most_frequent():
    assert fill([2, "missing", 1, 1, 2, "cut"], list("abcdef")) == [2, 1, 1, 1, 2, 1]
    assert fill([0, 2, 2, "missing"], list("abcd")) == [0, 2, 2, 2]
    with pytest.raises(UserError, match=r"cannot read any of the 2 images to classify, such as 'a' \(missing\); "):
        fill(["missing", "cut"], ["a", "b"])


def test_a_set_without_images_or_with_other_classes_is_an_error(birds, weights):
    (birds / "names.txt").write_text("\n".join(f"bird {number}" for number in range(11)))
    with pytest.raises(
        UserError, match="has the class 'Yellow_Warbler', which the data set does not have; delete the folder "
    ):
        submit(weights, birds)
    layouts.kaggle(birds.parent, tests=0)
    (birds / "sample.csv").write_text("path,class\n")
    with pytest.raises(UserError, match=r"has no images to classify, neither in 'test' nor in 'sample\.csv'"):
        submit(weights, birds)
    assert not (weights.parent / "out.csv").exists() and not list(weights.parent.glob(".*.csv"))


@pytest.mark.parametrize("size", [24, [20, 28]])
def test_an_image_is_prepared_as_for_training(birds, tmp_path, size):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    for number, mode in enumerate(["RGB", "L", "CMYK"]):
        path = layouts.save_bird(tmp_path / "a.png", "blue_jay", number)
        image = Image.open(path).resize((61, 40 + number)).convert(mode)
        image.save(birds / "train" / "9" / f"odd{number}.jpg", exif=exif)
    dataset = settings("kaggle", birds, image_size=size, validation_fraction=0)
    (tmp_path / "dataset").mkdir()
    prepare(dataset, list_labels(dataset), tmp_path / "dataset")
    prepared = read_images(tmp_path / "dataset").set_index("source")["path"]
    shape = (size, size) if isinstance(size, int) else tuple(size)
    assert len(prepared) == 15
    for photograph in photographs(dataset):
        learnt = np.asarray(Image.open(tmp_path / "dataset" / prepared[str(photograph.file)])).transpose(2, 0, 1)
        assert np.array_equal(read(photograph, shape).numpy(), learnt) and learnt.shape == (3, *shape)


def study(source: str, path: Path) -> SimpleNamespace:
    """Return the part of a plan that a submission needs."""
    config = {"dataset": settings(source, path), "runs": {"a": {}, "b": {}}, "store": None}
    return SimpleNamespace(
        config=config, trained=config["runs"], study="s", epochs=lambda run: {"a": [0, 3], "b": [0, 0.25]}[run]
    )


def test_a_submission_is_requested_by_name_and_only_for_the_competition(birds):
    plan = study("kaggle", birds)
    assert submissions(plan) == [
        "results/s/runs/a/epoch-0003/submission.csv",
        "results/s/runs/b/epoch-0000.25/submission.csv",
    ]
    assert submitted_weights(plan, "a", "0003") == "results/s/runs/a/epoch-0003/model.safetensors"
    with pytest.raises(UserError, match=r"dataset\.source: must be 'kaggle' for a submission, not 'folder'"):
        submitted_weights(study("folder", birds / "train"), "a", "0003")


def test_a_submission_is_rebuilt_if_an_image_or_the_sample_changed(birds, caplog):
    caplog.set_level(logging.INFO)
    plan = study("kaggle", birds)
    before = fingerprint_test_images(plan)
    assert fingerprint_test_images(plan) == before
    layouts.save_bird(birds / "train" / "9" / "more.jpg", "blue_jay")
    assert fingerprint_test_images(plan) == before, "training images do not matter"
    (birds / "sample.csv").write_text((birds / "sample.csv").read_text() + "test/more.jpg,0\n")
    fingerprint = fingerprint_test_images(plan)
    assert fingerprint != before
    layouts.save_bird(birds / "test" / "0" / "more.jpg", "blue_jay")
    more = fingerprint_test_images(plan)
    assert more != fingerprint
    (birds / "sample.csv").write_text((birds / "sample.csv").read_text().replace("test/more", "test/0/more"))
    assert fingerprint_test_images(plan) != more, "other spelling"

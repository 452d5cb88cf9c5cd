"""The competition's submission: classes in the order of the sample file."""

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
from dreambirds.plan.checkpoints import fingerprint_tests, submissions, submitted_weights
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
    """Return a checkpoint with another order of classes, and varied predictions."""
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
    """Return the class number predicted for one image of the right size."""
    classifier, _ = load_checkpoint(weights)
    pixels = torch.from_numpy(np.asarray(Image.open(file)).transpose(2, 0, 1) / 255).float()
    with torch.no_grad():
        return NUMBERS[int(classifier(pixels[None]).argmax())]


def rows(path: Path) -> list[list[str]]:
    """Return the rows of a table, starting with its header."""
    with path.open(newline="") as file:
        return list(csv.reader(file))


def submit(weights: Path, path: Path, **changes) -> list[list[str]]:
    """Return the rows of a submission, starting with its header."""
    output = weights.parent / "out.csv"
    write_submission(weights, settings("kaggle", path, image_size=layouts.SIDE, **changes), output, CPU, threads=2)
    return rows(output)


def test_every_picture_gets_its_class_s_number_in_the_order_asked_for(birds, weights, monkeypatch):
    names = [row[0] for row in rows(birds / "sample.csv")[1:]]
    answers = [[name, expected(weights, birds / "test" / "0" / name.removeprefix("test/"))] for name in names]
    assert len({answer for _, answer in answers}) == 3 and names != sorted(names)
    assert submit(weights, birds) == [["path", "class"], *answers]
    assert (weights.parent / "out.csv").read_bytes().startswith(b"path,class\ntest/")
    sizes = []
    monkeypatch.setattr(submission, "BATCH", 3)
    monkeypatch.setattr(submission, "_most_likely", lambda *given: sizes.append(len(given[1])) or most_likely(*given))
    assert submit(weights, birds)[1:] == answers and sizes == [3, 3, 1], "batches do not matter"
    assert submit(weights, layouts.zipped(birds, birds.parent / "b.zip"))[1:] == answers, "from the zip"
    (birds / "sample.csv").unlink()
    (birds / "test" / "1").mkdir()
    first, second, *_ = sorted(name.removeprefix("test/") for name in names)
    (birds / "test" / "0" / first).rename(birds / "test" / "1" / first)
    (birds / "test" / "0" / second).rename(birds / "test" / second)
    assert submit(weights, birds)[1:] == sorted(answers), "without the table: all images sorted by name"


most_likely = submission._most_likely


def test_the_spelling_of_the_sample_is_kept(birds, weights):
    names = [path.name for path in sorted((birds / "test" / "0").iterdir())[:2]]
    (birds / "sample.csv").write_bytes(f"\ufeffpath,class\r\ntest/0/{names[1]},0\r\n{names[0]},1\r\n\r\n".encode())
    assert [row[0] for row in submit(weights, birds)] == ["path", f"test/0/{names[1]}", names[0]]
    (birds / "sample.csv").write_text(f"path,class\ntest/{names[0]},0\ntest/{names[1]}\n")
    with pytest.raises(UserError, match=r"sample\.csv', line 3: must hold a file's name and a class"):
        submit(weights, birds)


def test_pictures_that_cannot_be_read_get_the_most_frequent_class(birds, weights, caplog, monkeypatch):
    names = [row[0].removeprefix("test/") for row in rows(birds / "sample.csv")[1:]]
    (birds / "test" / "0" / names[0]).unlink()
    (birds / "test" / "0" / names[3]).write_text("not an image")
    kept = {name: expected(weights, birds / "test" / "0" / name) for name in names if name not in (names[0], names[3])}
    counts = Counter(kept.values())
    most_frequent = min(counts, key=lambda number: (-counts[number], NUMBERS.index(number)))
    answers = [kept.get(name, most_frequent) for name in names]
    monkeypatch.setattr(submission, "BATCH", 1)
    assert [row[1] for row in submit(weights, birds)[1:]] == answers
    assert "2 of 7 pictures can't be read and get the most frequent class" in caplog.text
    assert f"{names[0]}: sample.csv names the file, but there is none" in caplog.text


def test_the_most_frequent_class_fills_and_of_several_the_first():
    assert fill([2, "gone", 1, 1, 2, "cut"], list("abcdef")) == [2, 1, 1, 1, 2, 1]
    assert fill([0, 2, 2, "gone"], list("abcd")) == [0, 2, 2, 2]
    with pytest.raises(UserError, match="none of 2 pictures to classify can be read; a: gone"):
        fill(["gone", "cut"], ["a", "b"])


def test_without_any_picture_or_with_other_classes_it_says_so(birds, weights):
    (birds / "names.txt").write_text("\n".join(f"bird {number}" for number in range(11)))
    with pytest.raises(UserError, match="tells 'Yellow_Warbler' apart, which is no class of the data set now"):
        submit(weights, birds)
    layouts.kaggle(birds.parent, tests=0)
    (birds / "sample.csv").write_text("path,class\n")
    with pytest.raises(UserError, match="has no pictures below 'test'"):
        submit(weights, birds)
    assert not (weights.parent / "out.csv").exists() and not list(weights.parent.glob(".*.csv"))


@pytest.mark.parametrize("size", [24, [20, 28]])
def test_a_picture_is_classified_as_it_would_be_learnt_from(birds, tmp_path, size):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
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
        trained = np.asarray(Image.open(tmp_path / "dataset" / prepared[str(photograph.file)])).transpose(2, 0, 1)
        assert np.array_equal(read(photograph, shape).numpy(), trained) and trained.shape == (3, *shape)


def study(source: str, path: Path) -> SimpleNamespace:
    """Return a stand-in for a plan, with what a submission needs."""
    config = {"dataset": settings(source, path), "runs": {"a": {}, "b": {}}}
    return SimpleNamespace(config=config, study="s", epochs=lambda run: {"a": [0, 3], "b": [0, 0.25]}[run])


def test_a_submission_is_asked_for_by_name_and_only_of_the_competition(birds):
    plan = study("kaggle", birds)
    assert submissions(plan) == [
        "results/s/runs/a/epoch-0003/submission.csv",
        "results/s/runs/b/epoch-0000.25/submission.csv",
    ]
    assert submitted_weights(plan, "a", "0003") == "results/s/runs/a/epoch-0003/model.safetensors"
    with pytest.raises(
        UserError, match=r"dataset\.source: a submission can be made for 'kaggle' only, not for 'folder'"
    ):
        submitted_weights(study("folder", birds / "train"), "a", "0003")


def test_a_submission_is_made_anew_where_a_picture_or_the_sample_changed(birds, caplog):
    caplog.set_level(logging.INFO)
    plan = study("kaggle", birds)
    before = fingerprint_tests(plan)
    assert fingerprint_tests(plan) == before
    layouts.save_bird(birds / "train" / "9" / "more.jpg", "blue_jay")
    assert fingerprint_tests(plan) == before, "training images do not matter"
    (birds / "sample.csv").write_text((birds / "sample.csv").read_text() + "test/more.jpg,0\n")
    listed = fingerprint_tests(plan)
    assert listed != before
    layouts.save_bird(birds / "test" / "0" / "more.jpg", "blue_jay")
    more = fingerprint_tests(plan)
    assert more != listed
    (birds / "sample.csv").write_text((birds / "sample.csv").read_text().replace("test/more", "test/0/more"))
    assert fingerprint_tests(plan) != more, "another spelling"

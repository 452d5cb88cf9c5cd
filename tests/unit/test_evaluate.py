"""A judge on known answers: it classifies images by their mean color."""

import hashlib
import json
import logging
import math
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from dreambirds.data.dataset import decode
from dreambirds.data.image_io import to_tensor
from dreambirds.data.labels import Label
from dreambirds.data.prepare import prepare
from dreambirds.data.sources.catalog import list_labels
from dreambirds.data.tables import write_table
from dreambirds.dream_job.archive import Picture, open_image, write_archive
from dreambirds.errors import UserError
from dreambirds.evaluation.aligned import write_small
from dreambirds.evaluation.columns import OF_JUDGE_JOB
from dreambirds.evaluation.evaluate import judge_dreams
from dreambirds.evaluation.judge import Judge, load_judge
from dreambirds.evaluation.pixels import RealPixels, measure_saved, read_spectra, write_spectra
from dreambirds.evaluation.reference import check_row, evaluate_on_real, read_reference, write_reference
from dreambirds.io import sha256_of
from dreambirds.models import MODEL_FILE
from dreambirds.models.checkpoint import CheckpointInfo, save_checkpoint
from dreambirds.models.classifier import Classifier, build
from dreambirds.plan.dream_table import DREAM
from tests.helpers.layouts import settings

COLORS = {"blue": (40, 60, 200), "green": (50, 190, 60), "red": (210, 50, 40)}
SIDE = 16
CPU = torch.device("cpu")


class Colors(nn.Module):
    """A network with the mean color as features, for red, green and blue."""

    pretrained_cfg: ClassVar = {"architecture": "colors", "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 3)
        nn.init.zeros_(self.head.bias)
        self.head.weight.data = 6 * torch.eye(3)

    def get_classifier(self) -> nn.Module:
        return self.head

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(images.mean(dim=(2, 3)))


def paint(path: Path, color: tuple[int, int, int], seed: int, noise: float = 12) -> Path:
    """Write an image of one color with noise."""
    pixels = np.random.default_rng(seed).normal(color, noise, (SIDE, SIDE, 3)).clip(0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def prepared(tmp_path, monkeypatch) -> Path:
    """Return a prepared data set of three colors, with ten images each."""
    monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path / "store"))
    for index, (name, color) in enumerate(COLORS.items()):
        for number in range(10):
            paint(tmp_path / "photographs" / name / f"{number}.png", color, 100 * index + number)
    dataset = settings("folder", tmp_path / "photographs", image_size=SIDE)
    (tmp_path / "dataset").mkdir()
    prepare(dataset, list_labels(dataset), tmp_path / "dataset")
    return tmp_path / "dataset"


@pytest.fixture
def judge() -> Judge:
    """Return a judge of colors, whose classes have a different order."""
    return Judge(
        "eye", Classifier(Colors()).eval(), (8, 8), ["red", "green", "blue"], {"red": 0, "green": 1, "blue": 2}
    )


def views(folder: Path, rows: list[tuple], name: str = "dreams.zip") -> pd.DataFrame:
    """Write an archive of images (label, color), and return the raw views of its dreams."""
    archive, table, files = folder / name, [], {}
    for number, (label, color) in enumerate(rows):
        picture = Picture(archive, f"{label}/step-{number:04d}.png")
        content = paint(folder / "image.png", color, number).read_bytes()
        row = {"run": "a", "epoch": 1, "recipe": "x", "label": label, "step": number, "view": "raw"}
        row["reference_label"] = label
        table.append({**row, "picture": picture, "sha256": hashlib.sha256(content).hexdigest()})
        files[picture.name] = content
    write_archive(archive, files.items())
    return pd.DataFrame(table)


def judged(judge: Judge, prepared: Path, dreams: pd.DataFrame, number: int = 0, compared: bool = False) -> tuple:
    """Return the table and the features of a judge job; `number` identifies the judge in the cache."""
    return judge_dreams(judge, evaluate_on_real(judge, prepared), dreams, {"judge": number}, 2, compared)


def test_real_images_score_high_noise_low_and_shuffled_labels_at_chance(prepared, judge):
    real = evaluate_on_real(judge, prepared)
    row = check_row(judge, real, "run", [*COLORS], "0" * 64).iloc[0]
    assert row["held_out"] == 6 and row["held_out_top1"] == 1 and row["held_out_probability"] > 0.9
    assert row["noise_probability"] == pytest.approx(1 / 3, abs=0.02), "noise is gray"
    assert row["shuffled_top1"] == pytest.approx(1 / 3, abs=0.08)
    assert row["matched"] == 3 and row["unmatched"] == "" and row["model"] == "colors"


def test_a_judge_with_permuted_labels_is_never_right(prepared, judge):
    wrong = Judge("wrong", judge.classifier, judge.shape, judge.classes, {"red": 1, "green": 2, "blue": 0})
    assert evaluate_on_real(wrong, prepared).check["held_out_top1"] == 0


def test_dreams_are_judged_by_their_content(prepared, judge, tmp_path):
    found, features = judged(judge, prepared, views(tmp_path, [*COLORS.items(), ("red", COLORS["blue"])]))
    assert list(found.columns) == [*DREAM, "judge", "view", *OF_JUDGE_JOB] and set(found["judge"]) == {"eye"}
    right, wrong = found.iloc[:3], found.iloc[3]
    assert list(right["top1"]) == [1, 1, 1] and list(right["rank"]) == [1, 1, 1]
    assert list(right["prediction"]) == list(right["label"]) == list(COLORS)
    assert (right["probability"] > 0.9).all() and right["feature_ratio"].between(0.05, 20).all()
    assert wrong["top1"] == 0 and wrong["prediction"] == "blue" and wrong["rank"] == 3 and wrong["probability"] < 0.01
    assert wrong["feature_ratio"] > 100 and len(features) == 0


def test_the_reference_of_a_judge_is_read_as_it_was_written(prepared, judge, tmp_path):
    real, path = evaluate_on_real(judge, prepared), tmp_path / "reference.safetensors"
    write_reference(real, path)
    write_table(real.nearest, tmp_path / "held_out.csv")
    again = read_reference(path, tmp_path / "held_out.csv")
    assert again.paths == real.paths and again.typical == pytest.approx(real.typical)
    assert all(torch.equal(again.directions[label], real.directions[label]) for label in COLORS)
    assert (again.held_out, again.check, again.dataset_sha256) == (real.held_out, real.check, real.dataset_sha256)
    assert list(again.centers) and all(torch.equal(again.centers[label], real.centers[label]) for label in COLORS)


def test_several_judge_jobs_give_the_rows_and_features_of_one(prepared, judge, tmp_path, caplog):
    caplog.set_level(logging.INFO, "dreambirds")
    rows = [(label, color) for label in COLORS for color in COLORS.values()]
    dreams = views(tmp_path, rows)
    together, features = judged(judge, prepared, dreams, 1, compared=True)
    parts = [judged(judge, prepared, dreams.iloc[first : first + 4], 2, compared=True) for first in (0, 4, 8)]
    pd.testing.assert_frame_equal(pd.concat([table for table, _ in parts], ignore_index=True), together)
    assert np.allclose(np.concatenate([each for _, each in parts]), features, rtol=1e-6) and features.shape == (9, 3)
    colors = np.array([color for _, color in rows]) / 255 * 2 - 1
    assert np.allclose(features, colors, atol=0.1), "the mean color, normalized"
    again, cached = judged(judge, prepared, dreams, 2, compared=True)
    assert "9 images, 9 of them from the cache" in caplog.text and np.allclose(cached, features, rtol=1e-6)
    pd.testing.assert_frame_equal(again, together)


def test_an_image_is_judged_only_once_by_the_same_judge(prepared, judge, tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO, "dreambirds")
    real, dreams = evaluate_on_real(judge, prepared), views(tmp_path, [*COLORS.items()])
    first, _ = judge_dreams(judge, real, dreams, {"judge": 1}, 64, False)
    calls, predict = [], Judge.predict
    monkeypatch.setattr(Judge, "predict", lambda self, images: calls.append(1) or predict(self, images))
    again, _ = judge_dreams(judge, real, dreams.iloc[[2, 0]], {"judge": 1}, 64, False)
    assert calls == [] and "2 images, 2 of them from the cache" in caplog.text
    pd.testing.assert_frame_equal(again, first.iloc[[2, 0]].reset_index(drop=True))
    judge_dreams(judge, real, dreams, {"judge": 2}, 64, False)
    assert calls == [1], "another judge has its own cache"
    more = pd.concat([dreams, views(tmp_path, [("red", (9, 9, 9))], "more.zip")], ignore_index=True)
    judge_dreams(judge, real, more, {"judge": 1}, 64, False)
    assert calls == [1, 1] and "4 images, 3 of them from the cache" in caplog.text
    files = list((tmp_path / "store/judged").rglob("*.csv"))
    assert len(files) == 3, "each job adds a file, so none is lost if jobs run at the same time"
    for file in files:
        file.write_text("not,a\ntable")
    judge_dreams(judge, real, dreams, {"judge": 1}, 64, False)
    assert calls == [1, 1, 1], "a corrupt cache is ignored"


def test_a_judge_evaluates_fewer_images_at_once_with_less_memory(judge):
    largest = 4 * 3 * 8 * 8 + 4 * 3  # bytes of the input and output of the network
    assert judge.batch(10**9) == 64 and judge.batch(0) == 1
    assert judge.batch(math.ceil(5.5 * 3 * largest / 0.8)) == 5


def test_classes_that_a_judge_does_not_know_are_skipped_and_reported(prepared, judge, tmp_path, caplog):
    partial = Judge("eye", judge.classifier, judge.shape, judge.classes, {"red": 0, "green": 1})
    real = evaluate_on_real(partial, prepared)
    assert "the judge 'eye' skips dreams of classes that it does not know: blue" in caplog.text
    found, _ = judged(partial, prepared, views(tmp_path, [*COLORS.items()]))
    assert list(found["label"]) == ["green", "red"]
    row = check_row(partial, real, "weights", [*COLORS], "").iloc[0]
    assert row["matched"] == 2 and row["unmatched"] == "blue" and row["held_out"] == 4
    none, features = judged(partial, prepared, views(tmp_path, [("blue", COLORS["blue"])]), compared=True)
    assert none.empty and list(none.columns) == list(found.columns) and len(features) == 0


def test_logits_and_features_are_the_networks_for_any_batch():
    classifier = build("test_resnet", 4, {}).eval()
    net = Judge("net", classifier, (32, 32), ["a", "b", "c", "d"], {})
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    logits, features = net.predict(iter([images[:2], images[2:]]))
    with torch.no_grad():
        torch.testing.assert_close(logits, classifier(images / 255), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(classifier.network.get_classifier()(features), logits, rtol=1e-5, atol=1e-5)
    assert net.predict(iter([torch.zeros(1, 3, 48, 20, dtype=torch.uint8)]))[0].shape == (1, 4), "resized"


def test_a_checkpoint_and_a_weights_file_give_the_same_judge(tmp_path):
    torch.manual_seed(0)
    classifier = build("test_resnet", 2, {}).eval()
    save_checkpoint(tmp_path, classifier, CheckpointInfo("test_resnet", {}, ["Blue_Jay", "x"], "r", 1, 32))
    weights = tmp_path / MODEL_FILE
    (tmp_path / "names.txt").write_text("Cyanocitta cristata (Blue Jay)\nother\n")
    labels = [Label("blue_jay", "Blue Jay"), Label("mallard", "Mallard")]
    own = load_judge("a", {"names": {}}, weights, labels, CPU)
    section = {
        "weights": str(weights),
        "labels": str(tmp_path / "names.txt"),
        "model": "test_resnet",
    }
    section |= {"model_options": {}, "image_size": 32, "names": {}}
    section |= {"weights_key": None, "head": "softmax", "normalization": None}
    other = load_judge("b", section, weights, labels, CPU)
    assert own.class_indices == other.class_indices == {"blue_jay": 0} and own.shape == other.shape == (32, 32)
    image = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(own.predict(iter([image]))[0], other.predict(iter([image]))[0])
    with pytest.raises(UserError, match="no class name of the network matches the study's classes"):
        load_judge("a", {"names": {}}, weights, labels[1:], CPU)


def test_saved_images_are_close_to_the_spectrum_of_their_class(prepared, tmp_path, monkeypatch):
    like = views(tmp_path, [("red", COLORS["red"])])
    rough, archive = paint(tmp_path / "rough.png", COLORS["red"], 5, noise=60), tmp_path / "rough.zip"
    write_archive(archive, [("red/step-0001.png", rough.read_bytes())])
    picture, sha256 = pd.Series([Picture(archive, "red/step-0001.png")], dtype=object), sha256_of(rough)
    dreams = pd.concat([like, like.assign(picture=picture, sha256=sha256)], ignore_index=True)
    files = [tmp_path / name for name in ("spectra.safetensors", "small.safetensors", "held_out.csv")]
    write_spectra(prepared, files[0])
    write_small(prepared, *files[1:])
    real = RealPixels.read(*files)
    found = measure_saved(dreams, real, "code")
    assert found["spectrum_distance"][0] < 0.5 < 1 < found["spectrum_distance"][1], "25 times the power: 1.4 decades"
    assert found["total_variation"][1] == pytest.approx(60 * 2 / np.sqrt(np.pi) / 255, rel=0.25), (
        "the value for clipped normal noise"
    )
    monkeypatch.setattr("dreambirds.evaluation.pixels._measure", lambda *_: pytest.fail("measured again"))
    pd.testing.assert_frame_equal(measure_saved(dreams, real, "code"), found)
    (tmp_path / "spectra.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"spectra\.safetensors' is corrupt"):
        read_spectra(tmp_path / "spectra.safetensors")


def test_the_nearest_photographs_are_of_the_class_and_a_copy_has_the_distance_0(prepared, judge, tmp_path):
    real = evaluate_on_real(judge, prepared)
    dreams = views(tmp_path, [("red", COLORS["red"]), ("red", COLORS["blue"])])
    copied, archive = prepared / real.paths["red"][3], tmp_path / "copy.zip"
    write_archive(archive, [("red/step-0001.png", copied.read_bytes())])
    copy = {"picture": Picture(archive, "red/step-0001.png"), "sha256": sha256_of(copied)}
    dreams = pd.concat([dreams, dreams.iloc[:1].assign(step=9, **{key: [value] for key, value in copy.items()})])
    found, _ = judged(judge, prepared, dreams.reset_index(drop=True))
    listed = [json.loads(text) for text in found["nearest"]]
    assert all(len(each) == 3 and list(each.values()) == sorted(each.values()) for each in listed)
    assert set().union(*listed) <= set(real.paths["red"]) and next(iter(listed[2])) == real.paths["red"][3]
    features = judge.predict(iter([torch.stack([decode(prepared / path) for path in real.paths["red"]])]))[1]
    image = judge.predict(iter([to_tensor(open_image(dreams["picture"].iloc[0]))[None]]))[1]
    expected = 1 - torch.nn.functional.cosine_similarity(image.double(), features.double())
    assert found["nearest_distance"][0] == pytest.approx(float(expected.min()), abs=1e-6)
    assert found["nearest_distance"][2] < 1e-6 and found["nearest_ratio"][1] > 100
    ratios = found["nearest_distance"] / real.nearest.loc[real.nearest["label"] == "red", "distance"].median()
    assert np.allclose(found["nearest_ratio"], ratios, equal_nan=True) or real.typical["red"] < 1e-6


def test_the_class_of_the_photographs_is_recognized_only_if_the_judge_knows_it(prepared, judge, tmp_path):
    dreams = views(
        tmp_path, [("red", COLORS["blue"]), ("red", COLORS["red"]), ("red", COLORS["blue"]), ("red", (0,) * 3)]
    )
    references = ["blue", "blue", "unknown", ""]
    found, _ = judged(judge, prepared, dreams.assign(reference_label=references))
    assert list(found["reference_top1"][:2]) == [1, 0] and found["reference_top1"][2:].isna().all()

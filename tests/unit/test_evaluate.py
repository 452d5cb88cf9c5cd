"""A judge on known answers: it classifies images by their mean color."""

import logging
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from dreambirds.data.labels import Label
from dreambirds.data.prepare import prepare
from dreambirds.data.sources.catalog import list_labels
from dreambirds.errors import UserError
from dreambirds.evaluation.columns import JUDGEMENTS
from dreambirds.evaluation.evaluate import JudgeContext, judge_dreams
from dreambirds.evaluation.judge import Judge, load_judge
from dreambirds.evaluation.metrics import measure_saved
from dreambirds.evaluation.reference import check_row, evaluate_on_real
from dreambirds.io import sha256_of
from dreambirds.models import MODEL_FILE
from dreambirds.models.checkpoint import CheckpointInfo, save_checkpoint
from dreambirds.models.classifier import Classifier, build
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


def views(folder: Path, rows: list[tuple], view: str = "raw") -> pd.DataFrame:
    """Write dreams (recipe, family, label, color), and return their table."""
    found = []
    for number, (recipe, family, label, color) in enumerate(rows):
        path = paint(folder / f"{view}-{recipe}-{label}.png", color, number)
        row = {"run": "a", "epoch": 1, "recipe": recipe, "label": label, "step": 5, "view": view, "family": family}
        found.append({**row, "path": str(path), "sha256": sha256_of(path)})
    return pd.DataFrame(found)


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
    rows = [("x", "x", name, color) for name, color in COLORS.items()] + [("y", "y", "red", COLORS["blue"])]
    found = judge_dreams(JudgeContext(judge, evaluate_on_real(judge, prepared), {}), views(tmp_path, rows))
    assert list(found.columns) == JUDGEMENTS and set(found["judge"]) == {"eye"}
    right, wrong = found.iloc[:3], found.iloc[3]
    assert list(right["top1"]) == [1, 1, 1] and list(right["rank"]) == [1, 1, 1]
    assert list(right["prediction"]) == list(right["label"]) == list(COLORS)
    assert (right["probability"] > 0.9).all() and right["feature_ratio"].between(0.05, 20).all()
    assert wrong["top1"] == 0 and wrong["prediction"] == "blue" and wrong["rank"] == 3 and wrong["probability"] < 0.01
    assert wrong["feature_ratio"] > 100 and found["seed_agreement"].isna().all()


def test_seed_agreement_is_high_for_similar_images_only(prepared, judge, tmp_path):
    rows = [("one", "f", "red", COLORS["red"]), ("two", "f", "red", COLORS["red"]), ("else", "g", "red", (9, 9, 9))]
    bench = JudgeContext(judge, evaluate_on_real(judge, prepared), {})
    same = judge_dreams(bench, views(tmp_path, rows))["seed_agreement"]
    assert same[0] == same[1] > 0.999 and np.isnan(same[2])
    rows[1] = ("two", "f", "red", COLORS["blue"])
    different = judge_dreams(bench, views(tmp_path, rows))["seed_agreement"]
    assert different[0] == different[1] < 0, "if an image of another seed changes, both are judged again"


def test_an_image_is_judged_only_once_by_the_same_judge(prepared, judge, tmp_path, caplog, monkeypatch):
    caplog.set_level(logging.INFO, "dreambirds")
    real, dreams = evaluate_on_real(judge, prepared), views(tmp_path, [("x", "x", *each) for each in COLORS.items()])
    first = judge_dreams(JudgeContext(judge, real, {"judge": 1}), dreams)
    calls, predict = [], Judge.predict
    monkeypatch.setattr(Judge, "predict", lambda self, images: calls.append(1) or predict(self, images))
    again = judge_dreams(JudgeContext(judge, real, {"judge": 1}), dreams.iloc[[2, 0]])
    assert calls == [] and "2 images, 2 of them from the cache" in caplog.text
    pd.testing.assert_frame_equal(again, first.iloc[[2, 0]].reset_index(drop=True))
    judge_dreams(JudgeContext(judge, real, {"judge": 2}), dreams)
    assert calls == [1], "another judge has its own cache"
    for file in (tmp_path / "store/judged").glob("*.csv"):
        file.write_text("not,a\ntable")
    judge_dreams(JudgeContext(judge, real, {"judge": 1}), dreams)
    assert calls == [1, 1], "a corrupt cache is ignored"


def test_classes_that_a_judge_does_not_know_are_skipped_and_reported(prepared, judge, tmp_path, caplog):
    partial = Judge("eye", judge.classifier, judge.shape, judge.classes, {"red": 0, "green": 1})
    real = evaluate_on_real(partial, prepared)
    rows = [("x", "x", name, color) for name, color in COLORS.items()]
    found = judge_dreams(JudgeContext(partial, real, {}), views(tmp_path, rows))
    assert (
        list(found["label"]) == ["green", "red"]
        and "the judge 'eye' skips dreams of classes that it does not know: blue" in caplog.text
    )
    row = check_row(partial, real, "weights", [*COLORS], "").iloc[0]
    assert row["matched"] == 2 and row["unmatched"] == "blue" and row["held_out"] == 4
    none = views(tmp_path, [("x", "x", "blue", COLORS["blue"])])
    assert judge_dreams(JudgeContext(partial, real, {}), none).empty


def test_logits_and_features_are_the_networks_for_any_batch(judge, monkeypatch):
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
    other = load_judge("b", section, weights, labels, CPU)
    assert own.class_indices == other.class_indices == {"blue_jay": 0} and own.shape == other.shape == (32, 32)
    image = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(own.predict(iter([image]))[0], other.predict(iter([image]))[0])
    with pytest.raises(UserError, match="no class name of the judge matches the study's classes"):
        load_judge("a", {"names": {}}, weights, labels[1:], CPU)


def test_saved_images_are_close_to_the_spectrum_of_their_class(prepared, tmp_path, monkeypatch):
    like = views(tmp_path, [("x", "x", "red", COLORS["red"])])
    rough = paint(tmp_path / "rough.png", COLORS["red"], 5, noise=60)
    dreams = pd.concat([like, like.assign(path=str(rough), sha256=sha256_of(rough))], ignore_index=True)
    found = measure_saved(dreams, prepared, "code")
    assert found["spectrum_distance"][0] < 0.5 < 1 < found["spectrum_distance"][1], "25 times the power: 1.4 decades"
    assert found["total_variation"][1] == pytest.approx(60 * 2 / np.sqrt(np.pi) / 255, rel=0.25), (
        "the value for clipped normal noise"
    )
    monkeypatch.setattr("dreambirds.evaluation.metrics._measure", lambda *_: pytest.fail("measured again"))
    pd.testing.assert_frame_equal(measure_saved(dreams, prepared, "code"), found)

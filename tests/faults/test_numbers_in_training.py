"""Training with NaN or infinite values, constant images, and batches of one image."""

import copy
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from dreambirds.data.prepare import prepare
from dreambirds.data.sources.catalog import list_labels
from dreambirds.errors import UserError
from dreambirds.models import MODEL_FILE
from dreambirds.models.checkpoint import load_checkpoint
from dreambirds.models.classifier import Classifier, build
from dreambirds.plan.paths import HISTORY_FILE
from dreambirds.training.trainer import DivergenceError, Trainer
from tests.helpers.chains import BatchList, linear, link, train, trainer, weights
from tests.helpers.layouts import settings
from tests.helpers.sections import section
from tests.helpers.studies import Study

ROW = "NaN and infinite values survived"
VARIANTS = {
    "plain": {},
    "mixed": {"mixup": 0.4},
    "smoothed": {"label_smoothing": 0.2},
    "balanced": {"class_weights": "balanced"},
    "clipped": {"gradient_clip": 1.0},
    "float16": {"precision": "float16"},
    "bfloat16": {"precision": "bfloat16"},
    "adversarial": {"adversarial": {"epsilon": 1.0, "steps": 1, "warmup_epochs": 0}},
}


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    """Keep the cache of prepared images outside the project's folder."""
    monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path / "store"))


def birds(folder: Path, colors: list[list[tuple[int, int, int]]], side: int = 32) -> Path:
    """Prepare a data set of constant images; `colors` lists those of each class."""
    for number, shades in enumerate(colors):
        for index, color in enumerate(shades):
            path = folder / "in" / f"Bird {number}" / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (side, side), color).save(path)
    dataset, out = settings("folder", folder / "in", image_size=side, validation_fraction=0.3), folder / "dataset"
    out.mkdir()
    prepare(dataset, list_labels(dataset), out)
    return out


@pytest.fixture
def plain(tmp_path) -> Path:
    """Return a data set of two classes of ten constant images, red and blue."""
    shades = range(60, 260, 20)
    return birds(tmp_path, [[(shade, 20, 20) for shade in shades], [(20, 20, shade) for shade in shades]])


class Rooted(nn.Module):
    """A linear model with finite logits; from one update on, the weights' gradient is NaN (of a square root at 0)."""

    def __init__(self, update: int):
        """Take the update, counted from 0."""
        super().__init__()
        self.layer, self.update, self.calls = nn.Linear(12, 3), update, 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.layer(images.flatten(1))
        self.calls += self.training
        return logits + (self.layer.weight * 0).square().sum().sqrt() if self.calls > self.update else logits


def batch(seed: int, count: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images of 2x2 pixels and classes."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, 2, 2, generator=generator), torch.arange(count) % 3


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_that_are_nan_under_a_finite_loss_end_training(variant, counted):
    training = trainer(Classifier(Rooted(2)), per_epoch=40, **VARIANTS[variant])
    with pytest.raises(DivergenceError) as error:
        training.train(BatchList([batch(number) for number in range(40)]), 1, 0, 40)
    message = str(error.value)
    assert "in epoch 1 at learning rate 0.5; lower 'learning_rate' (now 0.5)" in message
    assert ("or set 'gradient_clip'" in message) == (variant != "clipped"), "an option that is set is not suggested"
    assert ("or set 'precision' to float32" in message) == (variant == "float16")
    if variant == "float16":
        assert message.startswith("updates were skipped because gradients in float16 became NaN or infinite")
    counted(ROW)


def test_float16_skips_an_update_with_infinite_gradients_and_continues(counted):
    classifier = linear()
    training = trainer(classifier, per_epoch=40, precision="float16", learning_rate=0.05)
    huge = (torch.full((4, 3, 2, 2), 6e4), batch(0)[1])
    batches = [batch(number) for number in range(30)]
    training.train(BatchList(batches[:3]), 1, 0, 3)
    before = copy.deepcopy(classifier.state_dict())
    training.scaler.update(2.0**30)
    training.train(BatchList([huge]), 1, 0, 1)
    assert all(torch.equal(before[name], tensor) for name, tensor in classifier.state_dict().items())
    tally = training.train(BatchList(batches), 2, 0, 30)
    assert math.isfinite(tally.means[0]) and not torch.equal(before["network.1.weight"], classifier.network[1].weight)
    counted(ROW)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_loss_that_is_nan_before_the_first_update_does_not_suggest_a_learning_rate(variant, counted):
    classifier = linear()
    with torch.no_grad():
        classifier.network[1].weight.fill_(3e38)
    training = trainer(classifier, **VARIANTS[variant])
    for act in (lambda: training.evaluate([batch(0)], 0), lambda: training.train(BatchList([batch(0)] * 2), 1, 0, 2)):
        with pytest.raises(DivergenceError, match=r"^the loss became (nan|inf) before the first update") as error:
            act()
        assert "learning_rate" not in str(error.value) and "choose other weights, another model" in str(error.value)
        assert ("set 'precision' to float32" in str(error.value)) == (variant == "float16")
        counted(ROW)


def test_an_infinite_optimizer_state_is_an_error(counted):
    classifier = linear()
    training = trainer(classifier, optimizer="adamw", learning_rate=1e-3)
    loss = training.loss
    training.loss = lambda *parts: tuple(1e25 * each for each in loss(*parts))
    with pytest.raises(DivergenceError, match=r"^the optimizer's state became NaN or infinite in epoch 1 at "):
        training.train(BatchList([batch(0)] * 2), 1, 0, 2)
    counted(ROW)


@pytest.mark.parametrize("variant", ["mixed", "smoothed", "clipped", "float16"])
def test_a_run_that_diverges_keeps_its_last_good_checkpoint(tmp_path, plain, monkeypatch, variant, counted):
    run = section(**VARIANTS[variant], learning_rate=0.01)
    good = train(tmp_path, plain, run, [1])
    update = Trainer._update

    def diverge(self, images, targets, number, metrics):
        update(self, images, targets, number, metrics)
        if number >= 2 * self.per_epoch:
            with torch.no_grad():
                next(self.classifier.parameters()).fill_(math.nan)

    monkeypatch.setattr(Trainer, "_update", diverge)
    with pytest.raises(UserError) as error:
        link(tmp_path, plain, run, 6, good)
    kept = Path(re.search(r" \(last good checkpoint: '(.*)'\); lower 'learning_rate'", str(error.value))[1])
    assert load_checkpoint(kept)[1].epoch == 2
    assert all(each.isfinite().all() for each in load_file(kept / MODEL_FILE).values())
    assert not (tmp_path / "epoch-0006").exists()
    monkeypatch.setattr(Trainer, "_update", update)
    after = link(tmp_path, plain, run, 6, good)
    uninterrupted = link(tmp_path / "uninterrupted", plain, run, 6, good)
    assert all(torch.equal(tensor, weights(uninterrupted)[name]) for name, tensor in weights(after).items())
    counted(ROW)


def test_weights_that_overflow_are_an_error_before_training(tmp_path, plain, counted):
    state = build("test_resnet", 2, {}).network.state_dict()
    state["fc.weight"].fill_(3e38)
    save_file(state, tmp_path / "weights.safetensors")
    with pytest.raises(UserError) as error:
        link(tmp_path, plain, section(weights=str(tmp_path / "weights.safetensors")), 0)
    assert "before the first update (there is no earlier checkpoint); choose other weights" in str(error.value)
    assert list(tmp_path.rglob("epoch-*")) == [] and not (tmp_path / ".progress").exists()
    counted(ROW)


def test_constant_images_can_be_trained_on(tmp_path, plain, counted):
    rows = pd.read_csv(
        train(tmp_path, plain, section(learning_rate=0.01, augmentation={"flip": 0.5}), [0, 6]) / HISTORY_FILE
    )
    measured = rows.drop(columns=["run"]).iloc[1:].to_numpy(float)
    assert np.isfinite(measured).all() and rows["validation_accuracy"].iloc[-1] == 1
    counted(ROW)


def test_the_loss_on_identical_images_reaches_the_entropy_of_the_classes(tmp_path, counted):
    data = birds(tmp_path, [[(7, 7, 7)] * 10, [(7, 7, 7)] * 10])
    rows = pd.read_csv(train(tmp_path, data, section(learning_rate=0.003, label_smoothing=0.0), [0, 12]) / HISTORY_FILE)
    table = pd.read_csv(data / "images.csv")
    shares = table.loc[table["split"] == "train", "label"].value_counts(normalize=True)
    entropy = -(shares * np.log(shares)).sum()
    assert abs(rows["train_loss"].iloc[-1] - entropy) < 0.1 and np.isfinite(rows["validation_loss"]).all()
    counted(ROW)


@pytest.mark.parametrize("each", [1, 2])
@pytest.mark.parametrize("side", [16, 32])
def test_two_images_suffice_where_a_batch_norm_has_one_pixel(tmp_path, each, side, counted):
    colors = [[(50 + 30 * index, 9, 9) for index in range(each + 1)], [(9, 9, 50), (9, 9, 180)]]
    data = birds(tmp_path, colors, side)
    table = pd.read_csv(data / "images.csv")
    seen = []
    classifier = build("test_resnet", 2, {}).eval()
    hook = classifier.network.layer4.register_forward_hook(lambda *parts: seen.append(parts[2].shape[-2:]))
    classifier(torch.zeros(1, 3, side, side))
    hook.remove()
    assert side > 16 or seen == [(1, 1)], seen
    assert (table["split"] == "train").sum() == each + 1
    rows = pd.read_csv(train(tmp_path, data, section(batch_size=2), [0, 2]) / HISTORY_FILE)
    assert np.isfinite(rows[["train_loss", "validation_loss"]].iloc[1:].to_numpy()).all()
    counted(ROW)


def test_a_last_batch_of_one_image_is_dropped_in_training_but_not_in_validation(tmp_path, plain, counted):
    table = pd.read_csv(plain / "images.csv")
    kept = (table["split"] == "train").sum()
    batch_size = next(size for size in range(2, kept) if kept % size == 1)
    rows = pd.read_csv(train(tmp_path, plain, section(batch_size=batch_size), [1]) / HISTORY_FILE)
    assert np.isfinite(rows[["train_loss", "validation_loss"]].iloc[-1].to_numpy(float)).all()
    counted(ROW)


def test_a_study_of_one_class_is_refused_before_any_job(fresh, counted):
    fresh.config["dataset"]["labels"] = ["blue_jay"]
    result = fresh.snakemake()
    assert result.returncode != 0 and not (fresh.folder / "results").exists()
    errors = [line for line in result.stdout.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1 and "dataset.labels" in errors[0] and "2" in errors[0], result.stdout
    counted(ROW)


def test_one_class_of_a_data_set_of_identical_images_is_dreamt_judged_and_plotted(fresh: Study, counted):
    same = [[(90, 120, 30)] * 6] * 2
    birds(fresh.folder, same)
    fresh.config["dataset"] = {"source": "folder", "path": str(fresh.folder / "in"), "image_size": 32}
    fresh.config["dreams"]["labels"] = [list_labels(settings("folder", fresh.folder / "in"))[0].label]
    fresh.config["judges"] = {"judge": {"train": {"model": "test_efficientnet", "epochs": [1], "batch_size": 8}}}
    output = fresh.run()
    assert "Traceback" not in output and "RuntimeWarning" not in output
    dreams, judged = (pd.read_csv(fresh.results / f"{name}.csv") for name in ("dreams", "judgements"))
    assert dreams["label"].nunique() == 1
    measured = ["dreamer_logit", "dreamer_probability", "mean_abs_change", "spectrum_distance", "total_variation"]
    judge_metrics = judged[["probability", "rank", "feature_distance"]]
    assert np.isfinite(dreams[measured].to_numpy()).all() and np.isfinite(judge_metrics.to_numpy()).all()
    assert judged["feature_ratio"].isna().all(), "held-out photographs are the training ones, so there is no ratio"
    assert len(list((fresh.results / "plots").glob("*.png"))) > 3
    counted(ROW)

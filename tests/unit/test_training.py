"""Training as a chain of jobs: splitting it anywhere gives bitwise identical weights."""

import dataclasses
import math
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch.optim.optimizer import register_optimizer_step_pre_hook

from dreambirds.data.dataset import PreparedImages
from dreambirds.errors import UserError
from dreambirds.models import CONFIG_FILE, MODEL_FILE
from dreambirds.models.checkpoint import load_checkpoint, load_tensors, save_checkpoint
from dreambirds.models.classifier import build
from dreambirds.plan.paths import HISTORY_FILE, STATE_FILE, epoch_name
from dreambirds.training.job import HISTORY
from tests.helpers.chains import changed, link, train, weights

pytestmark = pytest.mark.slow

SAME = [column for column in HISTORY if column not in ("images_per_second", "seconds")]
FILES = [CONFIG_FILE, HISTORY_FILE, MODEL_FILE, STATE_FILE]  # of a checkpoint
DECIDED = [CONFIG_FILE, MODEL_FILE, STATE_FILE]  # files without times
WAYS = {
    "adamw cosine": {},
    "sgd wsd clipped mixed balanced": {
        **{"optimizer": "sgd", "schedule": "wsd", "schedule_epochs": 3, "gradient_clip": 1.0},
        **{"mixup": 0.4, "class_weights": "balanced"},
    },
    "lamb float16": {"optimizer": "lamb", "precision": "float16"},
    "adan poly": {"optimizer": "adan", "schedule": "poly", "schedule_epochs": 3, "schedule_decay": 0.5},
    "bfloat16": {"precision": "bfloat16", "schedule": "step", "schedule_epochs": 2},
    "adopt adversarial": {"optimizer": "adopt", "adversarial": {"epsilon": 0.5, "warmup_epochs": 3, "steps": 2}},
    "dropped paths": {"model": "test_vit", "model_options": {"drop_path_rate": 0.5}, "freeze_batch_norm": True},
    "head": {"trainable": "head", "optimizer": "muon", "schedule": "multistep", "schedule_milestones": [1, 3]},
}


class Halt(KeyboardInterrupt):
    """The end of a job that a cluster kills."""


class Updates:
    """A counter of updates, which raises before update number `halt`, counted from 1."""

    def __init__(self):
        self.count, self.halt = 0, None

    def __call__(self, *_):
        if self.halt == self.count + 1:
            raise Halt
        self.count += 1


@pytest.fixture
def updates():
    counter = Updates()
    handle = register_optimizer_step_pre_hook(counter)
    yield counter
    handle.remove()


@pytest.mark.parametrize("changes", WAYS.values(), ids=WAYS.keys())
def test_splitting_training_anywhere_does_not_change_a_bit(tmp_path, dataset, run, changes):
    settings = run(**{"batch_size": 4, **changes})
    uninterrupted = train(tmp_path / "uninterrupted", dataset, settings, [4])
    cut = train(tmp_path / "cut", dataset, settings, [0, 0.5, 1.25, 3, 4])
    for name in DECIDED:
        assert (uninterrupted / name).read_bytes() == (cut / name).read_bytes(), name
    assert changed(weights(tmp_path / "cut" / "epoch-0000"), weights(uninterrupted)), "weights change"
    rows = pd.read_csv(uninterrupted / HISTORY_FILE)
    assert list(rows.columns) == HISTORY and list(rows["epoch"]) == [0, 1, 2, 3, 4]
    pd.testing.assert_frame_equal(rows[SAME].tail(1).reset_index(drop=True), pd.read_csv(cut / HISTORY_FILE)[SAME])


def test_loader_processes_change_no_bit(tmp_path, dataset, run):
    settings = run(mixup=0.3, batch_size=4)
    alone = train(tmp_path / "alone", dataset, settings, [2])
    helped = train(tmp_path / "helped", dataset, settings, [1.25, 2], processes=2)
    assert (alone / MODEL_FILE).read_bytes() == (helped / MODEL_FILE).read_bytes()


def test_fractions_of_epochs_give_the_expected_updates_and_rows(tmp_path, dataset, run, updates):
    before, counts, rows = None, [], []
    for epoch in [0, 0.5, 1.25, 3, 3.75]:
        done = updates.count
        before = link(tmp_path, dataset, run(batch_size=4), epoch, before)
        counts.append(updates.count - done)
        rows.append(list(pd.read_csv(before / HISTORY_FILE)["epoch"]))
        assert load_checkpoint(before)[1].epoch == epoch
        assert type(load_checkpoint(before)[1].epoch) is type(epoch)
    assert counts == [0, 2, 3, 7, 3], "4 per epoch"
    assert rows == [[0], [0.5], [1, 1.25], [2, 3], [3.75]]


def test_a_row_contains_the_last_learning_rate_and_the_checkpoint_s_validation(tmp_path, dataset, run):
    checkpoint = train(tmp_path, dataset, run(batch_size=4, learning_rate=0.01), [2])
    rows = pd.read_csv(checkpoint / HISTORY_FILE)
    assert set(rows["run"]) == {"a"}
    cosine = 0.0001 + 0.0099 * (1 + math.cos(math.pi * 7 / 40)) / 2
    assert list(rows["learning_rate"])[1:] == pytest.approx([0.0001 + 0.0099 * 3 / 4, cosine], rel=1e-5)
    classifier, _ = load_checkpoint(checkpoint)
    losses, hits = [], []
    for image, target in PreparedImages(dataset, "validation"):
        logits = classifier(image[None] / 255).double()[0]
        losses.append(-float(logits.log_softmax(0)[target]))
        hits.append(int(logits.argmax()) == target)
    assert rows["validation_loss"].iloc[-1] == pytest.approx(sum(losses) / len(losses), rel=1e-4)
    assert rows["validation_accuracy"].iloc[-1] == sum(hits) / len(hits) and len(hits) == 4


def test_a_late_fraction_keeps_its_decimals_in_the_history(tmp_path, dataset, run):
    start = train(tmp_path, dataset, run(batch_size=2), [0])
    classifier, info = load_checkpoint(start)
    save_checkpoint(start, classifier, dataclasses.replace(info, epoch=1234))
    late = link(tmp_path, dataset, run(batch_size=2), 1234.125, start)
    assert list(pd.read_csv(late / HISTORY_FILE)["epoch"]) == [1234.125]


@pytest.mark.parametrize(("halt", "left"), [(1, 8), (3, 6), (6, 4), (8, 2)])
def test_an_interrupted_job_resumes_from_its_last_complete_epoch(tmp_path, dataset, run, updates, halt, left):
    uninterrupted = train(tmp_path / "uninterrupted", dataset, run(), [4])
    updates.count, updates.halt = 0, halt
    with pytest.raises(Halt):
        link(tmp_path / "cut", dataset, run(), 4)
    assert not (tmp_path / "cut" / "epoch-0004").exists()
    updates.count, updates.halt = 0, None
    again = link(tmp_path / "cut", dataset, run(), 4)
    assert updates.count == left, "2 per epoch"
    for name in DECIDED:
        assert (uninterrupted / name).read_bytes() == (again / name).read_bytes(), name
    pd.testing.assert_frame_equal(
        pd.read_csv(uninterrupted / HISTORY_FILE)[SAME], pd.read_csv(again / HISTORY_FILE)[SAME]
    )
    assert sorted(path.name for path in again.iterdir()) == FILES
    assert list(again.parent.iterdir()) == [again], "no progress is left"


def test_a_job_that_is_interrupted_while_writing_loses_at_most_one_epoch(tmp_path, dataset, run, updates, monkeypatch):
    renamed = []

    def rename(path, target):
        if len(renamed) == 1:
            raise Halt
        renamed.append(target)
        path.replace(target)

    with monkeypatch.context() as patch, pytest.raises(Halt):
        patch.setattr(Path, "rename", rename)
        link(tmp_path, dataset, run(), 4)
    assert updates.count == 4
    link(tmp_path, dataset, run(), 4)
    assert updates.count == 4 + 6, "the first epoch was kept"


@pytest.mark.parametrize("other", ["rate", "code", "name", "epoch", "dataset", "before", "weights"])
def test_a_job_does_not_resume_from_an_epoch_of_another_job(tmp_path, dataset, run, updates, other):
    data = shutil.copytree(dataset, tmp_path / "data")
    first = before = train(tmp_path, data, run(), [0])
    updates.count, updates.halt = 0, 4
    folder, settings, more, epoch = tmp_path / "job", run(), {}, 3
    if other == "weights":
        before, settings = None, run(weights=str(first / MODEL_FILE))
    with pytest.raises(Halt):
        link(folder, data, settings, epoch, before)
    if other == "dataset":
        (data / "images.csv").write_text((data / "images.csv").read_text() + "\n")
    elif other in ("before", "weights"):
        classifier, info = load_checkpoint(first)
        classifier.network.fc.bias.data += 1
        save_checkpoint(first, classifier, info)
    elif other == "epoch":
        epoch = 4
    elif other == "rate":
        settings = run(learning_rate=0.001)
    else:
        more = {other: "other"}
    updates.count, updates.halt = 0, None
    link(folder, data, settings, epoch, before, **more)
    assert updates.count == 2 * epoch


@pytest.mark.parametrize(
    ("lost", "share"),
    [(None, 1), (CONFIG_FILE, None), (MODEL_FILE, 0.5), (MODEL_FILE, None), (STATE_FILE, 0.5)]
    + [(HISTORY_FILE, 0), (HISTORY_FILE, None)],
)
def test_a_job_does_not_resume_from_a_corrupt_epoch(tmp_path, dataset, run, updates, lost, share):
    updates.halt = 4
    with pytest.raises(Halt):
        link(tmp_path, dataset, run(), 3)
    if lost:
        (file,) = (tmp_path / ".progress").rglob(lost)
        content = file.read_bytes()
        file.unlink()
        if share is not None:
            file.write_bytes(content[: round(share * len(content))])
    updates.count, updates.halt = 0, None
    link(tmp_path, dataset, run(), 3)
    assert updates.count == (4 if lost in (None, CONFIG_FILE) else 6), "this project does not read timm's config"


def test_epoch_0_is_the_model_before_training(tmp_path, dataset, run):
    checkpoint = train(tmp_path, dataset, run(seed=5), [0])
    _, info = load_checkpoint(checkpoint)
    torch.manual_seed(5)
    fresh = build("test_resnet", 2, {})
    assert info.epoch == 0 and info.labels == ["northern_cardinal", "blue_jay"] and info.image_size == 32
    assert not changed(fresh.network.state_dict(), weights(checkpoint))
    assert load_tensors(checkpoint / STATE_FILE)[0] == {}
    row = pd.read_csv(checkpoint / HISTORY_FILE).iloc[0]
    assert row[["train_loss", "train_accuracy", "learning_rate"]].isna().all() and row["validation_loss"] > 0


def test_without_validation_images_it_trains_and_leaves_their_columns_empty(tmp_path, dataset, run):
    data = shutil.copytree(dataset, tmp_path / "data")
    table = pd.read_csv(data / "images.csv")
    table["split"] = "train"
    table.to_csv(data / "images.csv", index=False)
    rows = pd.read_csv(train(tmp_path, data, run(), [1]) / HISTORY_FILE)
    assert rows["validation_loss"].isna().all() and rows["train_loss"].iloc[-1] > 0


DIVERGING = {"learning_rate": 100.0, "optimizer": "sgd", "freeze_batch_norm": True, "warmup_epochs": 2}


@pytest.mark.parametrize("epochs", [[6], [0, 6], [1, 1.5]], ids=str)
def test_a_learning_rate_that_is_too_high_is_an_error_and_keeps_a_good_checkpoint(tmp_path, dataset, run, epochs):
    with pytest.raises(UserError) as caught:
        train(tmp_path, dataset, run(**DIVERGING), epochs, name="fast")
    found = re.fullmatch(
        r"runs\.fast: (?:the loss became (?:nan|inf)|a weight became NaN or infinite) in epoch (2|1\.5) at "
        r"learning rate (?:50\.5|75\.25) \(last good checkpoint: '(.*)'\); lower 'learning_rate' \(now 100\), "
        r"or set 'gradient_clip'",
        str(caught.value),
    )
    assert found, str(caught.value)
    kept = Path(found[2])
    assert (".progress" in kept.parts) == (epochs[-1] == 6)
    assert load_checkpoint(kept)[1].epoch == 1
    assert all(tensor.isfinite().all() for tensor in load_file(kept / MODEL_FILE).values())
    left = {path.name for path in tmp_path.iterdir()}
    before = {epoch_name(epoch) for epoch in epochs[:-1]}
    assert left == (before | {".progress"} if epochs[-1] == 6 else before), "nothing of the failed epoch"


def test_divergence_in_the_first_epoch_reports_that_there_is_no_checkpoint(tmp_path, dataset, run):
    with pytest.raises(UserError, match=r"^runs\.a: .* in epoch 1 .* \(there is no earlier checkpoint\); lower 'lea"):
        train(tmp_path, dataset, run(learning_rate=100.0, optimizer="sgd", warmup_epochs=0), [6])

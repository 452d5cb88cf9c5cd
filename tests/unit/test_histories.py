"""Histories of other trainers are found next to checkpoints, and read with epochs as numbers of completed epochs."""

import json
from collections import OrderedDict

import numpy as np
import pytest
from timm.utils.summary import update_summary

from dreambirds.config.history_files import find_history
from dreambirds.errors import UserError
from dreambirds.training.histories import COLUMNS, read_history_file


def _columns(path, *names):
    history = read_history_file(path)
    assert list(history.columns) == COLUMNS
    return [tuple(row) for row in history[["epoch", *names]].round(6).to_numpy()]


def test_the_history_of_timm_is_in_percent_and_counts_epochs_from_zero(tmp_path):
    path = tmp_path / "summary.csv"
    for epoch, top1 in ((0, 0.5), (1, 60.0), (1, 70.0)):  # a resumed run repeats its header and an epoch
        metrics = OrderedDict(loss=1.5 - epoch, top1=top1, top5=90.0)
        update_summary(epoch, OrderedDict(loss=2.0 - epoch), metrics, path, lr=0.1, write_header=top1 != 60.0)
    expected = [(1, 2.0, 1.5, 0.005, 0.1), (2, 1.0, 0.5, 0.7, 0.1)]
    assert _columns(path, "train_loss", "validation_loss", "validation_accuracy", "learning_rate") == expected
    assert np.isnan(read_history_file(path)["train_accuracy"]).all()


def test_rows_of_a_step_of_lightning_are_joined_by_epoch(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(
        "epoch,lr-SGD,step,test_acc,train_acc_epoch,train_loss_step,train_loss_epoch,val/acc,val/loss\n"
        ",0.1,9,,,,,,\n0,,9,,,3.0,,,\n0,,19,,,,,0.25,1.5\n0,,19,,0.5,,2.5,,\n"
        ",0.01,29,,,,,,\n1,,29,,,1.0,,,\n1,,39,,,,,0.6,0.9\n1,,39,,0.9,,1.25,,\n2,,40,0.99,,,,,\n"
    )
    names = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate")
    assert _columns(path, *names) == [(1, 2.5, 0.5, 1.5, 0.25, 0.1), (2, 1.25, 0.9, 0.9, 0.6, 0.01)]


@pytest.mark.parametrize(
    ("train", "loss", "accuracy"),
    [
        ("loss", "val_loss", "val_acc"),
        ("train/loss", "valid/loss", "valid/accuracy"),
        ("trainLoss", "validLoss", "valAcc"),
        ("train_loss_step", "validation_loss", "val_MulticlassAccuracy"),
        ("Training Loss", "Eval Loss", "eval_top1"),
        ("train_loss", "val_loss/dataloader_idx_0", "val_acc/dataloader_idx_0"),
    ],
)
def test_names_of_metrics_are_recognized_and_steps_averaged(tmp_path, train, loss, accuracy):
    path = tmp_path / "metrics.csv"
    other = "val_acc_best,val_top5,val_f1,test_loss"
    path.write_text(f"epoch,step,{other},{train},{loss},{accuracy}\n0,1,9,9,9,9,4.0,,\n0,2,9,9,9,9,2.0,0.5,75\n")
    assert _columns(path, "train_loss", "validation_loss", "validation_accuracy") == [(1, 3.0, 0.5, 0.75)]


def test_epochs_of_transformers_are_completed_epochs(tmp_path):
    path = tmp_path / "trainer_state.json"
    log = [
        {"epoch": 1.0, "eval_accuracy": 0.5, "eval_loss": 1.25, "step": 10},
        {"epoch": 0.5, "loss": 2.0, "learning_rate": 0.1, "grad_norm": 1.0, "step": 5},
        {"epoch": 1.0, "loss": 1.0, "learning_rate": 0.05, "grad_norm": float("nan"), "step": 10},
        {"epoch": 1.0, "train_loss": 1.5, "train_runtime": 9.0, "step": 10},
    ]
    path.write_text(json.dumps({"epoch": 1.0, "global_step": 10, "log_history": log}))
    train = ("train_loss", "learning_rate")
    assert _columns(path, *train) == [(0.5, 2.0, 0.1), (1, 1.0, 0.05)]
    assert _columns(path, "validation_loss", "validation_accuracy")[1] == (1, 1.25, 0.5)
    path.write_text(json.dumps({"log_history": []}))
    assert _columns(path) == []


def test_a_history_of_this_project_keeps_its_epochs(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text(
        "run,epoch,train_loss,train_accuracy,validation_loss,validation_accuracy,learning_rate,seconds\n"
        "a,0,,,2.1,0.1,,0\na,0.25,2.0,0.2,1.9,0.3,0.01,1\n"
    )
    names = ("train_accuracy", "validation_loss", "validation_accuracy")
    assert _columns(path, *names)[1] == (0.25, 0.2, 1.9, 0.3)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("summary.csv", b"", "is corrupt"),
        ("summary.csv", b"epoch,a\n0,1,2,3\n0,1,2,3,4\n", "is corrupt"),
        ("metrics.csv", b"\xff\xfe\0epoch", "is corrupt"),
        ("metrics.csv", b"month,sales\n1,2\n", "has no column 'epoch'"),
        ("trainer_state.json", b'{"log_history": [', "is corrupt"),
        ("trainer_state.json", b'{"log_history": 3}', "no list 'log_history'"),
        ("trainer_state.json", b"[1]", "no list 'log_history'"),
    ],
)
def test_other_files_are_refused_with_one_sentence(tmp_path, name, content, problem):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name}' .*{problem}.*; move it away"):
        read_history_file(tmp_path / name)


@pytest.mark.parametrize(
    ("checkpoint", "history"),
    [
        ("out/checkpoint-3.pth.tar", "out/summary.csv"),
        ("logs/version_0/checkpoints/epoch=1-step=40.ckpt", "logs/version_0/metrics.csv"),
        ("out/checkpoint-500/", "out/checkpoint-500/trainer_state.json"),
        ("out/checkpoint-500/model.safetensors", "out/checkpoint-500/trainer_state.json"),
        ("out/checkpoint-500/", "out/trainer_state.json"),
        ("runs/a/epoch-0004/", "runs/a/epoch-0004/history.csv"),
    ],
)
def test_the_history_next_to_a_checkpoint_is_found(tmp_path, monkeypatch, checkpoint, history):
    path = tmp_path / checkpoint
    (path if checkpoint.endswith("/") else path.parent).mkdir(parents=True)
    if not checkpoint.endswith("/"):
        path.touch()
    assert find_history(path) is None
    (path.parent / "metrics.csv").write_text("month,sales\n")  # of something else
    assert find_history(path) is None
    (tmp_path / history).write_text("epoch,train_loss\n0,1\n")
    assert find_history(path) == tmp_path / history
    monkeypatch.chdir(path if path.is_dir() else path.parent)
    assert find_history(path.relative_to(path) if path.is_dir() else type(path)(path.name)).samefile(tmp_path / history)

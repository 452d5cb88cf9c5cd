"""`dreambirds init` writes a config for checkpoints of other programs, with the epochs that it found."""

import argparse
import json
import shutil

import pytest
import timm
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file

from dreambirds.cli import main
from dreambirds.config.load import check
from dreambirds.startup.new_study import models
from dreambirds.startup.new_study.models import guess_model

NAME = "it's a #1: ü"


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return timm.create_model("test_resnet", num_classes=2).state_dict()


@pytest.fixture(autouse=True)
def _candidates(monkeypatch):
    """Try few models, because building all of them takes seconds."""
    monkeypatch.setattr(models, "COMMON", ("resnet10t", "mobilenetv3_small_050"))


def _save(path, epoch, state):
    """Save a checkpoint as timm does."""
    facts = {"arch": "test_resnet", "args": argparse.Namespace(a=1), "version": 2}
    torch.save({"epoch": epoch, "state_dict": state, **facts}, path)


@pytest.fixture
def init(tmp_path, monkeypatch, capsys):
    """Return the function that runs the command, and returns the config, its text, and the lines on the terminal."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[dict, str, list[str]]:
        main(["init", *arguments, "-o", "-"])
        done = capsys.readouterr()
        check(yaml.safe_load(done.out), "config")
        return yaml.safe_load(done.out), done.out, done.err.splitlines()

    return run


def _photographs(root, *classes):
    for name in classes:
        (root / name).mkdir(parents=True)
        for count in range(2):
            Image.new("RGB", (64, 64), (count, 0, 0)).save(root / name / f"{count}.png")


def test_a_training_of_timm_gives_a_complete_config(tmp_path, init, state):
    folder = tmp_path / "out" / "20260101-test_resnet-64"
    folder.mkdir(parents=True)
    for epoch in (0, 1, 9, 10):
        _save(folder / f"checkpoint-{epoch}.pth.tar", epoch, state)
    shutil.copy(folder / "checkpoint-10.pth.tar", folder / "last.pth.tar")
    _photographs(tmp_path / "data", "auk", "crane")
    args = {"model": "test_resnet", "num_classes": 2, "input_size": [3, 48, 64], "data_dir": "data", "class_map": "map"}
    (folder / "args.yaml").write_text(yaml.safe_dump(args | {"mean": [0.5] * 3, "std": [0.25] * 3}))
    (tmp_path / "map").write_text("auk\ncrane\n")
    config, text, lines = init("out")
    run = config["runs"]["20260101-test_resnet-64"]
    path = "out/20260101-test_resnet-64/checkpoint"
    copied = "'out/20260101-test_resnet-64/last.pth.tar' has the same epoch as 'checkpoint-10.pth.tar'"
    assert run["checkpoints"] == {epoch + 1: f"{path}-{epoch}.pth.tar" for epoch in (0, 1, 9, 10)}
    assert f"      11: {path}-10.pth.tar # epoch from its 'epoch' 10" in text
    assert f"# left out: {copied}" in text
    assert run["model"] == "test_resnet" and run["labels"] == "map"
    assert run["normalization"] == {"mean": [0.5] * 3, "std": [0.25] * 3}
    assert config["dataset"] == {"source": "folder", "path": "data", "image_size": [48, 64]}
    assert lines[0].startswith("Found 4 checkpoints of epochs 1, 2, 10, 11 in 'out/20260101-test_resnet-64' (test_r")
    assert not any("fill" in line for line in lines)


def test_names_are_quoted_and_what_is_unknown_is_said(tmp_path, init, state):
    folder = tmp_path / NAME
    folder.mkdir()
    torch.save({"net": {f"module.{key}": value for key, value in state.items()}}, folder / "epoch 3 #x.pt")
    torch.save({"a": torch.ones(3)}, folder / "other.pth")
    torch.save({}, folder / "optimizer.pt")
    (folder / "broken.ckpt").write_bytes(b"\x00")
    (folder / "classes.txt").write_text("auk\ncrane\n")
    config, text, lines = init(NAME)
    (run,) = config["runs"].values()
    assert run == {"checkpoints": {3: f"{NAME}/epoch 3 #x.pt"}, "labels": f"{NAME}/classes.txt"}
    assert config["dataset"] == {"source": "folder", "image_size": 224}
    assert "other.pth' records no epoch" in text and "optimizer" not in text
    assert any(line.startswith("Left out: ") and "broken.ckpt" in line for line in lines)
    unknown = [line for line in lines if line.startswith("Not known, so fill it in: ")]
    assert len(unknown) == 2 and "the model of the run" in unknown[0] and "dataset.path" in unknown[1]


def test_trainings_of_several_programs_become_runs(tmp_path, init, state):
    lightning, trainer = tmp_path / "x/version_0", tmp_path / "x/vit/checkpoint-500"
    (lightning / "checkpoints").mkdir(parents=True)
    prefixed = {f"model.{key}": value for key, value in state.items()}
    saved = {"epoch": 4, "global_step": 40, "pytorch-lightning_version": "2.0", "state_dict": prefixed, "loops": {}}
    torch.save(saved, lightning / "checkpoints/epoch=4-step=40.ckpt")
    (lightning / "hparams.yaml").write_text("backbone: test_resnet\nlr: 0.1\n")
    trainer.mkdir(parents=True)
    save_file({f"timm_model.{key}": value for key, value in state.items()}, trainer / "model.safetensors")
    wrapper = {"model_type": "timm_wrapper", "architecture": "test_resnet", "label_names": ["auk", "crane"]}
    (trainer / "config.json").write_text(json.dumps({**wrapper, "num_classes": 2}))
    (trainer / "trainer_state.json").write_text(json.dumps({"epoch": 2.5, "global_step": 500, "log_history": []}))
    torch.save({}, trainer / "scheduler.pt")
    _photographs(tmp_path / "photos", "auk", "crane", "owl")
    config, _, _ = init("x", "--photographs", "photos")
    runs = config["runs"]
    assert runs["version_0"] == {
        "model": "test_resnet",
        "checkpoints": {5: "x/version_0/checkpoints/epoch=4-step=40.ckpt"},
    }
    assert runs["vit"]["checkpoints"] == {2.5: "x/vit/checkpoint-500"} and runs["vit"]["model"] == "test_resnet"
    assert config["dataset"]["labels"] == ["auk", "crane"], "the checkpoints do not have the class owl"


def test_of_many_checkpoints_the_others_are_comments(tmp_path, init, state):
    (tmp_path / "x").mkdir()
    for epoch in range(20):
        _save(tmp_path / f"x/checkpoint-{epoch}.pth.tar", epoch, state)
    config, text, _ = init("x")
    kept = list(config["runs"]["x"]["checkpoints"])
    assert len(kept) == 8 and (kept[0], kept[-1]) == (1, 20)
    assert sum(f"checkpoint-{epoch}.pth.tar" in text for epoch in range(20)) == 20


def test_weights_without_epochs_are_numbered_and_this_is_said(tmp_path, init, state):
    (tmp_path / "x").mkdir()
    torch.save(state, tmp_path / "x/test_resnet.pth")
    config, text, lines = init("x/test_resnet.pth")
    (run,) = config["runs"].values()
    assert run["checkpoints"] == {1: "x/test_resnet.pth"} and run["model"] == "test_resnet"
    assert "recognized by the names and shapes of all tensors" in text
    assert "Not known, so fill it in: the epochs of the run 'x'." in lines


def test_drawn_birds_are_used_only_if_the_classes_fit(tmp_path, init):
    (tmp_path / "x").mkdir()
    for count, source in ((8, "drawn"), (7, "folder")):
        weights = timm.create_model("test_resnet", num_classes=count).state_dict()
        _save(tmp_path / "x/checkpoint-1.pth.tar", 1, weights)
        config, _, lines = init("x")
        assert config["dataset"]["source"] == source
        assert any("dataset.path" in line for line in lines) == (source == "folder")


def test_results_of_a_study_give_one_of_its_checkpoints(tmp_path, init, state):
    metadata = {"model": "test_resnet", "model_options": {}, "run": "a", "epoch": 2, "image_size": 64}
    for label, count in (("blue_jay", 1), ("crane", 2)):
        root = tmp_path / f"results/{count}"
        folder = root / "runs/a/epoch-0002"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text('{"architecture": "test_resnet"}')
        labels = ["northern_cardinal", label]
        save_file(state, folder / "model.safetensors", {"dreambirds": json.dumps({**metadata, "labels": labels})})
        config, _, lines = init(f"results/{count}/runs")
        assert config["runs"]["a"]["checkpoints"] == {2: f"results/{count}/runs/a/epoch-0002"}
        is_drawn = label == "blue_jay"
        assert config["dataset"].get("labels", []) == (labels if is_drawn else [])
        assert config["dataset"]["source"] == ("drawn" if is_drawn else "folder")
        assert any("dataset.path" in line for line in lines) != is_drawn
    _photographs(root / "dataset/images", "northern_cardinal", "crane", "owl")
    (root / "dataset/labels.csv").touch()
    (root / "spectra.safetensors").touch()
    config, _, lines = init("results/2")
    assert config["dataset"]["path"] == "results/2/dataset/images" and config["study"] != "2"
    assert config["dataset"]["labels"] == ["crane", "northern_cardinal"]


@pytest.mark.parametrize(("model", "file"), [("mobilenetv3_small_050", "weights_7"), ("test_vit", "my-test_vit")])
def test_a_model_is_recognized_only_if_every_tensor_fits(tmp_path, model, file):
    path = tmp_path / f"{file}.pth"
    state = timm.create_model(model, num_classes=5).state_dict()
    torch.save({"epoch": 3, "ema": {f"net.{key}": value.half() for key, value in state.items()}}, path)
    assert guess_model(path) == (model, 5)
    state["extra.weight"] = torch.ones(3)
    torch.save(state, path)
    assert guess_model(path) is None
    del state["extra.weight"], state[next(iter(state))]
    save_file(state, path)
    assert guess_model(path) is None

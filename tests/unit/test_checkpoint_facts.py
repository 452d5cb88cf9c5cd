"""What checkpoints record about themselves, read without torch: epochs, classes, model, size and normalization."""

import argparse
import collections
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dreambirds.errors import UserError
from dreambirds.models.checkpoint import CheckpointInfo, save_checkpoint
from dreambirds.models.checkpoint_facts import CheckpointFacts, read_facts, weights_files
from dreambirds.models.classifier import build
from dreambirds.models.epochs import as_epoch, epoch_of_name
from dreambirds.models.inert_pickle import Inert, interpret, read_tree

STATE = {"fc.weight": torch.ones(2, 3), "fc.bias": torch.zeros(2)}
WRAPPED = {"state_dict": STATE}
TIMM = {"arch": "resnet50", "state_dict": STATE, "optimizer": {}}
REFERENCE = {"model": STATE, "optimizer": {}, "lr_scheduler": {}, "args": argparse.Namespace(data_path="x")}


def fit_loop(ready: int, completed: int, last: bool = True) -> dict:
    """Return Lightning's progress in an epoch."""
    progress = {"current": {"ready": ready, "completed": completed}}
    return {"fit_loop": {"epoch_progress": progress, "epoch_loop.batch_progress": {"is_last_batch": last}}}


EPOCHS = {  # the name, its content, the completed epochs, and from what they are read
    "timm": ("x.pth.tar", {**TIMM, "epoch": 3, "version": 2}, 4, "its 'epoch' 3, counted from zero"),
    "timm with args": (
        "x.pth",
        {**TIMM, "epoch": 3, "args": argparse.Namespace(model="a")},
        4,
        "its 'epoch' 3, counted",
    ),
    "old timm": ("x.pth", {**TIMM, "epoch": 3, "version": 1}, 3, "its 'epoch' 3"),
    "recovery": (
        "recovery-3-90.pth.tar",
        {**TIMM, "epoch": 3, "version": 2},
        3,
        "its 'epoch' 3, counted from zero and",
    ),
    "ImageNet example": ("x.pth.tar", {**TIMM, "epoch": 3, "best_acc1": 1.0}, 3, "its 'epoch' 3"),
    "reference": ("model_9.pth", {**REFERENCE, "epoch": 3}, 4, "its 'epoch' 3, counted from zero"),
    "lightning": ("x.ckpt", {**WRAPPED, "epoch": 3, "pytorch-lightning_version": "2"}, 4, "its 'epoch' 3, counted"),
    "lightning in part": (
        "x.ckpt",
        {**WRAPPED, "epoch": 1, "hyper_parameters": {"lr": 1e-3}},
        2,
        "its 'epoch' 1, count",
    ),
    "lightning in training": ("x.ckpt", {**WRAPPED, "epoch": 3, "loops": fit_loop(4, 3)}, 4, "its 'epoch' 3, counted"),
    "lightning afterwards": ("x.ckpt", {**WRAPPED, "epoch": 4, "loops": fit_loop(4, 4)}, 4, "its 'epoch' 4, which is"),
    "lightning within": (
        "x.ckpt",
        {**WRAPPED, "epoch": 3, "loops": fit_loop(4, 3, False)},
        3,
        "its 'epoch' 3, counted",
    ),
    "tutorial": ("x.pth", {"epoch": 5, "model_state_dict": STATE}, 5, "its 'epoch' 5"),
    "NumPy": ("x.pth", {"epoch": np.int64(5), "model": STATE}, 5, "its 'epoch' 5"),
    "half": ("x.pth", {"epoch": np.float64(2.5), "model": STATE}, 2.5, "its 'epoch' 2.5"),
    "last_epoch": ("x.pth", {"last_epoch": 5, "model": STATE}, 5, "its 'last_epoch' 5"),
    "mm": ("x.pth", {"meta": {"epoch": 12, "iter": 900}, **WRAPPED}, 12, "its 'epoch' 12"),
    "nested": ("x.pth", {"checkpoint": {"model": STATE, "epoch": 7}}, 7, "its 'epoch' 7"),
    "not counted": (
        "model-3.pth",
        {"epoch": -1, "model": STATE, "scheduler": {"last_epoch": 9}},
        3,
        "its name, 'model-3'",
    ),
    "no epoch": ("best.pth", {"model": STATE, "epoch": None}, None, ""),
}


@pytest.mark.parametrize("case", EPOCHS)
def test_completed_epochs_are_read_from_the_content(tmp_path, case):
    name, content, epoch, source = EPOCHS[case]
    torch.save(content, tmp_path / name)
    facts = read_facts(tmp_path / name)
    assert facts.epoch == epoch and type(facts.epoch) is type(epoch) and facts.epoch_source.startswith(source)


NAMES = {
    "epoch=3-step=400.ckpt": 4,
    "birds-epoch=03-val_loss=0.25-v1.ckpt": 4,
    "epoch_12.pth": 12,
    "model_epoch7_acc91.5.pt": 7,
    "resnet50_e05.pth": 5,
    "resnet50-ep-20.safetensors": 20,
    "resnet50_90ep.pth": 90,
    "ckpt_10_epochs.bin": 10,
    "epoch_2.5.pth": 2.5,
    "checkpoint-12.pth.tar": 12,
    "model_5.pth": 5,
    "net12.pt": 12,
    "007.pth": 7,
    "model_12_0.91.pth": 12,
    "step_500.pt": None,
    "iter-40000.pth": None,
    "model_step=500_epoch=2.pt": 3,
    "resnet50-19c8e357.pth": None,
    "resnet50.pth": None,
    "model-20260714.pth": None,
    "run_2026-07-14.pth": None,
    "model_best.pth.tar": None,
    "best_3.pth": None,
    "last-v1.ckpt": None,
    "lr1e-4.pth": None,
    "model.safetensors": None,
}


@pytest.mark.parametrize("name", NAMES)
def test_completed_epochs_are_read_from_the_name(tmp_path, name):
    torch.save(STATE, tmp_path / name) if not name.endswith(".safetensors") else save_file(STATE, tmp_path / name)
    facts = read_facts(tmp_path / name)
    assert (facts.epoch, facts.kind) == (NAMES[name], "") and bool(facts.epoch_source) == (NAMES[name] is not None)


def test_names_of_timm_are_counted_from_zero_and_folders_name_their_file(tmp_path):
    assert epoch_of_name(tmp_path / "checkpoint-12.pth.tar", "timm")[0] == 13
    assert epoch_of_name(tmp_path / "epoch_5" / "model.safetensors", "") == (5, "its name, 'epoch_5'")
    assert epoch_of_name(tmp_path / "run-5" / "model.safetensors", "")[0] is None
    assert [as_epoch(value) for value in (2.9971, 2.99, "3", True, -1, float("nan"), "x")] == [3, 2.99, 3, *[None] * 4]


CLASSES = {
    "classes": ["a", "b"],
    "class_names": ("a", "b"),
    "class_to_idx": {"b": 1, "a": 0},
    "idx_to_class": {1: "b", 0: "a"},
    "labels": collections.OrderedDict([("1", "b"), ("0", "a")]),
    "CLASSES": ["a", "b"],
}


@pytest.mark.parametrize("place", [None, "meta", "hyper_parameters", "args", "config"])
def test_classes_are_found_in_the_order_of_the_outputs(tmp_path, place):
    for key, value in CLASSES.items():
        inner = argparse.Namespace(**{key: value}) if place == "args" else {key: value}
        torch.save({"model": STATE, **({place: inner} if place else inner)}, tmp_path / "x.pth")
        assert read_facts(tmp_path / "x.pth").classes == ["a", "b"], key


@pytest.mark.parametrize(
    "value", [2, "birds.txt", [0, 1], {"a": 1, "b": 2}, {"a": 0, "b": 0}, {0: "a", 2: "b"}, [], {}]
)
def test_what_is_not_a_list_of_classes_is_not_taken_for_one(tmp_path, value):
    torch.save({"model": STATE, "classes": value}, tmp_path / "x.pth")
    assert read_facts(tmp_path / "x.pth").classes is None


def test_timms_arguments_give_the_model_its_options_and_the_size(tmp_path):
    args = argparse.Namespace(
        model="test_vit", model_kwargs={"depth": 2}, in_chans=1, img_size=64, mean=[0.5], std=[0.5]
    )
    torch.save({"arch": "x", "epoch": 1, "state_dict": STATE, "args": args, "version": 2}, tmp_path / "x.pth")
    assert read_facts(tmp_path / "x.pth") == CheckpointFacts(
        *("timm", 2, "its 'epoch' 1, counted from zero", None, "test_vit", {"depth": 2, "in_chans": 1}, 64),
        normalization={"mean": [0.5], "std": [0.5]},
    )
    args = argparse.Namespace(model="resnet50", workers=2, print_freq=10, val_crop_size=224)
    torch.save({**REFERENCE, "epoch": 1, "args": args}, tmp_path / "y.pth")
    facts = read_facts(tmp_path / "y.pth")
    assert (facts.kind, facts.model, facts.image_size) == ("torchvision", "torchvision:resnet50", 224)


def test_own_checkpoints_give_all_facts(tmp_path):
    info = CheckpointInfo("test_resnet", {"in_chans": 3}, ["a", "b"], "r", 0.25, [32, 48])
    save_checkpoint(tmp_path / "epoch-0000.25", build("test_resnet", 2, {}), info)
    expected = CheckpointFacts(
        "dreambirds", 0.25, "its 'epoch' 0.25", ["a", "b"], "test_resnet", {"in_chans": 3}, [32, 48]
    )
    for path in (tmp_path / "epoch-0000.25", tmp_path / "epoch-0000.25/model.safetensors"):
        assert read_facts(path) == expected
    assert [path.name for path in weights_files(tmp_path / "epoch-0000.25")] == ["model.safetensors", "config.json"]


NORMALIZATION = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
TIMM_CONFIG = {"architecture": "test_vit", "label_names": ["a", "b"], "model_args": {"img_size": 32}}
TIMM_CONFIG["pretrained_cfg"] = {"input_size": [3, 32, 64], **NORMALIZATION}
WORDS = {
    "label_names": ["n01530575", "n01531178"],
    "label_descriptions": {"n01530575": "brambling", "n01531178": "finch"},
}
CONFIGS = {
    "timm": (TIMM_CONFIG, ("timm", ["a", "b"], "test_vit", {"img_size": 32}, [32, 64], NORMALIZATION, "softmax")),
    "old timm": (
        {"architecture": "resnet18", "labels": ["a", "b"], "input_size": [3, 32, 32]},
        ("timm", ["a", "b"], "resnet18", {}, 32, None, "softmax"),
    ),
    "descriptions": ({**TIMM_CONFIG, **WORDS}, ("timm", ["brambling", "finch"])),
    "wrapper": ({**TIMM_CONFIG, "model_type": "timm_wrapper"}, ("transformers", ["a", "b"], "test_vit")),
    "several": (
        {"model_type": "vit", "id2label": {"1": "b", "0": "a"}, "problem_type": "multi_label_classification"},
        ("transformers", ["a", "b"], None, {}, None, None, "sigmoid"),
    ),
    "default names": ({"model_type": "vit", "id2label": {"0": "LABEL_0", "1": "LABEL_1"}}, ("transformers", None)),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_config_next_to_the_weights_is_read(tmp_path, case):
    config, expected = CONFIGS[case]
    save_file(STATE, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    for path in (tmp_path, tmp_path / "model.safetensors"):
        facts = read_facts(path)
        found = (facts.kind, facts.classes, facts.model, facts.model_options, facts.image_size, facts.normalization)
        assert (*found, facts.head)[: len(expected)] == expected


def test_a_step_of_transformers_is_no_epoch_but_its_trainers_state_has_one(tmp_path):
    folder = tmp_path / "checkpoint-500"
    folder.mkdir()
    torch.save(STATE, folder / "pytorch_model.bin")
    assert (read_facts(folder).epoch, read_facts(folder).classes) == (None, None)
    (folder / "trainer_state.json").write_text(json.dumps({"epoch": 1.9968, "global_step": 500}))
    for path in (folder, folder / "pytorch_model.bin"):
        assert (read_facts(path).epoch, read_facts(path).epoch_source) == (2, "trainer_state.json")
    assert [path.name for path in weights_files(folder)] == ["pytorch_model.bin", "trainer_state.json"]
    for text in ("{", "[]"):
        (folder / "trainer_state.json").write_text(text)
        with pytest.raises(UserError, match=r"^'.*trainer_state.json' is corrupt"):
            read_facts(folder)


def test_facts_in_the_metadata_of_safetensors_are_read(tmp_path):
    save_file(STATE, tmp_path / "x.safetensors", {"epoch": "3", "classes": '["a", "b"]', "format": "pt"})
    assert (read_facts(tmp_path / "x.safetensors").epoch, read_facts(tmp_path / "x.safetensors").classes) == (
        3,
        ["a", "b"],
    )


@pytest.mark.parametrize("new", [True, False])
def test_nothing_in_a_file_is_run_or_imported(tmp_path, new):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "went off"),)

    torch.save({"epoch": 5, "model": STATE, "b": Bomb()}, tmp_path / "x.pth", _use_new_zipfile_serialization=new)
    tree = read_tree(tmp_path / "x.pth")
    assert isinstance(tree["b"], Inert) and tree["b"].name == "posix.mkdir" and not (tmp_path / "went off").exists()
    assert tree["model"]["fc.weight"].is_tensor and read_facts(tmp_path / "x.pth").epoch == 5


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_gives_the_same_plain_data(protocol, tmp_path):
    data = {"a": [1, 2.5, None, True, "ü", b"x", 2**70], "b": ((), (1,), (1, 2, 3), {"c": -1}), 3: {"d": {}}}
    data["self"] = data["a"]
    with (tmp_path / "x").open("w+b") as file:
        pickle.dump([data, data], file, protocol=protocol)
        file.seek(0)
        found = interpret(file)
    part = found[0]
    text = part["a"].pop(5)
    assert text == b"x" if protocol > 2 else text.name == "_codecs.encode", "older protocols create bytes by a call"
    assert part is found[1] and part["self"] is part["a"] and part["a"] == [1, 2.5, None, True, "ü", 2**70]
    assert part["b"] == data["b"] and part[3] == {"d": {}}


@pytest.mark.parametrize("name", ["new.pth", "old.pth", "a.safetensors"])
def test_damaged_files_are_refused_in_one_line_or_read(tmp_path, name):
    content = {"epoch": 5, "model": STATE, "args": argparse.Namespace(model="a"), "metric": np.float64(1)}
    if name.endswith("safetensors"):
        save_file(STATE, tmp_path / name, {"epoch": "5"})
    else:
        torch.save(content, tmp_path / name, _use_new_zipfile_serialization=name == "new.pth")
    good, generator, refused = (tmp_path / name).read_bytes(), torch.Generator().manual_seed(0), 0
    for _ in range(300):
        damaged = bytearray(good)
        for index in torch.randint(0, len(good), (3,), generator=generator).tolist():
            damaged[index] = int(torch.randint(0, 256, (1,), generator=generator))
        (tmp_path / name).write_bytes(damaged[: int(torch.randint(1, 2 * len(good), (1,), generator=generator))])
        try:
            read_facts(tmp_path / name)
        except UserError as error:
            refused += "\n" not in str(error)
    assert refused > 30


def test_facts_are_read_without_the_heavy_libraries(tmp_path):
    torch.save({"epoch": 5, "model": STATE}, tmp_path / "x.pth")
    code = (
        "import sys; from pathlib import Path; from dreambirds.models.checkpoint_facts import read_facts; "
        "print(read_facts(Path(sys.argv[1])).epoch, sorted({'torch', 'numpy', 'safetensors', 'timm'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "x.pth"], capture_output=True, text=True)
    assert done.stdout == "5 []\n", done.stderr

"""Files that do not contain weights of the network: each is refused with one sentence that says what to do."""

import io
import json
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dreambirds.config.checkpoints import list_checkpoints
from dreambirds.config.runs import check_weights
from dreambirds.errors import MAX_LENGTH, UserError
from dreambirds.models.checkpoint_facts import read_facts
from tests.faults.test_formats import OTHER, STATE, WRONG, below, loaded, network, saved


def zipped(*names: str) -> bytes:
    """Return a zip archive with empty files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.pth"))
    return file.getvalue()


def array() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.zeros(2))
    return file.getvalue()


FILES = {  # the content, and what the sentence contains
    "empty.pth": (b"", "is empty; download it again"),
    "lfs.pth": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "is a Git LFS pointer, not the"),
    "annex.pth": (
        b"/annex/objects/MD5E-s9--0.pth\n",
        "is a git-annex pointer, not the file itself; run `git annex get`",
    ),
    "marked.pth": (b"\xef\xbb\xbf<html></html>", "is a web page"),
    "page.pth": (b"\n<!DOCTYPE html><html></html>", "is a web page"),
    "text.pth": ("Rotkehlchen, Zaunkönig".encode(), "is neither a safetensors file nor one .* (it is text: .*)"),
    "bytes.pth": (bytes(range(1, 40)), "is neither a safetensors file nor one .* (it begins with b'"),
    "other.zip": (
        zipped("a/cat.jpg", "b/model.pth"),
        "is a zip archive of other files (it contains 'b/model.pth'); unpack",
    ),
    "script.pt": (zipped("m/data.pkl", "m/constants.pkl"), 'is a TorchScript archive; .*torch.jit.load("script.pt"'),
    "export.pt2": (zipped("m/archive_format"), "is a program of torch.export; .*torch.export.load("),
    "keras.keras": (
        zipped("metadata.json", "model.weights.h5"),
        "is a Keras model, not weights of a torch network; save",
    ),
    "jax.npz": (array(), "is a NumPy archive, as JAX networks .*load_pretrained('jax.npz')"),
    "old.h5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file, as Keras and TensorFlow write"),
    "net.onnx": (b"\x08\x08\x12\x07pytorch\x1a", "is an ONNX graph"),
    "renamed.pth": (b"\x08\x08\x12\x07pytorch\x1a", "is an ONNX graph"),
    "a.tar": (tarred(), "is a tar archive; unpack it"),
    "a.pth.gz": (b"\x1f\x8b\x08\x00", "is a gzip archive; unpack it"),
    "pickle.pkl": (pickle.dumps({"a": np.zeros(2)}), "is a pickle that torch did not write; convert it .*pickle.load("),
    "cut.zip": (zipped("a/data.pkl")[:40], "ends early or is corrupt"),
    "header.safetensors": (b"\x09" + bytes(7) + b'{"a": 1}}', "is corrupt (its header is not that of"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_kind_is_named(tmp_path, name):
    content, sentence = FILES[name]
    (tmp_path / name).write_bytes(content)
    pattern = ".*".join(_escaped(part) for part in sentence.replace('"', "'").split(".*"))
    for read in (read_facts, loaded):
        with pytest.raises(UserError, match=rf"^'.*{_escaped(name)}' {pattern}") as caught:
            read(tmp_path / name)
        assert len(str(caught.value)) <= MAX_LENGTH and "\n" not in str(caught.value)


def _escaped(text: str) -> str:
    return "".join(f"\\{character}" if character in "().[]{}+?*^$" else character for character in text)


def test_a_file_that_ends_early_is_named_as_such(tmp_path):
    for name in ("a.safetensors", "b.pth"):
        content = saved(tmp_path / name, STATE).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        for read in (read_facts, loaded):
            with pytest.raises(UserError, match="' ends early"):
                read(tmp_path / name)


class Config:
    """An object that some programs save next to the weights."""


def test_the_line_that_converts_a_file_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = Config()
    module.rate = 1
    path = Path("x.ckpt")
    lightning = {"state_dict": WRONG, "hyper_parameters": module, "epoch": 3, "optimizer_states": [{"state": {}}]}
    contents = [OTHER, {"model": OTHER, "epoch": 4, "arch": "x"}, lightning, {"model": {"net": WRONG}, "args": module}]
    for content in contents:
        torch.save(content, tmp_path / path)
        with pytest.raises(
            UserError, match=r"whole pickled model \('timm.models.resnet.ResNet'\)|more than tensors \('"
        ) as caught:
            loaded(tmp_path / path)
        assert len(str(caught.value)) <= MAX_LENGTH
        code = str(caught.value).partition('python -c "')[2].partition('"')[0]
        exec(code, {})  # as `python -c` does
        converted = loaded(tmp_path / "weights.pth", new_head=False).state_dict()
        assert all(torch.equal(tensor, WRONG[name]) for name, tensor in converted.items())
        expected = 4 if isinstance(content, dict) and "epoch" in content else None
        assert read_facts(tmp_path / "weights.pth").epoch == expected, "Lightning counts from zero"


NEAR = {  # what is saved, and the whole sentence after the path
    "channel.pth": (
        lambda: {"model": network(0, in_chans=1).state_dict()},
        "entry 'model', is for images of 1 channel ('conv1.0.weight' is (16, 1, 3, 3) in the file, (16, 3, 3, 3) in "
        "the model); set 'model_options: {in_chans: 1}'",
    ),
    "classes.pth": (
        lambda: network(0, classes=10).state_dict(),
        "has a head for 10 classes, not 3 ('fc.weight' is (10, 96) in the file, (3, 96) in the model); set 'labels' "
        "to a file with its 10 class names",
    ),
    "recorded.pth": (
        lambda: {"arch": "test_vit", "state_dict": network(0, "test_vit", img_size=32).state_dict()},
        "; the file says that it is 'test_vit': set 'model' to that, or choose another file",
    ),
    "missing.pth": (
        lambda: {name: tensor for name, tensor in STATE.items() if name != "layer1.0.bn1.running_mean"},
        "does not fit the model (1 tensor differs, the first is 'layer1.0.bn1.running_mean': only in the model); "
        "choose another file, or set 'model' to the one that it belongs to",
    ),
    "quantized.pth": (
        lambda: STATE | {"fc.weight": torch.ones(3, 96, dtype=torch.int8)},
        "contains integers in 'fc.weight' (torch.int8), as quantized networks do; save them as floating-point numbers",
    ),
    "two.pth": (
        lambda: {"student": STATE, "teacher": WRONG},
        "contains several weights that fit ('student', 'teacher'); set 'weights_key' to one of them",
    ),
    "averages.pth": (
        lambda: {"model": STATE, "ema_0.99": STATE, "ema_0.999": WRONG},
        "contains several weights that fit ('ema_0.99', 'ema_0.999'); set 'weights_key' to one of them",
    ),
    "inside.ckpt": (
        lambda: {"state_dict": below("student.", STATE) | below("teacher.", WRONG)},
        "contains several weights that fit ('state_dict.student', 'state_dict.teacher'); set 'weights_key' to one of",
    ),
}


@pytest.mark.parametrize("name", NEAR)
def test_what_nearly_fits_is_refused_with_the_key_to_set(tmp_path, name):
    content, sentence = NEAR[name]
    path = saved(tmp_path / name, content())
    with pytest.raises(UserError) as caught:
        loaded(path, new_head=False)
    assert str(caught.value).startswith(f"'{path}'") and sentence in str(caught.value), str(caught.value)


def test_a_deeper_network_is_refused_with_counts_of_both_sides(tmp_path):
    path = saved(tmp_path / "a.pth", {name.replace("layer3", "layer5"): value for name, value in STATE.items()})
    sentence = (
        r"\(40 tensors differ, the first is 'layer3.0.conv1.weight': only in the model, 20 only in the file, such as "
        r"'layer5.0.conv1.weight', 20 only in the model, such as 'layer3.0.conv1.weight'\); choose another file, or "
    )
    with pytest.raises(UserError, match=sentence):
        loaded(path)


@pytest.mark.parametrize("key", ["teacher", "state_dict.teacher"])
def test_a_key_chooses_and_a_wrong_one_lists_the_keys(tmp_path, key):
    path = saved(tmp_path / "a.ckpt", {"state_dict": below("student.", STATE) | below("teacher.", WRONG), "epoch": 1})
    assert torch.equal(loaded(path, key=key).fc.weight, WRONG["fc.weight"])
    with pytest.raises(
        UserError, match=r"has no entry 'state_dict_em'; set 'weights_key' to one with tensors: state_dict$"
    ):
        loaded(path, key="state_dict_em")
    path = saved(tmp_path / "b.pth", {"checkpoint": {"model": WRONG, "ema": STATE}})
    assert torch.equal(loaded(path, key="model").fc.weight, WRONG["fc.weight"])
    with pytest.raises(UserError, match=r"has no entry 'x', its tensors are at the top level; remove 'weights_key'"):
        loaded(saved(tmp_path / "c.pth", STATE), key="x")


FOLDERS = {
    "empty": ((), "does not contain a file of weights (it is empty); set a file"),
    "parent": (("checkpoint-500/model.safetensors",), "(it contains checkpoint-500); set one of the folders in it"),
    "several": (("a.pth", "b.pth"), "contains several files of weights; set one of them (a.pth, b.pth)"),
    "trainer": (
        ("optimizer.pt", "rng_state.pth", "training_args.bin"),
        "does not contain a file of weights (it is empty",
    ),
    "distributed": (
        (".metadata", "__0_0.distcp"),
        "is a distributed checkpoint of torch; run `python -m torch.distrib",
    ),
    "deepspeed": (
        ("zero_to_fp32.py", "latest"),
        "is a checkpoint of DeepSpeed; run `python zero_to_fp32.py . weights`",
    ),
    "unpacked": (("data.pkl", "version"), "is an unpacked file of torch"),
    "tensorflow": (("saved_model.pb",), "is a model of TensorFlow"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_without_weights_is_refused(tmp_path, name):
    names, sentence = FOLDERS[name]
    for file in names:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(b"")
    for read in (read_facts, loaded):
        with pytest.raises(UserError, match=_escaped(sentence)):
            read(tmp_path)


def test_shards_are_read_from_the_folder_alone(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    save_file(STATE, tmp_path / "secret.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"fc.weight": "../secret.safetensors"}}))
    with pytest.raises(UserError, match=r"names 'secret.safetensors', which does not exist"):
        loaded(folder)
    index.write_text("[]")
    with pytest.raises(UserError, match="json' is corrupt"):
        loaded(folder)


def test_a_pipe_is_refused_at_once_because_reading_it_would_wait(tmp_path):
    os.mkfifo(tmp_path / "a.pth")
    for read in (read_facts, loaded):
        with pytest.raises(
            UserError, match=r"a\.pth' is a pipe, a socket or a device, not a file; choose another file"
        ):
            read(tmp_path / "a.pth")


def test_some_shards_are_not_all(tmp_path):
    path = saved(tmp_path / "model-00002-of-00003.safetensors", STATE)
    with pytest.raises(UserError, match=r"00003\.safetensors' is one of 3 shards; set the folder that contains"):
        loaded(path)
    with pytest.raises(UserError, match="contains 1 shards of weights, not all 3; download it again"):
        loaded(tmp_path)


WRAPPED = {
    "contains an adapter .LoRA., not only a network; merge both": lambda name: name.replace(
        ".weight", ".lora_A.weight"
    ),
    "contains a quantized network; save the weights of the network": lambda name: name.replace(".weight", ".scale"),
}


@pytest.mark.parametrize("sentence", WRAPPED)
def test_an_adapter_and_a_quantized_network_are_named(tmp_path, sentence):
    path = saved(tmp_path / "a.pth", {WRAPPED[sentence](name): tensor for name, tensor in STATE.items()})
    with pytest.raises(UserError, match=sentence):
        loaded(path)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("https://example.org/w.pth", "is an address, not a path; download the file"),
        ("hf-hub:user/name", "is the name of a model; set 'model' to it, and 'weights' to hub"),
    ],
)
def test_an_address_and_a_model_are_not_paths(given, sentence):
    with pytest.raises(UserError, match=rf"^runs\.a\.weights: '{given}' {sentence}"):
        check_weights(given, "runs.a.weights")
    for checkpoints in (given, {0: given}):
        with pytest.raises(UserError, match=rf"^runs\.a\.checkpoints: '?{given}'? {sentence}"):
            list_checkpoints(checkpoints, "runs.a.checkpoints")

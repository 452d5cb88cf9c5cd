"""Weights as other programs save them: each gives the network that was saved, or a sentence."""

import argparse
import collections
import datetime
import json
import logging
import pathlib
import types

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file, save_model
from timm.utils import CheckpointSaver, ModelEmaV3
from torch import nn

from dreambirds.errors import UserError
from dreambirds.models import HeadRows
from dreambirds.models.weights import load_weights

MODEL, CLASSES = "test_resnet", 3
FIELD = {"a": np.float64(1), "b": np.int64(2), "c": pathlib.Path("x"), "d": datetime.timedelta(1), "e": np.arange(2)}
FIELD |= {"f": collections.defaultdict(list, a=[1]), "g": collections.deque([1], maxlen=2), "h": np.bool_(True)}
FIELD |= {"i": types.SimpleNamespace(a=1), "j": argparse.Namespace(b=2), "k": range(3), "l": {"set"}, "m": 2**70}


def network(seed: int = 0, name: str = MODEL, classes: int = CLASSES, **options) -> nn.Module:
    """Return a network in eval mode whose batch-norm statistics are not those of a new one."""
    torch.manual_seed(seed)
    model = timm.create_model(name, num_classes=classes, **options)
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    return model.eval()


def logits(model: nn.Module, channels: int = 3) -> torch.Tensor:
    """Return the logits of a fixed batch."""
    with torch.no_grad():
        return model.eval()(torch.rand(2, channels, 32, 32, generator=torch.Generator().manual_seed(0)))


def below(prefix: str, state: dict) -> dict:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def cast(state: dict, dtype: torch.dtype) -> dict:
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()}


RIGHT, OTHER = network(), network(1)
STATE, WRONG = RIGHT.state_dict(), OTHER.state_dict()
COUNTS = {"total_ops": torch.zeros(1, dtype=torch.float64), "layer1.0.total_params": torch.zeros(1)}
UNCOUNTED = {name: tensor for name, tensor in STATE.items() if "num_batches" not in name}
COMPILED = {name.replace("layer1.", "layer1._orig_mod."): tensor for name, tensor in STATE.items()}
TUTORIAL = {"epoch": 5, "model_state_dict": STATE, "optimizer_state_dict": {"state": {0: {"m": STATE}}}, "loss": 0.3}
AVERAGE = {"module.": STATE, "": {"n_averaged": torch.tensor(4)}}
REFERENCE = {"model": WRONG, "model_ema": below("module.", STATE) | {"n_averaged": torch.tensor(4)}, "epoch": 3}
# what is saved, and what the log says of it
CONTENTS = {
    "plain": (STATE, "loaded its tensors"),
    "plain.safetensors": (STATE, "loaded its tensors"),
    "weights.bin": (STATE, "loaded its tensors"),
    "misnamed.safetensors.pth": (STATE, "loaded its tensors"),
    "tutorial.pth": (TUTORIAL, "loaded 'model_state_dict', as it contains no EMA weights that fit"),
    "any.pt": ({"my_net": STATE}, "loaded 'my_net'"),
    "nested.pt": ({"checkpoint": {"model": STATE, "step": 3}}, "loaded 'checkpoint.model'"),
    "harmless.pth": ({"model": STATE, "hparams": FIELD}, "loaded 'model'"),
    "lightning.ckpt": ({"epoch": 1, "state_dict": below("model.", STATE)}, "loaded 'state_dict.model'"),
    "loss.ckpt": (
        {"state_dict": below("net.", STATE) | {"loss.weight": torch.ones(2), "metric.total": torch.ones(1)}},
        "loaded 'state_dict.net', as it contains no EMA weights that fit; 2 other tensors not used, such as 'loss.w",
    ),
    "compiled.ckpt": ({"state_dict": below("model._orig_mod.", STATE)}, "loaded 'state_dict.model'"),
    "inside.pth": (COMPILED, "loaded its tensors"),
    "ddp.pth.tar": ({"state_dict": below("module.", STATE)}, "loaded 'state_dict'"),
    "both.pth": (below("module._orig_mod.", STATE), "loaded its tensors"),
    "fsdp.pth": (below("model._fsdp_wrapped_module.", STATE), "loaded 'model'"),
    "timm.pth.tar": (
        {"arch": MODEL, "state_dict": WRONG, "state_dict_ema": STATE, "args": argparse.Namespace(a=1), "version": 2},
        "loaded 'state_dict_ema', the EMA weights; 'weights_key' can choose 'state_dict'",
    ),
    "no-ema.pth.tar": (
        {"arch": MODEL, "state_dict": STATE, "state_dict_ema": None, "version": 2},
        "loaded 'state_dict', as it contains no EMA weights that fit",
    ),
    "reference.pth": (REFERENCE, "loaded 'model_ema', the EMA weights; 'weights_key' can choose 'model'"),
    "fastai.pth": ({"model": STATE, "opt": {"hypers": [{}]}}, "loaded 'model'"),
    "ema-inside.ckpt": (
        {"state_dict": below("model.", WRONG) | below("ema_model.module.", STATE)},
        "loaded 'state_dict.ema_model', the EMA weights; 'weights_key' can choose 'state_dict.model'",
    ),
    "callback.ckpt": (
        {"state_dict": below("model.", WRONG), "callbacks": {"EMA": {"ema_state_dict": below("model.", STATE)}}},
        "loaded 'callbacks.EMA.ema_state_dict.model', the EMA weights; 'weights_key' can choose 'state_dict.model'",
    ),
    "moments.pth": ({"model": STATE, "optimizer": {"exp_avg": WRONG, "exp_avg_sq": WRONG}}, "loaded 'model'"),
    "usual.pth": ({"state_dict": STATE, "discriminator": WRONG}, "loaded 'state_dict'"),
    "twice.pth": ({"student": STATE, "teacher": dict(STATE)}, "loaded 'student'"),
    "old.pth": (UNCOUNTED, "loaded its tensors"),
    "counts.pth": (STATE | COUNTS, "loaded its tensors"),
    "average.pth": (AVERAGE[""] | below("module.", STATE), "loaded its tensors"),
    "criterion.ckpt": (
        {"state_dict": STATE | {"criterion.weight": torch.ones(2), "val_acc.total": torch.ones(1)}},
        "loaded 'state_dict', as it contains no EMA weights that fit; 2 other tensors not used, such as 'criterion.wei",
    ),
    "tuple.pth": ((STATE, 7), "loaded '0'"),
    "arrays.pth": ({name: tensor.numpy() for name, tensor in STATE.items()}, "loaded its tensors"),
    "deep.pth": ({"a": {"b": {"c": {"d": STATE}}}}, "loaded 'a.b.c.d'"),
    "double.pth": (cast(STATE, torch.float64), "loaded its tensors"),
    "half.safetensors": (cast(STATE, torch.float16), "loaded its tensors"),
    "brain.pth": ({"model": cast(STATE, torch.bfloat16)}, "loaded 'model'"),
}


def saved(path, content, **options):
    """Save a mapping with the library of the file's suffix, and return the path."""
    save_file(content, path) if path.suffix == ".safetensors" else torch.save(content, path, **options)
    return path


def loaded(path, model: nn.Module | None = None, **options) -> nn.Module:
    """Return another network with the weights of a file."""
    model = model or network(7)
    load_weights(model, path, **options)
    return model


@pytest.mark.parametrize("name", CONTENTS)
def test_a_format_gives_the_network_that_was_saved(tmp_path, caplog, name):
    caplog.set_level(logging.INFO)
    content, report = CONTENTS[name]
    model = loaded(saved(tmp_path / name, content), new_head=False)
    tolerance = {"half": 1e-2, "brain": 1e-1, "double": 1e-6}.get(name.partition(".")[0], 0)
    assert (logits(model) - logits(RIGHT)).abs().max() <= tolerance * logits(RIGHT).abs().max()
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32, torch.int64}
    assert caplog.messages[-1].startswith(f"'{tmp_path / name}': {report}")


@pytest.mark.parametrize("options", [{"_use_new_zipfile_serialization": False}, {"pickle_protocol": 3}], ids=str)
def test_files_of_older_torch_are_read(tmp_path, options):
    assert torch.equal(logits(loaded(saved(tmp_path / "a.pth", TUTORIAL, **options))), logits(RIGHT))


@pytest.mark.parametrize(("key", "expected"), [(None, STATE), ("state_dict", WRONG), ("state_dict_ema", STATE)])
def test_timms_own_saver_gives_ema_weights_or_the_requested_ones(tmp_path, key, expected):
    ema = ModelEmaV3(OTHER)
    ema.module.load_state_dict(STATE)
    optimizer = torch.optim.SGD(OTHER.parameters(), momentum=0.9, lr=0.1)
    sum(parameter.sum() for parameter in OTHER.parameters()).backward()
    optimizer.zero_grad()
    args = argparse.Namespace(model=MODEL, lr=0.1)
    saver = CheckpointSaver(OTHER, optimizer, args, ema, checkpoint_dir=str(tmp_path))
    saver.save_checkpoint(3, np.float64(0.5))
    model = loaded(tmp_path / "checkpoint-3.pth.tar", new_head=False, key=key)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())


def test_wrappers_of_torch_are_removed(tmp_path):
    wrapped = torch.optim.swa_utils.AveragedModel(RIGHT)
    torch.save(wrapped.state_dict(), tmp_path / "average.pth")
    compiled = torch._dynamo.OptimizedModule(RIGHT, torch._dynamo.disable())
    torch.save(nn.ModuleDict({"model": compiled}).state_dict(), tmp_path / "compiled.pth")
    save_model(nn.ModuleDict({"timm_model": RIGHT}), str(tmp_path / "hub.safetensors"))
    for path in tmp_path.iterdir():
        assert torch.equal(logits(loaded(path, new_head=False)), logits(RIGHT))


@pytest.mark.parametrize("form", ["model.safetensors", "pytorch_model.bin", "shards", "index", "unlisted"])
def test_a_folder_of_transformers_is_read(tmp_path, form):
    state, path = below("timm_model.", STATE), tmp_path
    if form in ("shards", "index", "unlisted"):
        names = list(state)
        places = {name: f"model-0000{1 + index % 2}-of-00002.safetensors" for index, name in enumerate(names)}
        for file in set(places.values()):
            save_file({name: state[name] for name in names if places[name] == file}, tmp_path / file)
        index = tmp_path / "model.safetensors.index.json"
        if form != "unlisted":
            index.write_text(json.dumps({"weight_map": places}))
        path = index if form == "index" else path
    else:
        saved(tmp_path / form, state)
    torch.save({"state": {}}, tmp_path / "optimizer.pt")
    (tmp_path / "config.json").write_text("{}")
    assert torch.equal(logits(loaded(path, new_head=False)), logits(RIGHT))


def test_tables_that_a_network_computes_may_be_too_many_and_shared_tensors_stored_once(tmp_path):
    swin = network(2, "swin_tiny_patch4_window7_224", img_size=32, window_size=4, depths=(1, 1), embed_dim=24)
    tables = {name: buffer for name, buffer in swin.named_buffers() if "relative_position_index" in name}
    assert tables and not tables.keys() & swin.state_dict().keys()
    options = {"img_size": 32, "window_size": 4, "depths": (1, 1), "embed_dim": 24}
    other = network(3, "swin_tiny_patch4_window7_224", **options)
    assert torch.equal(
        logits(loaded(saved(tmp_path / "a.pth", swin.state_dict() | tables), other, new_head=False)), logits(swin)
    )
    tied = [nn.Sequential(collections.OrderedDict(a=nn.Linear(4, 4), b=nn.Linear(4, 4))) for _ in range(2)]
    for pair in tied:
        pair.b.weight = pair.a.weight
    save_model(tied[0], str(tmp_path / "b.safetensors"))
    stored = tied[0].state_dict()
    torch.save({name: stored[name] for name in ("b.weight", "a.bias", "b.bias")}, tmp_path / "c.pth")
    for name in ("b.safetensors", "c.pth"):
        torch.nn.init.zeros_(tied[1].a.weight)
        assert torch.equal(loaded(tmp_path / name, tied[1]).a.weight, tied[0].a.weight)


def test_rows_of_the_head_are_taken_in_the_order_of_the_classes(tmp_path):
    path = saved(tmp_path / "a.pth", {"model": STATE})
    model = loaded(path, network(7, classes=2), new_head=False, rows=HeadRows([2, 0], 3))
    assert torch.equal(logits(model), logits(RIGHT)[:, [2, 0]])
    deit = [network(seed, "deit_tiny_distilled_patch16_224", 4, img_size=32, depth=1) for seed in (0, 1)]
    path = saved(tmp_path / "b.safetensors", deit[0].state_dict())
    model = loaded(path, deit[1], new_head=False, rows=HeadRows([1, 0, 3, 2], 4))
    assert torch.allclose(logits(model), logits(deit[0])[:, [1, 0, 3, 2]], atol=1e-6)
    with pytest.raises(
        UserError, match="the head of the file has 3 outputs, but 5 class names are listed; set 'labels'"
    ):
        loaded(tmp_path / "a.pth", network(7, classes=2), rows=HeadRows([1, 0], 5))


@pytest.mark.parametrize("inner", ["backbone.", "encoder.model."])
def test_a_backbone_with_another_head_gives_its_body_and_a_new_head_or_a_sentence(tmp_path, caplog, inner):
    caplog.set_level(logging.INFO)
    body = {name: tensor for name, tensor in STATE.items() if not name.startswith("fc.")}
    path = saved(tmp_path / "a.pth", {"model": below(inner, body) | {"top.weight": torch.ones(3, 9)}})
    model = loaded(path)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, STATE[name])}
    assert changed == {"fc.weight", "fc.bias"} and "it has no head, so a new one is initialized" in caplog.text
    with pytest.raises(UserError, match=r"does not contain the head of the model \('fc.weight' is missing, .*'top.wei"):
        loaded(path, new_head=False)

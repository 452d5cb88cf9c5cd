"""Weights from files: reading, adapting, and refusing them without running code."""

import os
import pickle

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers import resample_abs_pos_embed

from dreambirds.errors import UserError
from dreambirds.models import MODEL_FILE
from dreambirds.models.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from dreambirds.models.classifier import build, options_for, probe
from tests.helpers.chains import changed, train, weights

pytestmark = pytest.mark.slow

SHAPES = [(32, 32), (32, 64), (160, 160)]


def donor(name: str = "test_resnet", classes: int = 5, seed: int = 1, **options) -> dict[str, torch.Tensor]:
    """Return the weights of a timm model, with batch-norm statistics that differ from a new one's."""
    torch.manual_seed(seed)
    state = timm.create_model(name, num_classes=classes, **options).state_dict()
    return {key: value + 0.25 if "running" in key else value.clone() for key, value in state.items()}


def stored(path, state) -> str:
    """Write weights in the format of the file's suffix, and return the path."""
    if path.suffix == ".safetensors":
        save_file({key: value.contiguous() for key, value in state.items()}, path)
    else:
        torch.save(state, path)
    return str(path)


WRAPS = {
    "a.safetensors": lambda state: state,
    "b.pth": lambda state: state,
    "c.pth": lambda state: {"state_dict": state, "epoch": 3},
    "d.tar": lambda state: {"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}},
    "e.pt": lambda state: {"model": {f"_orig_mod.{key}": value for key, value in state.items()}},
    "f.safetensors": lambda state: {key: v.half() if v.is_floating_point() else v for key, v in state.items()},
    "g.pth": lambda state: {key: v.bfloat16() if v.is_floating_point() else v for key, v in state.items()},
}


@pytest.mark.parametrize("name", WRAPS)
def test_weights_are_read_from_every_supported_format(tmp_path, name):
    given = donor()
    path = stored(tmp_path / name, WRAPS[name](given))
    dtype = {"f": torch.float16, "g": torch.bfloat16}.get(name[0], torch.float32)
    expected = {key: v.to(dtype).float() if v.is_floating_point() else v for key, v in given.items()}
    same = build("test_resnet", 5, {}, path).network.state_dict()
    assert not changed(expected, same) and {v.dtype for v in same.values()} == {torch.float32, torch.int64}
    other = build("test_resnet", 2, {}, path).network
    assert changed(expected, other.state_dict()) == {"fc.weight", "fc.bias"}
    assert other.fc.weight.shape[0] == other.num_classes == 2 and other.fc.weight.abs().max() < 0.2


def test_the_path_may_contain_an_environment_variable(tmp_path, monkeypatch):
    given = donor()
    stored(tmp_path / "a.safetensors", given)
    monkeypatch.setenv("MY_WEIGHTS", str(tmp_path))
    assert not changed(given, build("test_resnet", 5, {}, "$MY_WEIGHTS/a.safetensors").network.state_dict())


def test_a_reinitialized_head_depends_on_torchs_seed(tmp_path):
    path = stored(tmp_path / "a.safetensors", donor())
    heads = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        heads.append(build("test_resnet", 2, {}, path).network.fc.weight)
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])


def test_a_reinitialized_head_is_small(tmp_path):
    head = build("test_efficientnet", 2, {}, stored(tmp_path / "a.pth", donor("test_efficientnet"))).network.classifier
    assert head.weight.shape == (2, 256) and 0.01 < head.weight.std() < 0.1, "timm initializes it with 0.25"


def test_a_file_without_a_head_and_a_model_without_batch_norms_are_accepted(tmp_path):
    headless = {key: value for key, value in donor().items() if not key.startswith("fc.")}
    built = build("test_resnet", 5, {}, stored(tmp_path / "a.safetensors", headless)).network.state_dict()
    assert not changed(headless, {key: built[key] for key in headless})
    given = donor("test_nfnet", 5)
    built = build("test_nfnet", 2, {}, stored(tmp_path / "b.pth", given)).network.state_dict()
    assert changed(given, built) == {"head.fc.weight", "head.fc.bias"}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("half", [False, True])
def test_position_embeddings_are_resampled_as_timm_does(tmp_path, shape, half):
    given = donor("test_vit", 5)
    file = {key: value.half() for key, value in given.items()} if half else given
    path = stored(tmp_path / "vit.safetensors", file)
    classifier = build("test_vit", 2, options_for("test_vit", {}, shape), path)
    probe(classifier, shape, 2)
    patch = classifier.network.patch_embed
    prefix = classifier.network.num_prefix_tokens
    expected = resample_abs_pos_embed(file["pos_embed"].float(), patch.grid_size, num_prefix_tokens=prefix)
    got = classifier.network.state_dict()
    assert got["pos_embed"].shape == (1, shape[0] * shape[1] // 256 + prefix, 64)
    assert torch.allclose(got["pos_embed"], expected, atol=1e-3 if half else 1e-6)
    others = [key for key in got if key not in ("pos_embed", "head.weight", "head.bias")]
    assert all(torch.equal(got[key], file[key].float()) for key in others)


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "levit_128s", "mixer_s16_224", "convnext_atto"])
def test_other_architectures_are_built_for_the_image_size(name):
    classifier = build(name, 2, options_for(name, {}, (64, 96)))
    probe(classifier, (64, 96), 2)


def test_a_checkpoint_of_this_project_can_be_used_as_weights_for_another_size(tmp_path, dataset, run):
    first = train(tmp_path / "first", dataset, run(model="test_vit"), [1])
    info = load_checkpoint(first)[1]
    assert info.model_options == {"img_size": 32} and info.image_size == 32
    second = train(tmp_path / "second", dataset, run(model="test_vit", weights=str(first / MODEL_FILE)), [0])
    assert not changed(weights(first), weights(second))
    larger = build("test_vit", 2, {"img_size": 64}, str(first / MODEL_FILE)).network.state_dict()
    assert changed(weights(first), larger | {"pos_embed": weights(first)["pos_embed"]}) == set()
    assert larger["pos_embed"].shape[1] == 16 + weights(first)["pos_embed"].shape[1] - 4


def test_errors_name_the_section_of_the_config(tmp_path, dataset, run):
    for keys, sentence in (
        (
            {"model_options": {"dept": 3}},
            "model_options: the model 'test_resnet' cannot be built with the options {'dept': 3}",
        ),
        ({"weights": stored(tmp_path / "a.safetensors", donor("test_vit"))}, "weights: '.*' does not fit the model"),
    ):
        for where, section in ((None, "runs.a"), ("judges.a.train", "judges.a.train")):
            with pytest.raises(UserError, match=f"^{section}.{sentence}"):
                train(tmp_path, dataset, run(**keys), [0], where=where)


def test_shared_parameters_are_restored_from_a_checkpoint(tmp_path):
    torch.manual_seed(0)
    options = options_for("coat_tiny", {}, (32, 32))
    classifier = build("coat_tiny", 2, options).eval()
    save_checkpoint(tmp_path / "a", classifier, CheckpointInfo("coat_tiny", options, ["a", "b"], "r", 0, 32))
    again, _ = load_checkpoint(tmp_path / "a")
    assert torch.equal(again(torch.ones(1, 3, 32, 32)), classifier(torch.ones(1, 3, 32, 32)))


@pytest.mark.parametrize("outer", [None, "state_dict"])
@pytest.mark.parametrize("form", ["zip", "old", "raw"])
def test_a_file_that_runs_code_is_refused_and_never_run(tmp_path, outer, form):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "went off"),))

    content = {outer: {"fc.weight": Bomb()}} if outer else {"fc.weight": Bomb()}
    if form == "raw":
        (tmp_path / "x.pth").write_bytes(pickle.dumps(content))
    else:
        torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=form == "zip")
    kind = (
        "is a pickle that torch did not write" if form == "raw" else "is neither a safetensors file nor one that torch"
    )
    with pytest.raises(UserError, match=rf"weights: '.*x\.pth' {kind}"):
        build("test_resnet", 2, {}, str(tmp_path / "x.pth"))
    assert not (tmp_path / "went off").exists()


REFUSED = {
    "list.pth": [torch.zeros(2)],
    "tensor.pth": torch.zeros(2),
    "empty.pth": {},
    "text.pth": {"epoch": 3, "args": "x"},
    "none.pth": {"model": None},
    "numbers.pth": {1: torch.zeros(2)},
    "other.safetensors": {"fc.weight": torch.zeros(2, 3), "stem.weight": torch.zeros(1)},
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_without_the_model_s_weights_is_a_one_line_error(tmp_path, name):
    path = stored(tmp_path / name, REFUSED[name])
    with pytest.raises(UserError, match=r"^weights: '[^\n]*'[^\n]*$") as caught:
        build("test_resnet", 2, {}, path)
    if name in ("empty.pth", "text.pth"):
        assert "does not contain the tensors of a model" in str(caught.value)


def test_weights_of_another_architecture_are_an_error_with_the_first_tensor(tmp_path):
    path = stored(tmp_path / "a.safetensors", donor("test_vit"))
    with pytest.raises(
        UserError, match=r"^weights: '.*' does not fit the model \(\d+ tensors differ, the first is '\w[\w.]*': "
    ):
        build("test_resnet", 5, {}, path)
    for name in ("layer9.weight", "fc.scale"):
        more = donor() | {name: torch.zeros(1)}
        with pytest.raises(UserError, match=rf"1 tensor differs, the first is '{name}': only in the file\)"):
            build("test_resnet", 2, {}, stored(tmp_path / "b.safetensors", more))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("name", ["a.safetensors", "b.pth", "old.pth"])
def test_a_truncated_or_corrupt_file_is_a_one_line_error(tmp_path, name):
    if name == "old.pth":
        torch.save(donor(), tmp_path / name, _use_new_zipfile_serialization=False)
    else:
        stored(tmp_path / name, donor())
    content = (tmp_path / name).read_bytes()
    generator = torch.Generator().manual_seed(0)
    pieces = [content[:length] for length in (0, 1, 9, 100, len(content) // 2, len(content) - 1)]
    for _ in range(60):
        damaged = bytearray(content)
        for index in torch.randint(0, min(20_000, len(content)), (3,), generator=generator).tolist():
            damaged[index] = int(torch.randint(0, 256, (1,), generator=generator))
        pieces.append(bytes(damaged))
    refused = 0
    for piece in pieces:
        (tmp_path / f"x{name}").write_bytes(piece)
        try:
            build("test_resnet", 5, {}, str(tmp_path / f"x{name}"))
        except UserError as error:
            refused += "\n" not in str(error)
    assert refused > 6

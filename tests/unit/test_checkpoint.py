"""Checkpoints: round trip, opening with timm, and errors for corrupt files."""

import json
import pickle
import shutil

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from dreambirds.data.image_io import resize_and_crop, to_tensor
from dreambirds.errors import UserError
from dreambirds.models import CONFIG_FILE, MODEL_FILE
from dreambirds.models.checkpoint import CheckpointInfo, load_checkpoint, read_metadata, save_checkpoint
from dreambirds.models.classifier import build, options_for
from dreambirds.shapes import shape_of
from tests.helpers.small import settled

pytestmark = pytest.mark.slow

LABELS = ["blue_jay", "Grünfink", "wren"]
INFO = CheckpointInfo("test_resnet", {}, LABELS, "run", 3, 32)
WIDE = CheckpointInfo("test_resnet", {"drop_rate": 0.1}, LABELS, "run", 0.25, [32, 48])


@pytest.mark.parametrize("given", [INFO, WIDE])
def test_a_checkpoint_is_read_unchanged_and_the_same_weights_give_the_same_bytes(tmp_path, given):
    classifier = settled(options=given.model_options)
    save_checkpoint(tmp_path / "a", classifier, given)
    save_checkpoint(tmp_path / "b", classifier, given)
    again, info = load_checkpoint(tmp_path / "a")
    save_checkpoint(tmp_path / "c", again, info)
    images = torch.rand(2, 3, 32, 32)
    assert info == given and type(info.epoch) is type(given.epoch) and not again.training
    assert torch.equal(again(images), classifier(images))
    for name in (MODEL_FILE, CONFIG_FILE):
        assert len({(tmp_path / folder / name).read_bytes() for folder in "abc"}) == 1, name
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [CONFIG_FILE, MODEL_FILE]


def test_a_checkpoint_is_loaded_from_its_folder_or_weights_file_without_its_config(tmp_path):
    classifier = settled()
    save_checkpoint(tmp_path / "a", classifier, INFO)
    (tmp_path / "a" / CONFIG_FILE).unlink()
    plain, own = load_file(tmp_path / "a" / MODEL_FILE), classifier.network.state_dict()
    assert plain.keys() == own.keys()
    for path in (tmp_path / "a", str(tmp_path / "a"), tmp_path / "a" / MODEL_FILE, str(tmp_path / "a" / MODEL_FILE)):
        again, info = load_checkpoint(path)
        assert info == read_metadata(path) == INFO
        for name, tensor in again.network.state_dict().items():
            assert (
                torch.equal(tensor, plain[name]) and torch.equal(tensor, own[name]) and tensor.dtype == own[name].dtype
            )
    (tmp_path / "a" / MODEL_FILE).unlink()
    for read in (load_checkpoint, read_metadata):
        with pytest.raises(UserError, match=r"^'.*model\.safetensors' does not exist; run the same command again to "):
            read(tmp_path / "a")


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [("test_resnet", {"drop_rate": 0.1}, 48), ("test_resnet", {}, [32, 48]), ("test_vit", {"qk_norm": True}, [64, 32])]
    + [("test_convnext", {}, 64), ("test_efficientnet.r160_in1k", {}, 160)],
    ids=str,
)
def test_timm_opens_a_checkpoint_and_prepares_photographs_as_training_does(tmp_path, name, options, size):
    height, width = shape_of(size)
    options = options_for(name, options, (height, width))
    classifier = settled(3, name, options, (height, width))
    save_checkpoint(tmp_path / "a", classifier, CheckpointInfo(name, options, LABELS, "run", 3, size))
    network = timm.create_model(f"local-dir:{tmp_path / 'a'}", pretrained=True).eval()
    config, data = network.pretrained_cfg, timm.data.resolve_model_data_config(network)
    assert config["label_names"] == LABELS and network.num_classes == 3
    assert tuple(data["input_size"]) == (3, height, width) and data["crop_pct"] == 1
    images = torch.rand(2, 3, height, width)
    mean, std = (torch.tensor(data[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    pixels = torch.randint(0, 256, (2 * height, 4 * width, 3), dtype=torch.uint8)
    photograph = Image.fromarray(pixels.numpy())
    with torch.no_grad():
        assert torch.equal(network((images - mean) / std), classifier(images))
        seen = network(timm.data.create_transform(**data)(photograph)[None])
        own = classifier(to_tensor(resize_and_crop(photograph, size))[None] / 255)
    assert torch.allclose(seen, own, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("test_maxvit", {"img_size": 64}, 128),
        ("test_resnet", {"pretrained_cfg_overlay": {"mean": [0.25] * 3}, "cache_dir": "/a"}, 32),
    ],
    ids=str,
)
def test_timm_opens_a_checkpoint_with_model_options_or_another_size(tmp_path, name, options, size):
    classifier = settled(3, name, options, (size, size))
    save_checkpoint(tmp_path, classifier, CheckpointInfo(name, options, LABELS, "run", 3, size))
    network = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    mean, std = (torch.tensor(network.pretrained_cfg[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    images = torch.rand(2, 3, size, size)
    with torch.no_grad():
        assert torch.equal(network((images - mean) / std), classifier(images))
    assert "/a" not in (tmp_path / CONFIG_FILE).read_text()


def test_timm_s_config_describes_the_network_and_contains_no_local_path(tmp_path):
    options = {"img_size": [64, 32], "drop_path_rate": 0.5}
    save_checkpoint(
        tmp_path, build("test_vit", 3, options), CheckpointInfo("test_vit", options, LABELS, "run", 3, [64, 32])
    )
    text = (tmp_path / CONFIG_FILE).read_text()
    config = json.loads(text)
    assert config["architecture"] == "test_vit" and config["num_classes"] == 3 and config["label_names"] == LABELS
    assert options.items() <= config["model_args"].items()
    assert config["pretrained_cfg"]["input_size"] == [3, 64, 32]
    assert str(tmp_path) not in text and not {"file", "url", "hf_hub_id"} & config["pretrained_cfg"].keys()


def test_a_truncated_file_a_pickle_and_a_foreign_file_are_refused(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("went off").touch, ())

    save_checkpoint(tmp_path / "good", settled(), INFO)
    for name in ("cut", "pickle", "foreign"):
        shutil.copytree(tmp_path / "good", tmp_path / name)
    content = (tmp_path / "good" / MODEL_FILE).read_bytes()
    (tmp_path / "cut" / MODEL_FILE).write_bytes(content[: len(content) // 2])
    (tmp_path / "pickle" / MODEL_FILE).write_bytes(pickle.dumps(Bomb()))
    save_file({"x": torch.zeros(1)}, tmp_path / "foreign" / MODEL_FILE)
    save_checkpoint(tmp_path / "other", settled(2), INFO)
    for name, sentence in [
        ("cut", r"is corrupt \(Error while deserializing header"),
        ("pickle", r"is corrupt \(Error while deserializing header"),
        ("foreign", r"is not a file of this project \(it has no dreambirds metadata\); delete it and run"),
        ("other", "weights of"),
    ]:
        with pytest.raises(UserError, match=sentence):
            load_checkpoint(tmp_path / name)
    assert not (tmp_path / "went off").exists()

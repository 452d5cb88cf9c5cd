"""Start photographs of other proportions than the network's images, and dreams that do not move."""

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from dreambirds.cli import main
from dreambirds.dream_job.image_files import read_facts
from dreambirds.models.checkpoint import load_tensors, save_tensors
from tests.helpers.dream_bench import parameters
from tests.helpers.one_image import dream, pixels, write_study

SQUARES = """
from torch import nn


class Squares(nn.Sequential):
    def forward(self, images):
        assert images.shape[-1] == images.shape[-2], "only squares"
        return super().forward(images)


def build(num_classes, in_chans):
    return Squares(nn.Conv2d(in_chans, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))
"""


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_study(tmp_path)


def photograph(path, width=60, height=40, orientation=1):
    """Write a photograph of noise, and return its path."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))
    exif = image.getexif()
    exif[ExifTags.Base.Orientation] = orientation
    image.save(path, exif=exif)
    return path


@pytest.mark.parametrize(("orientation", "shape"), [(1, (32, 48)), (6, (48, 32))])
def test_one_dream_keeps_the_proportions_of_its_photograph(study, tmp_path, capsys, orientation, shape):
    start = photograph(tmp_path / "wide.jpg", orientation=orientation)
    dream("--checkpoint", study, "--class", "a", "--preset", "original", "--start", start, "-o", "a.png")
    assert pixels("a.png").shape[:2] == shape and read_facts("a.png")["size"] == list(shape)
    main(["redream", "a.png"])
    out, err = capsys.readouterr()
    assert "all pixels are identical" in out and "cut off" not in err


def test_the_ends_of_a_very_long_photograph_are_cut_off(study, tmp_path, capsys):
    start = photograph(tmp_path / "line.png", 1, 500)
    dream("--checkpoint", study, "--class", "a", "--preset", "original", "--start", start, "--size", 16, "-o", "a.png")
    assert pixels("a.png").shape[:2] == (128, 16)
    assert "line.png' are cut off, because it is more than 8 times as long as wide" in capsys.readouterr().err
    with pytest.raises(SystemExit, match=r"--start: 'https://a/b.jpg' is an address, not a path; download the file"):
        dream("--checkpoint", study, "--class", "a", "--start", "https://a/b.jpg", "-o", "b.png")


def test_another_size_sets_the_shorter_side(study, tmp_path):
    start = ("--start", photograph(tmp_path / "tall.png", 30, 90))
    dream("--checkpoint", study, "--layer", "layer2", *start, "--size", 20, "--set", "octaves=1", "-o", "a.png")
    assert pixels("a.png").shape[:2] == (60, 20)


def test_a_network_of_squares_gets_the_center_of_the_photograph_and_a_line(study, tmp_path, capsys, monkeypatch):
    (tmp_path / "squares.py").write_text(SQUARES)
    monkeypatch.syspath_prepend(str(tmp_path))
    import squares

    torch.save(squares.build(2, 3).state_dict(), tmp_path / "w.pth")
    (tmp_path / "names.txt").write_text("a\nb\n")
    network = ("--model", "squares:build", "--weights", "w.pth", "--names", "names.txt", "--network", "image_size=32")
    start = photograph(tmp_path / "wide.png")
    dream(*network, "--class", "a", "--preset", "original", "--start", start, "-o", "a.png")
    assert pixels("a.png").shape[:2] == (32, 32)
    err = capsys.readouterr().err
    assert "cut off, because the model 'squares:build' does not accept images of 32x48 pixels" in err


def test_a_study_says_once_how_much_of_a_start_photograph_is_cut_off(dreamer, tmp_path):
    start = photograph(tmp_path / "wide.png")
    keys = parameters(start="photograph", start_path=str(start))
    assert dreamer.dreamt(parameters=keys, photographs=dict.fromkeys("abc", start)) == 6
    lines = [text for text in dreamer.caplog.messages if "cut off" in text]
    assert len(lines) == 1 and lines[0].startswith("dreams.recipes.r.start_path: ")
    assert "60x40" not in lines[0] and "has 40x60 pixels (height x width), and its dream has 32x32: 33 %" in lines[0]
    assert lines[0].endswith("set 'dataset.image_size' to [32, 48], or crop the photograph")
    square = photograph(tmp_path / "square.png", 50, 50)
    keys = parameters(start="photograph", start_path=str(square))
    dreamer.dreamt("other", parameters=keys, photographs=dict.fromkeys("abc", square))
    assert "cut off" not in dreamer.caplog.text


def silence(path) -> None:
    """Make the first two channels of the last layer of a checkpoint silent for every image."""
    tensors, metadata = load_tensors(path)
    for name, tensor in tensors.items():
        if name.startswith("layer4.") and name.endswith("bias"):
            tensor[:2] = -1e4
    save_tensors(path, tensors, metadata)


def test_the_log_and_the_metadata_name_dreams_without_a_gradient(study, dreamer, capsys):
    silence(study / "model.safetensors")
    targets = {label: {"layer": "layer4", "channels": {str(index): 1.0}} for index, label in enumerate("xyz")}
    changes = {"checkpoint": study / "model.safetensors", "names": {label: label for label in targets}}
    changes |= {"targets": targets, "parameters": parameters(objective="logit")}
    assert dreamer.dreamt(**changes) == 6
    (line,) = [text for text in dreamer.caplog.messages if "silent" in text]
    assert line.startswith(
        "dreams.recipes.r: 2 dreams did not move towards the target ('x', 'y'), because the gradient is zero"
    )
    stored = [read_facts(dreamer.folder / f"out/{label}/step-0003.png").get("silent") for label in targets]
    assert stored == [True, True, None]
    assert dreamer.dreamt("again", **changes) == 0 and "2 dreams did not move" in dreamer.caplog.text, "also of stored"
    dream("--checkpoint", study, "--layer", "layer4", "--channel", 1, "-o", "a.png")
    assert "1 dream did not move towards the target ('channel:layer4:1')" in capsys.readouterr().err

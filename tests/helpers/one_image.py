"""A study with one tiny checkpoint, and networks in files, for the tests of single images."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from dreambirds.cli import main
from dreambirds.models.classifier import build
from tests.helpers.bench import Bench
from tests.helpers.dream_bench import NAMES, checkpoint

LABELS = list(NAMES)
FAST = ("--size", "32", "--steps", "3", "--threads", "1")


def write_study(root: Path, seed: int = 0, dataset: bool = True) -> Path:
    """Write a checkpoint of a run into ``results/tiny``, with a prepared data set of its classes; return its folder."""
    folder = root / "results/tiny/runs/run/epoch-0001"
    checkpoint(folder, seed)
    if dataset:
        Bench(root / "in", LABELS).prepare("out", image_size=32).rename(root / "results/tiny/dataset")
    return folder


def write_weights(path: Path, classes: int = 3) -> Path:
    """Write the weights of a tiny network as other programs do, without metadata; return the file."""
    torch.manual_seed(1)
    save_file(build("test_resnet", classes, {}).network.state_dict(), path)
    return path


def write_photographs(folder: Path, count: int = 3) -> Path:
    """Write photographs of noise, and return their folder."""
    folder.mkdir()
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 256, (40, 50, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    return folder


def pixels(path: Path) -> np.ndarray:
    """Return the pixels of an image file, (H, W, 3)."""
    return np.asarray(Image.open(path).convert("RGB"))


def dream(*arguments: object) -> None:
    """Run ``dreambirds dream`` with fast settings in this process; later options replace them."""
    main(["dream", *FAST, *map(str, arguments)])

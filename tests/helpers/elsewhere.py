"""Train networks as other people do, on drawn birds, without this project's training."""

from collections.abc import Sequence
from pathlib import Path

import timm
import torch
from timm.utils import CheckpointSaver, ModelEmaV3, update_summary
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from tests.helpers.layouts import BIRDS, save_bird

COUNTS = {"train": 40, "val": 8}
EPOCHS = 4
OWN_MODEL = """\
from torch import nn


def build(num_classes, in_chans=3, width=32):
    layers, before = [], in_chans
    for channels in (width, 2 * width, 2 * width):
        layers += [nn.Conv2d(before, channels, 3, stride=2), nn.BatchNorm2d(channels), nn.ReLU()]
        before = channels
    return nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(before, num_classes))
"""


def write_birds(folder: Path) -> Path:
    """Write drawn birds as PNG files, ``train/<class>/`` and ``val/<class>/``, and return the folder."""
    for part, count in COUNTS.items():
        for label in BIRDS:
            for number in range(count):
                save_bird(folder / part / label / f"{number}.png", label, number + 100 * (part == "val"))
    return folder


def load(birds: Path, part: str, order: Sequence[str]) -> DataLoader:
    """Return the loader of a part of the birds; the images are normalized as timm's test models expect.

    The targets are positions in `order`, the class names.
    """
    scale = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
    images = ImageFolder(birds / part, v2.Compose(scale))
    images.target_transform = [order.index(label) for label in images.classes].__getitem__
    return DataLoader(images, batch_size=8, shuffle=part == "train")


@torch.no_grad()
def accuracy(network: nn.Module, birds: Path, order: Sequence[str]) -> float:
    """Return the share of the validation birds that a network classifies correctly."""
    network.eval()
    right = [network(images).argmax(dim=1) == targets for images, targets in load(birds, "val", order)]
    return float(torch.cat(right).float().mean())


def train_in_a_loop(network: nn.Module, birds: Path, out: Path, order: Sequence[str]) -> list[float]:
    """Train as PyTorch's tutorials do; write ``epoch_<n>.pt`` before and after each epoch, and return the accuracies.

    The outputs of the network are the classes in `order`.
    """
    torch.manual_seed(0)
    out.mkdir(parents=True)
    optimizer, loader = torch.optim.Adam(network.parameters(), lr=0.01), load(birds, "train", order)
    accuracies = []
    for epoch in range(EPOCHS + 1):
        network.train()
        for images, targets in loader if epoch else ():
            loss = nn.functional.cross_entropy(network(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        state = {"model_state_dict": network.state_dict(), "optimizer_state_dict": optimizer.state_dict()}
        torch.save({"epoch": epoch, **state}, out / f"epoch_{epoch}.pt")
        accuracies.append(accuracy(network, birds, order))
    return accuracies


def train_with_timm(birds: Path, out: Path) -> list[float]:
    """Train as timm's train.py does, with EMA weights, and return their accuracies after each epoch."""
    torch.manual_seed(0)
    out.mkdir(parents=True)
    network = timm.create_model("test_resnet", num_classes=len(BIRDS))
    optimizer, loader = torch.optim.Adam(network.parameters(), lr=0.01), load(birds, "train", sorted(BIRDS))
    ema = ModelEmaV3(network, decay=0.8)
    saver = CheckpointSaver(network, optimizer, model_ema=ema, checkpoint_dir=str(out), recovery_dir=str(out))
    accuracies = []
    for epoch in range(EPOCHS):
        network.train()
        for images, targets in loader:
            loss = nn.functional.cross_entropy(network(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            ema.update(network)
        accuracies.append(accuracy(ema.module, birds, sorted(BIRDS)))
        metrics = {"loss": 0.5, "top1": 100 * accuracies[-1], "top5": 100.0}
        update_summary(epoch, {"loss": loss.item()}, metrics, str(out / "summary.csv"), write_header=epoch == 0)
        saver.save_checkpoint(epoch, metric=metrics["top1"])
    return accuracies

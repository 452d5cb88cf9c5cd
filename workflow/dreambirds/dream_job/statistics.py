"""Statistics of training images: the mean spectrum, and each class's mean."""

import math
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
from torchvision.transforms.v2 import functional as v2

from dreambirds.data.dataset import decode
from dreambirds.data.tables import read_images, remedy
from dreambirds.dreaming.parameterization import mean_spectrum
from dreambirds.errors import REBUILD
from dreambirds.models.checkpoint import load_tensors, save_tensors
from dreambirds.shapes import as_size

PIXELS = 64 * 64**2  # per batch


def write_statistics(folder: Path, shape: tuple[int, int], path: Path) -> None:
    """Write the statistics of the prepared data set in `folder`.

    Images are resized to `shape`, (height, width).
    """
    images = read_images(folder)
    images = images[images["split"] == "train"]
    means = {
        label: sum(batch.sum(dim=0) for batch in _batches(folder, rows, shape)) / len(rows)
        for label, rows in images.groupby("label")
    }
    spectrum = mean_spectrum(_batches(folder, images, shape))
    tensors = {"spectrum": spectrum, **{f"mean/{label}": mean for label, mean in means.items()}}
    save_tensors(path, tensors, {"size": as_size(shape)})


def read_statistics(path: Path) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the mean spectrum, and the mean image of each label.

    Shapes are (3, H, W // 2 + 1) and (3, H, W); images are in [0, 1]. Raises UserError if the file is corrupt.
    """
    tensors, _ = load_tensors(path, REBUILD)
    means = {name.removeprefix("mean/"): tensor for name, tensor in tensors.items() if name.startswith("mean/")}
    return tensors["spectrum"], means


def _batches(folder: Path, rows: pd.DataFrame, shape: tuple[int, int]) -> Iterator[torch.Tensor]:
    paths = [folder / path for path in rows["path"]]
    batch = max(1, PIXELS // math.prod(shape))
    for first in range(0, len(paths), batch):
        yield torch.stack([_read(path, shape, remedy(folder)) for path in paths[first : first + batch]])


def _read(path: Path, shape: tuple[int, int], end: str) -> torch.Tensor:
    return v2.resize(decode(path, end).float() / 255, list(shape), antialias=True)

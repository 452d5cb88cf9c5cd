"""What is common to a data set's training pictures: their mean spectrum, and the mean image of each class."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
from torchvision.transforms.v2 import functional as v2

from dreambirds.data.loading import decode
from dreambirds.data.tables import read_images
from dreambirds.dreaming.images import mean_spectrum
from dreambirds.models.checkpoint import load_tensors, save_tensors

PIXELS = 64 * 64**2  # of a batch


def write_statistics(folder: Path, size: int, path: Path) -> None:
    """Write the statistics of the prepared data set in `folder`, its pictures resized to (size, size)."""
    images = read_images(folder)
    images = images[images["split"] == "train"]
    means = {
        label: sum(batch.sum(dim=0) for batch in _batches(folder, rows, size)) / len(rows)
        for label, rows in images.groupby("label")
    }
    spectrum = mean_spectrum(_batches(folder, images, size))
    save_tensors(
        path, {"spectrum": spectrum, **{f"mean/{label}": mean for label, mean in means.items()}}, {"size": size}
    )


def read_statistics(path: Path) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the spectrum (3, size, size // 2 + 1) and each label's mean image (3, size, size) in [0, 1]."""
    tensors, _ = load_tensors(path)
    means = {name.removeprefix("mean/"): tensor for name, tensor in tensors.items() if name.startswith("mean/")}
    return tensors["spectrum"], means


def _batches(folder: Path, rows: pd.DataFrame, size: int) -> Iterator[torch.Tensor]:
    paths = [folder / path for path in rows["path"]]
    batch = max(1, PIXELS // size**2)
    for first in range(0, len(paths), batch):
        yield torch.stack([_read(path, size) for path in paths[first : first + batch]])


def _read(path: Path, size: int) -> torch.Tensor:
    return v2.resize(decode(path).float() / 255, [size, size], antialias=True)

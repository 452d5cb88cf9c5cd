"""Prepared pictures as torch data sets."""

from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import Dataset

from dreambirds.data.photographs import to_tensor
from dreambirds.data.tables import read_images, read_labels
from dreambirds.errors import StudyError


class Pictures(Dataset):
    """The prepared pictures of one part of a data set, decoded once and held in memory as uint8 (N, 3, H, W)."""

    def __init__(self, folder: Path, part: str, transform=None):
        """Read the pictures of `part` (``train`` or ``validation``); `transform` takes and returns a (3, H, W)."""
        rows = read_images(folder)
        rows = rows[rows["split"] == part]
        index = dict(read_labels(folder)[["label", "index"]].itertuples(index=False))
        self.targets = [index[label] for label in rows["label"]]
        self.pictures = torch.stack([decode(folder / path) for path in rows["path"]]) if len(rows) else torch.empty(0)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        picture = self.pictures[number]
        return (picture if self.transform is None else self.transform(picture)), self.targets[number]


def decode(path: Path) -> torch.Tensor:
    """Return a prepared picture as uint8 (3, H, W). Raises StudyError if it can't be read."""
    try:
        with Image.open(path) as picture:
            return to_tensor(picture.convert("RGB"))
    except OSError as error:
        raise StudyError(f"the prepared picture '{path}' can't be read ({error}); delete the dataset folder") from error

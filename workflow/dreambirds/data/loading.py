"""Prepared pictures as torch data sets."""

from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from dreambirds.data.packed import open_packed
from dreambirds.data.photographs import to_tensor
from dreambirds.data.pictures import read_picture
from dreambirds.data.tables import read_images, read_labels
from dreambirds.errors import MAKE_AGAIN


class Pictures(Dataset):
    """The prepared pictures of one part of a data set, read from the file that all jobs and loader processes share."""

    def __init__(self, folder: Path, part: str, transform=None):
        """Open the pictures of `part` (``train`` or ``validation``); `transform` takes and returns a (3, H, W).

        Raises StudyError if ``pictures.npy`` is not that of ``images.csv``, or these are not of ``labels.csv``.
        """
        rows = read_images(folder)
        rows = rows[rows["path"] != ""].reset_index(drop=True)
        self.folder, self.transform, self._digests = folder, transform, list(rows["sha256"])
        rows = rows[rows["split"] == part]
        index = dict(read_labels(folder)[["label", "index"]].itertuples(index=False))
        self.targets = [index[label] for label in rows["label"]]
        self.rows = list(rows.index)
        self.pictures = open_packed(folder, self._digests)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the pictures."""
        return self.pictures.shape[2:]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        picture = torch.from_numpy(np.array(self.pictures[self.rows[number]]))  # a copy, since torch wants to write
        return (picture if self.transform is None else self.transform(picture)), self.targets[number]

    def __getstate__(self) -> dict:
        """Leave the pictures behind: another process opens the file itself."""
        return {**self.__dict__, "pictures": None}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self.pictures = open_packed(self.folder, self._digests)


def decode(path: Path, end: str = MAKE_AGAIN) -> torch.Tensor:
    """Return a saved picture as uint8 (3, H, W). Raises StudyError, with this end, if it can't be read."""
    return to_tensor(read_picture(path, end))

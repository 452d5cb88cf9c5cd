"""Read prepared images: as PNG files, as one packed array, and as a torch data set."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy
from PIL import Image
from torch.utils.data import Dataset

from dreambirds.data.image_io import to_tensor
from dreambirds.data.tables import read_images, read_labels, remedy
from dreambirds.errors import MAKE_AGAIN, UserError, first_line
from dreambirds.io import atomic_write

NAME = "pictures.npy"


def read_picture(path: Path, end: str = MAKE_AGAIN) -> Image.Image:
    """Return a picture as RGB. Raises UserError, whose sentence has this end, if it can't be read."""
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except MemoryError:
        raise
    except Exception as error:  # a damaged file makes decoders fail in many ways
        raise UserError(f"the picture '{path}' can't be read ({first_line(error)}); {end}") from error


@contextmanager
def packing(folder: Path, shape: tuple[int, int]) -> Iterator[Callable[[np.ndarray], None]]:
    """Give a function that appends a picture, uint8 (3, H, W), to the folder's file, which appears when all are in."""
    for left in folder.glob(f".*{Path(NAME).suffix}"):
        left.unlink()  # of a job that was killed
    count = 0
    with atomic_write(folder / NAME) as temporary, temporary.open("wb") as file:
        _write_header(file, count, shape)
        start = file.tell()

        def append(picture: np.ndarray) -> None:
            nonlocal count
            file.write(np.ascontiguousarray(picture, np.uint8).reshape(3, *shape).data)
            count += 1

        yield append
        file.seek(0)
        _write_header(file, count, shape)  # as long as before: NumPy leaves room for the number of pictures to grow
        if file.tell() != start:
            raise RuntimeError("the header of pictures.npy has grown over its pictures")


def open_packed(folder: Path, digests: list[str]) -> np.memmap:
    """Return the folder's pictures, mapped read-only; `digests` are those of the pictures that must be there, in order.

    Raises UserError if the file is not there, cut, or of other pictures; the first and the last are looked at.
    """
    path = folder / NAME
    try:
        pictures = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"'{path}' can't be read ({error}); {remedy(folder)}") from error
    if (
        not isinstance(pictures, np.ndarray)
        or pictures.dtype != np.uint8
        or pictures.ndim != 4
        or pictures.shape[:2] != (len(digests), 3)
    ):
        raise UserError(f"'{path}' does not hold {len(digests)} RGB pictures; {remedy(folder)}")
    for place in {0, len(digests) - 1} if digests else ():
        if sha256(pictures[place].transpose(1, 2, 0).tobytes()).hexdigest() != digests[place]:
            raise UserError(f"'{path}' holds other pictures than images.csv; {remedy(folder)}")
    return pictures


def _write_header(file, count: int, shape: tuple[int, int]) -> None:
    npy.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (count, 3, *shape)})


class Pictures(Dataset):
    """The prepared pictures of one part of a data set, read from the file that all jobs and loader processes share."""

    def __init__(self, folder: Path, part: str, transform=None):
        """Open the pictures of `part` (``train`` or ``validation``); `transform` takes and returns a (3, H, W).

        Raises UserError if ``pictures.npy`` is not that of ``images.csv``, or these are not of ``labels.csv``.
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
    """Return a saved picture as uint8 (3, H, W). Raises UserError, with this end, if it can't be read."""
    return to_tensor(read_picture(path, end))

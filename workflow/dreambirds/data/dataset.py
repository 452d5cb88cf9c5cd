"""Read prepared images: PNG files, one packed array, and a torch data set."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy
from torch.utils.data import Dataset

from dreambirds.data.image_io import to_tensor
from dreambirds.data.images import read_image
from dreambirds.data.tables import read_images, read_labels, remedy
from dreambirds.errors import REBUILD, UserError, counted, reason_of, remedy_for
from dreambirds.io import atomic_write

NAME = "pictures.npy"


@contextmanager
def write_packed(folder: Path, shape: tuple[int, int]) -> Iterator[Callable[[np.ndarray], None]]:
    """Yield a function that appends an image, uint8 (3, H, W), to ``pictures.npy``.

    The file is created in `folder` when the block ends without an exception.
    """
    for stale in folder.glob(f".*{Path(NAME).suffix}"):
        stale.unlink()  # from a killed job
    count = 0
    with atomic_write(folder / NAME) as temporary, temporary.open("wb") as file:
        _write_header(file, count, shape)
        start = file.tell()

        def append(image: np.ndarray) -> None:
            nonlocal count
            file.write(np.ascontiguousarray(image, np.uint8).reshape(3, *shape).data)
            count += 1

        yield append
        file.seek(0)
        _write_header(file, count, shape)  # the same length as before: NumPy pads the header so the shape can grow
        if file.tell() != start:
            raise RuntimeError("the header of pictures.npy overlaps its images")


def open_packed(folder: Path, digests: list[str]) -> np.memmap:
    """Return the images of ``pictures.npy``, uint8 (N, 3, H, W), memory-mapped.

    The array is read-only. `digests` are the sha256 of the expected images, in order. Raises UserError if the file is
    missing, truncated, or contains other images; only the first and the last image are compared.
    """
    path = folder / NAME
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        end = remedy_for(error, remedy(folder))
        raise UserError(f"cannot read '{path}' ({reason_of(error)}); {end}") from error
    if (
        not isinstance(images, np.ndarray)
        or images.dtype != np.uint8
        or images.ndim != 4
        or images.shape[:2] != (len(digests), 3)
    ):
        raise UserError(f"'{path}' does not contain {counted(len(digests), 'RGB image')}; {remedy(folder)}")
    for index in {0, len(digests) - 1} if digests else ():
        if sha256(images[index].transpose(1, 2, 0).tobytes()).hexdigest() != digests[index]:
            raise UserError(f"'{path}' does not contain the images of 'images.csv'; {remedy(folder)}")
    return images


def _write_header(file, count: int, shape: tuple[int, int]) -> None:
    npy.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (count, 3, *shape)})


class PreparedImages(Dataset):
    """The prepared images of one part of a data set, memory-mapped from one file.

    All jobs and loader processes share that file.
    """

    def __init__(self, folder: Path, part: str, transform=None):
        """Open the images of `part`, which is ``train`` or ``validation``.

        `transform` takes and returns a (3, H, W) tensor. Raises UserError if ``pictures.npy`` does not match
        ``images.csv``, or that does not match ``labels.csv``.
        """
        rows = read_images(folder)
        rows = rows[rows["path"] != ""].reset_index(drop=True)
        self.folder, self.transform, self._digests = folder, transform, list(rows["sha256"])
        rows = rows[rows["split"] == part]
        index = dict(read_labels(folder)[["label", "index"]].itertuples(index=False))
        self.targets = [index[label] for label in rows["label"]]
        self.rows = list(rows.index)
        self.images = open_packed(folder, self._digests)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the images."""
        return self.images.shape[2:]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        image = torch.from_numpy(np.array(self.images[self.rows[number]]))  # a copy, since torch needs a writable array
        return (image if self.transform is None else self.transform(image)), self.targets[number]

    def __getstate__(self) -> dict:
        """Exclude the images from pickling: another process opens the file itself."""
        return {**self.__dict__, "images": None}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self.images = open_packed(self.folder, self._digests)


def decode(path: Path, end: str = REBUILD) -> torch.Tensor:
    """Return a saved image as uint8 (3, H, W).

    Raises UserError if it cannot be read; its message ends with `end`.
    """
    return to_tensor(read_image(path, end))

"""All prepared pictures in one file, ``pictures.npy``: uint8 (N, 3, H, W), which jobs map into memory and share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from dreambirds.data.files import atomically
from dreambirds.data.tables import remedy
from dreambirds.errors import StudyError

NAME = "pictures.npy"


@contextmanager
def packing(folder: Path, shape: tuple[int, int]) -> Iterator[Callable[[np.ndarray], None]]:
    """Give a function that appends a picture, uint8 (3, H, W), to the folder's file, which appears when all are in."""
    for left in folder.glob(f".*{Path(NAME).suffix}"):
        left.unlink()  # of a job that was killed
    count = 0
    with atomically(folder / NAME) as temporary, temporary.open("wb") as file:
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

    Raises StudyError if the file is not there, cut, or of other pictures; the first and the last are looked at.
    """
    path = folder / NAME
    try:
        pictures = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise StudyError(f"'{path}' can't be read ({error}); {remedy(folder)}") from error
    if (
        not isinstance(pictures, np.ndarray)
        or pictures.dtype != np.uint8
        or pictures.ndim != 4
        or pictures.shape[:2] != (len(digests), 3)
    ):
        raise StudyError(f"'{path}' does not hold {len(digests)} RGB pictures; {remedy(folder)}")
    for place in {0, len(digests) - 1} if digests else ():
        if sha256(pictures[place].transpose(1, 2, 0).tobytes()).hexdigest() != digests[place]:
            raise StudyError(f"'{path}' holds other pictures than images.csv; {remedy(folder)}")
    return pictures


def _write_header(file, count: int, shape: tuple[int, int]) -> None:
    npy.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (count, 3, *shape)})

"""Distances between images in aligned pixels: small copies are compared at all shifts. Imports no torch."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from dreambirds.data.images import read_image
from dreambirds.data.tables import PARTS, remedy, write_table
from dreambirds.errors import REBUILD, reading
from dreambirds.evaluation.nearest import first_photographs, held_out_table, join_tables
from dreambirds.io import atomic_write
from dreambirds.shapes import in_proportion

SIDE = 32  # pixels of the shorter side of a small copy
SHIFT = 4  # images are shifted by at most one part in four of a side
FLAT = 1 / 12 / 255**2  # variance that rounding to 8 bits adds to a pixel: there is no more in a constant image


class AlignedPhotographs:
    """Photographs (N, H, W, 3) that images of the same shape are compared with, pixel by pixel.

    What each comparison needs of the photographs is computed once.
    """

    def __init__(self, photographs: np.ndarray):
        """Take photographs in any range, such as uint8."""
        self.count, height, width, _ = photographs.shape
        self.most = height // SHIFT, width // SHIFT
        self.padded = height + self.most[0], width + self.most[1]
        self.mask = self._transform(np.ones((height, width)))
        self.overlap = self._slide(self.mask, self.mask)
        self.spectra, self.sums, self.variance = self._prepare(photographs, reverse=True)

    def distances(self, image: np.ndarray) -> np.ndarray:
        """Return the distance of an image (H, W, 3) from each photograph, (N,), from 0 to 2.

        It is 1 minus the highest correlation over all shifts by at most a quarter of a side, of the image and of its
        mirror image. The correlation is Pearson's, over the pixels and colors of the part that both images share; each
        color's mean over that part is subtracted. It is 0 if either part is constant. All shifts are computed with one
        Fourier transform of images padded with zeros (Padfield 2012).
        """
        found = np.stack([self._correlation(view) for view in (image, image[:, ::-1])])
        distances: np.ndarray = 1 - found.max(axis=(0, 2, 3))
        return distances

    def _correlation(self, image: np.ndarray) -> np.ndarray:
        """Return the correlation with each photograph at each shift, (N, 2 Y + 1, 2 X + 1)."""
        spectra, sums, variance = (values[0] for values in self._prepare(image[None], reverse=False))
        products = self._back((spectra * self.spectra.conj()).sum(axis=1))
        covariance = products - (sums * self.sums).sum(axis=1) / self.overlap
        least = FLAT * 3 * self.overlap
        flat = (variance < least) | (self.variance < least)
        return np.where(flat, 0, covariance / np.sqrt(np.maximum(variance, least) * np.maximum(self.variance, least)))

    def _prepare(self, images: np.ndarray, reverse: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the spectra (N, 3, ·, ·) of images, and for each shift the sums (N, 3, ·, ·) of the colors over the
        shared part, and the sum (N, ·, ·) of their squared differences from the mean.

        With `reverse`, the images are those that do not move.
        """
        centered = images.transpose(0, 3, 1, 2) / 255
        centered = centered - centered.mean(axis=(2, 3), keepdims=True)
        spectra, squares = self._transform(centered), self._transform((centered**2).sum(axis=1))
        sums, powers = (
            self._slide(self.mask, values) if reverse else self._slide(values, self.mask)
            for values in (spectra, squares)
        )
        return spectra, sums, powers - (sums**2).sum(axis=1) / self.overlap

    def _transform(self, values: np.ndarray) -> np.ndarray:
        return np.fft.rfft2(values, self.padded)

    def _slide(self, moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
        """Return the sum of products at each shift of two spectra."""
        return self._back(moving * fixed.conj())

    def _back(self, spectrum: np.ndarray) -> np.ndarray:
        down, across = self.most
        shifts = np.ix_(np.arange(-down, down + 1), np.arange(-across, across + 1))
        sums: np.ndarray = np.fft.irfft2(spectrum, self.padded)[(..., *shifts)]
        return sums


def shrink(image: Image.Image, shape: tuple[int, int]) -> np.ndarray:
    """Return an image reduced to (height, width) by averaging areas, uint8 (H, W, 3)."""
    return np.asarray(image.resize(shape[::-1], Image.Resampling.BOX))


def write_small(dataset: Path, small: Path, held_out: Path) -> None:
    """Write small copies of the training photographs of a prepared data set, and the measure of their distances.

    The first file contains the first `MOST` photographs of each class, the second is `held_out_table`. Both are written
    atomically.
    """
    training, others = (first_photographs(dataset, part) for part in PARTS)
    copies = {label: _read_small(dataset, paths) for label, paths in training.items()}
    rows = []
    for label, paths in others.items():
        if label in copies:
            aligned = AlignedPhotographs(copies[label])
            distances = np.stack([aligned.distances(image) for image in _read_small(dataset, paths)])
            rows.append(held_out_table(label, paths, training[label], distances))
    write_table(join_tables(rows), held_out, "%.6g")
    with atomic_write(small) as temporary:
        temporary.write_bytes(save(copies, {"paths": json.dumps(training)}))


def read_small(path: Path) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """Return the small copies (N, H, W, 3) and the paths of each class's photographs, by label.

    Raises UserError if the file cannot be read or is corrupt.
    """
    damage = (SafetensorError, KeyError, TypeError, ValueError)
    with reading(path, REBUILD, damage), safe_open(path, framework="np") as file:
        return {label: file.get_tensor(label) for label in file.keys()}, json.loads(file.metadata()["paths"])


def _read_small(dataset: Path, paths: Sequence[str]) -> np.ndarray:
    images = [read_image(dataset / path, remedy(dataset)) for path in paths]
    shape = in_proportion((images[0].height, images[0].width), SIDE)
    return np.stack([shrink(image, shape) for image in images])

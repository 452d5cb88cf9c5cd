"""Metrics of saved images that need no network: the spectrum, the total variation, and the nearest photograph.

Imports no torch.
"""

import logging
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load, save

from dreambirds.data.images import read_image
from dreambirds.data.tables import read_images, remedy
from dreambirds.dream_job.archive import open_images
from dreambirds.errors import REBUILD, counted, reading
from dreambirds.evaluation.aligned import AlignedPhotographs, read_small, shrink
from dreambirds.evaluation.columns import PIXELS
from dreambirds.evaluation.metric_cache import MetricCache
from dreambirds.evaluation.nearest import MOST, describe_nearest, read_held_out, typical_distances
from dreambirds.io import atomic_write
from dreambirds.plan.dream_table import DREAM

ROUNDING = 1 / 12 / 255**2  # variance that rounding to 8 bits adds to a pixel: the noise floor of the spectrum
log = logging.getLogger(__name__)


def total_variation(image: np.ndarray) -> float:
    """Return the mean absolute difference between neighboring pixels.

    Neighbors are horizontal and vertical. The image is (H, W, 3) in [0, 1]. The result is 0 for a constant image, and
    1/3 on average for independent uniform noise.
    """
    across, down = np.abs(np.diff(image, axis=1)), np.abs(np.diff(image, axis=0))
    return float((across.sum() + down.sum()) / (across.size + down.size))


def radial_spectrum(image: np.ndarray) -> np.ndarray:
    """Return the base-10 logarithm of an image's power by spatial frequency.

    The image is (H, W, 3) in [0, 1]. Value k - 1 is the mean power, over all directions and the three color channels,
    at k cycles per shorter side, for k from 1 to half of the shorter side. The mean is subtracted and a Hann window
    applied, because edges would otherwise count as detail. White noise of unit variance has power 1.
    """
    height, width = image.shape[:2]
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])[..., None]
    windowed = (image - image.mean(axis=(0, 1))) * window
    power = (np.abs(np.fft.fft2(windowed, axes=(0, 1))) ** 2).mean(axis=2) / (window**2).sum()
    side = min(height, width)
    ring = np.rint(side * np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))).astype(int)
    sums, counts = (np.bincount(ring.ravel(), weights)[1 : side // 2 + 1] for weights in (power.ravel(), None))
    return np.log10(sums / counts + ROUNDING)


def spectrum_distance(spectrum: np.ndarray, real: np.ndarray) -> float:
    """Return the RMS difference of two radial spectra, in decades."""
    return float(np.sqrt(np.mean((spectrum - real) ** 2)))


def write_spectra(dataset: Path, path: Path) -> None:
    """Write the mean spectrum of each class's training photographs in a prepared data set. Writes atomically."""
    images, end = read_images(dataset), remedy(dataset)
    images = images[(images["split"] == "train") & (images["path"] != "")]
    spectra = {}
    for label, rows in images.groupby("label"):
        photographs = [read_image(dataset / file, end) for file in rows["path"].head(MOST)]
        spectra[label] = np.mean([radial_spectrum(_as_floats(photograph)) for photograph in photographs], axis=0)
    with atomic_write(path) as temporary:
        temporary.write_bytes(save(spectra))


def read_spectra(path: Path) -> dict[str, np.ndarray]:
    """Return the mean spectrum of each class by label. Raises UserError if the file cannot be read or is corrupt."""
    with reading(path, REBUILD, (SafetensorError,)):
        spectra: dict[str, np.ndarray] = load(path.read_bytes())
    return spectra


@dataclass(frozen=True)
class RealPixels:
    """What the pixels of images are compared with, by label of a class.

    Its mean spectrum, the small copies (N, H, W, 3) of its training photographs, their paths, and the median distance
    of its held-out photographs from the nearest of these.
    """

    spectra: dict[str, np.ndarray]
    small: dict[str, np.ndarray]
    paths: dict[str, list[str]]
    typical: dict[str, float]

    @classmethod
    def read(cls, spectra: Path, small: Path, held_out: Path) -> "RealPixels":
        """Return the contents of the files of `write_spectra` and `write_small`. Raises UserError if one is corrupt."""
        return cls(read_spectra(spectra), *read_small(small), typical_distances(read_held_out(held_out)))

    def facts(self) -> dict:
        """Return what determines all comparisons with an image, as JSON data."""
        spectra = {label: spectrum.tolist() for label, spectrum in self.spectra.items()}
        small = {label: sha256(copies.tobytes()).hexdigest() for label, copies in self.small.items()}
        return {"spectra": spectra, "small": small, "paths": self.paths, "typical": self.typical}


def measure_saved(views: pd.DataFrame, real: RealPixels, code: str) -> pd.DataFrame:
    """Return one row per image of a dream job, with the columns of `DREAM`, ``view``, and `PIXELS`.

    `views` has the columns of `columns.list_views`. Images are compared with the photographs of their class. `code` is
    a digest of the code. Images that were measured before are not opened again. Raises UserError if an image cannot be
    read.
    """
    cache = MetricCache({**real.facts(), "code": code}, [str(value) for value in views[DREAM[:3]].iloc[0]])
    keys = views["sha256"] + " " + views["label"]
    missing = views.assign(key=keys)[cache.missing(keys)].drop_duplicates("key")
    if len(missing):
        tables = [_measure_class(rows, real, label) for label, rows in missing.groupby("label", sort=False)]
        cache.add(pd.concat(tables))
    log.info("measured %s, %d of them from the cache", counted(len(views), "image"), len(views) - len(missing))
    return views[[*DREAM, "view"]].join(cache.rows.loc[keys, PIXELS].reset_index(drop=True))


def _measure_class(views: pd.DataFrame, real: RealPixels, label: str) -> pd.DataFrame:
    """Return the metrics `PIXELS` of images of one class, indexed by their ``key``.

    Metrics of the variants of a target are means over these. The nearest photographs are those with the smallest mean
    distance. Without photographs of the class, only the total variation is measured.
    """
    if label not in real.small:
        alone = [
            np.mean([total_variation(_as_floats(image)) for image in open_images(picture)])
            for picture in views["picture"]
        ]
        return pd.DataFrame({"total_variation": alone}, index=views["key"]).reindex(columns=PIXELS)
    photographs, shape = AlignedPhotographs(real.small[label]), real.small[label].shape[1:3]
    rows = []
    for view in views.itertuples():
        images = open_images(view.picture)
        distances = np.mean([photographs.distances(shrink(image, shape)) for image in images], axis=0)
        nearest = describe_nearest(distances, real.paths[label], real.typical.get(label))
        measured = np.mean([_measure(_as_floats(image), real.spectra[label]) for image in images], axis=0)
        rows.append([*measured, *nearest])
    return pd.DataFrame(rows, columns=PIXELS, index=views["key"])


def _measure(image: np.ndarray, real: np.ndarray) -> list[float]:
    spectrum = radial_spectrum(image)
    # a dream of a different size has different frequencies; only common ones are compared
    common = min(len(spectrum), len(real))
    return [spectrum_distance(spectrum[:common], real[:common]), total_variation(image)]


def _as_floats(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.float64) / 255

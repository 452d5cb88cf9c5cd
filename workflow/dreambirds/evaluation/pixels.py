"""Metrics of saved images that need no network: the spectrum, and the total variation. Imports no torch."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load, save

from dreambirds.data.images import read_image
from dreambirds.data.tables import read_images, remedy
from dreambirds.dream_job.archive import open_image
from dreambirds.errors import REBUILD, counted, reading
from dreambirds.evaluation.columns import PIXELS
from dreambirds.evaluation.metric_cache import MetricCache
from dreambirds.io import atomic_write
from dreambirds.plan.dream_table import DREAM

ROUNDING = 1 / 12 / 255**2  # variance that rounding to 8 bits adds to a pixel: the noise floor of the spectrum
MOST = 100  # photographs per class for its mean spectrum
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


def measure_saved(views: pd.DataFrame, real: dict[str, np.ndarray], code: str) -> pd.DataFrame:
    """Return one row per image of a dream job, with the columns of `DREAM`, ``view``, and `PIXELS`.

    `views` has the columns of `columns.list_views`. Distances are to the spectrum of the class in `real`. `code` is a
    digest of the code. Images that were measured before are not opened again. Raises UserError if an image cannot be
    read.
    """
    facts = {"spectra": {label: spectrum.tolist() for label, spectrum in real.items()}, "code": code}
    cache = MetricCache(facts, [str(value) for value in views[DREAM[:3]].iloc[0]])
    keys = views["sha256"] + " " + views["label"]
    missing = views.assign(key=keys)[cache.missing(keys)].drop_duplicates("key")
    if len(missing):
        rows = [_measure(_as_floats(open_image(row.picture)), real[row.label]) for row in missing.itertuples()]
        cache.add(pd.DataFrame(rows, columns=PIXELS, index=missing["key"]))
    log.info("measured %s, %d of them from the cache", counted(len(views), "image"), len(views) - len(missing))
    return views[[*DREAM, "view"]].join(cache.rows.loc[keys, PIXELS].reset_index(drop=True))


def _measure(image: np.ndarray, real: np.ndarray) -> list[float]:
    spectrum = radial_spectrum(image)
    # a dream of a different size has different frequencies; only common ones are compared
    common = min(len(spectrum), len(real))
    return [spectrum_distance(spectrum[:common], real[:common]), total_variation(image)]


def _as_floats(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.float64) / 255

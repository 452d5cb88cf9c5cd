"""Metrics of saved images, which need no network. Imports no torch."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from dreambirds.data.images import read_image
from dreambirds.data.tables import read_images, remedy
from dreambirds.dream_job.archive import open_image
from dreambirds.errors import counted
from dreambirds.evaluation.columns import PIXELS
from dreambirds.evaluation.metric_cache import MetricCache

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


def measure_saved(views: pd.DataFrame, dataset: Path, code: str) -> pd.DataFrame:
    """Return the columns of `PIXELS` for the images of `views`, in their order.

    `views` has the columns ``picture``, ``sha256`` and ``label``. Distances are to the mean spectrum of the class's
    training photographs in the prepared data set. `code` is a digest of the code. Images that were measured before are
    not opened again. Raises UserError if an image cannot be read.
    """
    real = _real_spectra(dataset)
    facts = {"dataset": {label: spectrum.tolist() for label, spectrum in real.items()}, "code": code}
    cache = MetricCache(facts)
    keys = views["sha256"] + " " + views["label"]
    missing = views.assign(key=keys)[cache.missing(keys)].drop_duplicates("key")
    if len(missing):
        progress = tqdm(missing.itertuples(), "measure", len(missing))
        rows = [_measure(_as_floats(open_image(row.picture)), real[row.label]) for row in progress]
        cache.add(pd.DataFrame(rows, columns=PIXELS, index=missing["key"]))
    measured = counted(len(views), "image")
    log.info("measured %s, %d of them from the cache", measured, len(views) - len(missing))
    return cache.rows.loc[keys, PIXELS].reset_index(drop=True)


def _real_spectra(dataset: Path) -> dict[str, np.ndarray]:
    images = read_images(dataset)
    images = images[(images["split"] == "train") & (images["path"] != "")]
    end = remedy(dataset)
    return {
        label: np.mean(
            [radial_spectrum(_as_floats(read_image(dataset / path, end))) for path in rows["path"].head(MOST)], axis=0
        )
        for label, rows in images.groupby("label")
    }


def _measure(image: np.ndarray, real: np.ndarray) -> list[float]:
    spectrum = radial_spectrum(image)
    # a dream of a different size has different frequencies; only common ones are compared
    common = min(len(spectrum), len(real))
    return [spectrum_distance(spectrum[:common], real[:common]), total_variation(image)]


def _as_floats(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.float64) / 255

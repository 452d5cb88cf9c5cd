"""Metrics of a judge's outputs and features, and of saved images."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional
from tqdm import tqdm

from dreambirds.data.dataset import read_image
from dreambirds.data.tables import read_images, remedy
from dreambirds.errors import REBUILD, counted, reason_of
from dreambirds.evaluation.columns import PIXELS
from dreambirds.io import atomic_write, digest_of, store_root

ROUNDING = 1 / 12 / 255**2  # variance that rounding to 8 bits adds to a pixel: the noise floor of the spectrum
MOST = 100  # photographs per class for its mean spectrum
log = logging.getLogger(__name__)


def classification_metrics(logits: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return metrics of logits (N, C) for the classes `targets` (N,).

    They are the softmax ``probability`` of the target, its ``rank`` (1 is the highest; classes with an equal logit rank
    before it) and ``first``, the index of the predicted class, each of shape (N,).
    """
    own = logits.gather(1, targets[:, None])
    others = torch.arange(logits.shape[1], device=logits.device) != targets[:, None]
    return {
        "probability": functional.softmax(logits.double(), dim=1).gather(1, targets[:, None])[:, 0],
        "rank": 1 + ((logits >= own) & others).sum(dim=1),
        "first": logits.argmax(dim=1),
    }


def cosine_distance(features: torch.Tensor, center: torch.Tensor) -> torch.Tensor:
    """Return the cosine distance of features (N, D) from (D,) or (N, D).

    0 is the same direction, 1 unrelated, 2 opposite.
    """
    return 1 - functional.cosine_similarity(features.double(), center.double(), dim=-1)


def mean_cosine_similarity(features: torch.Tensor) -> torch.Tensor:
    """Return each image's mean cosine similarity to all others.

    The shape is (N,), from features (N, D). The result is NaN for a single image.
    """
    unit = functional.normalize(features.double(), dim=1)
    cosines = unit @ unit.T
    others = cosines.sum(dim=1) - cosines.diagonal()
    return others / (len(features) - 1) if len(features) > 1 else cosines[0] * torch.nan


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

    `views` has the columns ``path``, ``sha256`` and ``label``. Distances are to the mean spectrum of the class's
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
        rows = [_measure(Path(row.path), real[row.label]) for row in progress]
        cache.add(pd.DataFrame(rows, columns=PIXELS, index=missing["key"]))
        cache.save()
    measured = counted(len(views), "image")
    log.info("measured %s, %d of them from the cache", measured, len(views) - len(missing))
    return cache.rows.loc[keys, PIXELS].reset_index(drop=True)


def _real_spectra(dataset: Path) -> dict[str, np.ndarray]:
    images = read_images(dataset)
    images = images[(images["split"] == "train") & (images["path"] != "")]
    end = remedy(dataset)
    return {
        label: np.mean([radial_spectrum(_read(dataset / path, end)) for path in rows["path"].head(MOST)], axis=0)
        for label, rows in images.groupby("label")
    }


def _measure(path: Path, real: np.ndarray) -> list[float]:
    image = _read(path)
    spectrum = radial_spectrum(image)
    # a dream of a different size has different frequencies; only common ones are compared
    common = min(len(spectrum), len(real))
    return [spectrum_distance(spectrum[:common], real[:common]), total_variation(image)]


def _read(path: Path, end: str = REBUILD) -> np.ndarray:
    return np.asarray(read_image(path, end), dtype=np.float64) / 255


class MetricCache:
    """A file of metrics by image key.

    Its name is a digest of everything else that determines the metrics.
    """

    def __init__(self, facts: dict):
        """Load the cached metrics for `facts`."""
        self.path = store_root() / "judged" / f"{digest_of(facts)[:32]}.csv"
        self.rows = _read_cache(self.path)

    def missing(self, keys: pd.Series) -> pd.Series:
        """Return a mask of the keys that are not in the cache."""
        return ~keys.isin(self.rows.index)

    def add(self, rows: pd.DataFrame) -> None:
        """Add metrics, one row per image, indexed by key."""
        self.rows = pd.concat([self.rows, rows]) if len(self.rows) else rows

    def save(self) -> None:
        """Write the metrics to the file, merged with those of other jobs.

        Log a warning if this fails.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            theirs = _read_cache(self.path)
            merged = pd.concat([theirs[~theirs.index.isin(self.rows.index)], self.rows]) if len(theirs) else self.rows
            with atomic_write(self.path) as temporary:
                merged.to_csv(temporary, index_label="key")
        except OSError as error:
            message = "cannot write to '%s' (%s); other studies will measure these images again"
            log.warning(message, self.path.parent, reason_of(error))


def _read_cache(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, index_col="key", dtype={"key": str})
    except (OSError, ValueError):  # missing or corrupt: measured again
        return pd.DataFrame()

"""Metrics of dreams: of the judge's outputs and features, and of the saved images."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional
from tqdm import tqdm

from dreambirds.data.dataset import read_picture
from dreambirds.data.tables import read_images, remedy
from dreambirds.errors import MAKE_AGAIN
from dreambirds.evaluation.columns import PIXELS
from dreambirds.io import atomic_write, digest_of, store_root

ROUNDING = 1 / 12 / 255**2  # variance that rounding to 8 bits adds to a pixel; less power than that is not seen
MOST = 100  # photographs a class that make its mean spectrum
log = logging.getLogger(__name__)


def classification_metrics(logits: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return what logits (N, C) say of the classes `targets` (N,): each of shape (N,).

    ``probability`` of the target by softmax, its ``rank`` (1 is first; equal ones come before it) and the class that
    comes ``first``.
    """
    own = logits.gather(1, targets[:, None])
    others = torch.arange(logits.shape[1], device=logits.device) != targets[:, None]
    return {
        "probability": functional.softmax(logits.double(), dim=1).gather(1, targets[:, None])[:, 0],
        "rank": 1 + ((logits >= own) & others).sum(dim=1),
        "first": logits.argmax(dim=1),
    }


def cosine_distance(features: torch.Tensor, center: torch.Tensor) -> torch.Tensor:
    """Return the cosine distance (0 same direction, 1 unrelated, 2 opposite) of features (N, D) from (D,) or (N, D)."""
    return 1 - functional.cosine_similarity(features.double(), center.double(), dim=-1)


def mean_cosine_similarity(features: torch.Tensor) -> torch.Tensor:
    """Return each picture's mean cosine similarity to all others of a set, (N,) from features (N, D); NaN if alone."""
    unit = functional.normalize(features.double(), dim=1)
    alike = unit @ unit.T
    return (alike.sum(dim=1) - alike.diagonal()) / (len(features) - 1) if len(features) > 1 else alike[0] * torch.nan


def total_variation(picture: np.ndarray) -> float:
    """Return the mean absolute difference between neighbours, across and down, of a picture (H, W, 3) in [0, 1].

    0 is constant, 1/3 is what independent uniform noise comes to on average.
    """
    across, down = np.abs(np.diff(picture, axis=1)), np.abs(np.diff(picture, axis=0))
    return float((across.sum() + down.sum()) / (across.size + down.size))


def radial_spectrum(picture: np.ndarray) -> np.ndarray:
    """Return the logarithm (base 10) of the power of a picture (H, W, 3) in [0, 1], one value a spatial frequency.

    Value k - 1 is the mean power, over all directions and the three colours, of k cycles a shorter side, for k from 1
    to half of the shorter side. A picture loses its mean and is faded out at its edges (Hann), which would else count
    as detail; 1 is the power of white noise of unit variance.
    """
    height, width = picture.shape[:2]
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])[..., None]
    faded = (picture - picture.mean(axis=(0, 1))) * window
    power = (np.abs(np.fft.fft2(faded, axes=(0, 1))) ** 2).mean(axis=2) / (window**2).sum()
    side = min(height, width)
    ring = np.rint(side * np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))).astype(int)
    sums, counts = (np.bincount(ring.ravel(), weights)[1 : side // 2 + 1] for weights in (power.ravel(), None))
    return np.log10(sums / counts + ROUNDING)


def spectrum_distance(spectrum: np.ndarray, real: np.ndarray) -> float:
    """Return how far a radial spectrum lies from another, as the root mean square over frequencies, in decades."""
    return float(np.sqrt(np.mean((spectrum - real) ** 2)))


def measure_saved(views: pd.DataFrame, dataset: Path, code: str) -> pd.DataFrame:
    """Return the columns of `PIXELS` for the pictures of `views`, in their order; its ``path`` and ``sha256`` count.

    Distances are from the mean spectrum of the class's training photographs in the prepared data set. `code` is what
    the measurements depend on beside these. Pictures that were measured before are not opened again. Raises UserError
    if a picture can't be read.
    """
    real = _real_spectra(dataset)
    facts = {"dataset": {label: spectrum.tolist() for label, spectrum in real.items()}, "code": code}
    memory = MetricCache(facts)
    keys = views["sha256"] + " " + views["label"]
    unseen = views.assign(key=keys)[memory.missing(keys)].drop_duplicates("key")
    if len(unseen):
        rows = [_measure(Path(row.path), real[row.label]) for row in tqdm(unseen.itertuples(), "measure", len(unseen))]
        memory.learn(pd.DataFrame(rows, columns=PIXELS, index=unseen["key"]))
        memory.keep()
    log.info("%d pictures measured, %d of them before", len(views), len(views) - len(unseen))
    return memory.known.loc[keys, PIXELS].reset_index(drop=True)


def _real_spectra(dataset: Path) -> dict[str, np.ndarray]:
    images = read_images(dataset)
    images = images[(images["split"] == "train") & (images["path"] != "")]
    end = remedy(dataset)
    return {
        label: np.mean([radial_spectrum(_read(dataset / path, end)) for path in rows["path"].head(MOST)], axis=0)
        for label, rows in images.groupby("label")
    }


def _measure(path: Path, real: np.ndarray) -> list[float]:
    picture = _read(path)
    spectrum = radial_spectrum(picture)
    # a dream of another size has other frequencies: those that both have are compared
    common = min(len(spectrum), len(real))
    return [spectrum_distance(spectrum[:common], real[:common]), total_variation(picture)]


def _read(path: Path, end: str = MAKE_AGAIN) -> np.ndarray:
    return np.asarray(read_picture(path, end), dtype=np.float64) / 255


class MetricCache:
    """Measurements by a key a picture; the facts that decide them, but for the picture, name the file."""

    def __init__(self, facts: dict):
        """Take up what is known under these facts."""
        self.path = store_root() / "judged" / f"{digest_of(facts)[:32]}.csv"
        self.known = _read_cache(self.path)

    def missing(self, keys: pd.Series) -> pd.Series:
        """Tell of each key whether nothing is known under it."""
        return ~keys.isin(self.known.index)

    def learn(self, rows: pd.DataFrame) -> None:
        """Take measurements up, a row each; the index holds the keys."""
        self.known = pd.concat([self.known, rows]) if len(self.known) else rows

    def keep(self) -> None:
        """Write down what is known, beside what other jobs have learnt; where that can't be, say so."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            theirs = _read_cache(self.path)
            whole = pd.concat([theirs[~theirs.index.isin(self.known.index)], self.known]) if len(theirs) else self.known
            with atomic_write(self.path) as temporary:
                whole.to_csv(temporary, index_label="key")
        except OSError as error:
            log.warning("measurements can't be kept for other studies in '%s' (%s)", self.path.parent, error.strerror)


def _read_cache(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, index_col="key", dtype={"key": str})
    except (OSError, ValueError):  # gone or damaged: measured again
        return pd.DataFrame()

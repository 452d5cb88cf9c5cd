"""What saved pictures tell by themselves: how rough they are, and how far their spectrum lies from real ones'."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from dreambirds.data.pictures import read_picture
from dreambirds.data.tables import read_images, remedy
from dreambirds.errors import MAKE_AGAIN
from dreambirds.judging.columns import PIXELS
from dreambirds.judging.memory import Memory
from dreambirds.judging.pixels import radial_spectrum, spectrum_distance, total_variation

MOST = 100  # photographs a class that make its mean spectrum
log = logging.getLogger(__name__)


def measure_saved(views: pd.DataFrame, dataset: Path, code: str) -> pd.DataFrame:
    """Return the columns of `PIXELS` for the pictures of `views`, in their order; its ``path`` and ``sha256`` count.

    Distances are from the mean spectrum of the class's training photographs in the prepared data set. `code` is what
    the measurements depend on beside these. Pictures that were measured before are not opened again. Raises StudyError
    if a picture can't be read.
    """
    real = _real_spectra(dataset)
    facts = {"dataset": {label: spectrum.tolist() for label, spectrum in real.items()}, "code": code}
    memory = Memory(facts)
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

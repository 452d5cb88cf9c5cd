"""The training photographs that an image is nearest to. Imports no torch.

The measure is the same distance for held-out photographs: how near a real photograph that no network was trained on is
to the training photographs of its class.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dreambirds.data.tables import read_images, read_table

MOST = 100  # photographs per class and split
LISTED = 3  # nearest photographs that are listed
SMALLEST = 1e-12  # norm of a feature vector, so that a zero vector has a direction
SAME = 1e-6  # distance below which held-out and training photographs are the same, up to rounding
HELD_OUT = ["label", "path", "nearest", "distance"]


def cosine_distances(features: np.ndarray, photographs: np.ndarray) -> np.ndarray:
    """Return the cosine distance of features (D,) from those of each photograph (N, D), as (N,)."""
    vectors = np.vstack([features, photographs]).astype(np.float64)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), SMALLEST)
    distances: np.ndarray = 1 - unit[1:] @ unit[0]
    return distances


def first_photographs(dataset: Path, part: str) -> dict[str, list[str]]:
    """Return the paths of the first `MOST` photographs of each class in ``train`` or ``validation``, by label."""
    images = read_images(dataset)
    images = images[(images["split"] == part) & (images["path"] != "")]
    return {str(label): list(rows["path"].head(MOST)) for label, rows in images.groupby("label", sort=False)}


def held_out_table(label: str, held_out: Sequence[str], training: Sequence[str], distances: np.ndarray) -> pd.DataFrame:
    """Return one row per held-out photograph of a class: its nearest training photograph, and their distance.

    `distances` (M, N) are those of the M held-out photographs from the N training photographs. The columns are
    `HELD_OUT`.
    """
    nearest = distances.argmin(axis=1)
    rows = {"label": label, "path": held_out, "nearest": [training[index] for index in nearest]}
    return pd.DataFrame({**rows, "distance": distances.min(axis=1)}, columns=HELD_OUT)


def join_tables(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of several tables of held-out photographs, of which there may be none."""
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=HELD_OUT)


def read_held_out(path: Path) -> pd.DataFrame:
    """Return a table of held-out photographs, with the columns `HELD_OUT`. Raises UserError if it cannot be read."""
    return read_table(path, text=HELD_OUT[:3], rows=pd.DataFrame(columns=HELD_OUT))


def typical_distances(held_out: pd.DataFrame) -> dict[str, float]:
    """Return the median distance of the held-out photographs of each class, by label."""
    medians = held_out.groupby("label")["distance"].median()
    return {str(label): float(median) for label, median in medians.items()}


def describe_nearest(distances: np.ndarray, paths: Sequence[str], typical: float | None) -> tuple[str, float, float]:
    """Return the nearest photographs, the distance of the nearest one, and its ratio to a typical distance.

    The photographs are a JSON object that maps the paths of the `LISTED` nearest to their distances, nearest first. The
    ratio is NaN if `typical` is None, or 0 up to rounding.
    """
    order = np.argsort(distances, kind="stable")[:LISTED]
    found = {paths[index]: float(f"{max(0.0, distances[index]):.6g}") for index in order}
    distance = float(distances[order[0]])
    return json.dumps(found), distance, distance / typical if typical is not None and typical > SAME else np.nan

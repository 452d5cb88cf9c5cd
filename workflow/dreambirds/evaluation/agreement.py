"""The agreement of dreams that differ only in their seed, from a judge's features. Imports no torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load, save

from dreambirds.errors import REBUILD, reading
from dreambirds.io import atomic_write

SMALLEST = 1e-12  # norm of a feature vector, so that a zero vector has a direction
SAME_DREAM = ["label", "step", "view"]  # equal for the dreams of a family that are compared


def write_features(features: np.ndarray, path: Path) -> None:
    """Write the features (N, D) of the rows of a judge's table. Writes atomically."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(save({"features": np.ascontiguousarray(features, np.float32)}))


def read_features(path: Path, rows: int) -> np.ndarray:
    """Return the features (N, D) of the `rows` rows of a judge's table.

    Raises UserError if the file cannot be read, is corrupt, or has another number of rows.
    """
    with reading(path, REBUILD, (SafetensorError, KeyError, ValueError)):
        features: np.ndarray = load(path.read_bytes())["features"]
        if len(features) != rows:
            raise ValueError(f"it has {len(features)} rows instead of {rows}")
    return features


def seed_agreement(tables: Sequence[pd.DataFrame], features: Sequence[Path], families: Mapping[str, str]) -> pd.Series:
    """Return each judged image's mean cosine similarity to those of the other seeds, in the order of the rows.

    `tables` are the tables of judge jobs, each with one run, epoch and recipe, and `features` the files with the
    features of their rows. `families` maps all recipes that differ only in their seed to the same text. The similarity
    is NaN for a dream without another seed. Raises UserError if a file cannot be read.
    """
    positions = np.cumsum([0, *map(len, tables)])
    agreement = np.full(positions[-1], np.nan)
    members: dict[tuple, list[int]] = {}
    for number, table in enumerate(tables):
        if len(table):
            first = table.iloc[0]
            members.setdefault((first["judge"], first["run"], first["epoch"], families[first["recipe"]]), []).append(
                number
            )
    for numbers in members.values():
        if len({tables[number]["recipe"].iloc[0] for number in numbers}) > 1:
            rows = pd.concat([tables[number] for number in numbers], ignore_index=True)
            vectors = np.concatenate([read_features(features[number], len(tables[number])) for number in numbers])
            if not vectors.shape[1]:  # people have no features
                continue
            found = mean_similarity(vectors, rows.groupby(SAME_DREAM, sort=False).ngroup().to_numpy())
            where = np.concatenate([np.arange(positions[number], positions[number + 1]) for number in numbers])
            agreement[where] = found
    return pd.Series(agreement)


def mean_similarity(features: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the mean cosine similarity of each row of `features` (N, D) to the other rows of its group, (N,).

    `groups` contains the number of each row's group, from 0. The result is NaN for a row that is alone in its group.
    """
    vectors = features.astype(np.float64)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), SMALLEST)
    sums = np.zeros((groups.max() + 1, features.shape[1]))
    np.add.at(sums, groups, unit)
    others = np.bincount(groups)[groups] - 1
    similarity = np.einsum("ij,ij->i", unit, sums[groups] - unit)
    return np.where(others > 0, similarity / np.maximum(others, 1), np.nan)

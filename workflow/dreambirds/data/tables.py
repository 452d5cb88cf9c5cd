"""The two tables of a prepared data set."""

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from dreambirds.data.files import atomically
from dreambirds.data.labels import Label

WORDS = ("run", "recipe", "label", "name", "judge", "sees", "own_sees", "judge_sees", "judge_sees_rescaled")
WORDS += ("checkpoint_sha256", "weights_sha256")  # a digest of digits only is no number
IMAGE_COLUMNS = ["path", "label", "split", "sha256", "size", "source", "problem", "duplicate_of"]


def read_images(folder: Path) -> pd.DataFrame:
    """Return ``images.csv``: one row a picture, with empty strings where there is no value."""
    return pd.read_csv(folder / "images.csv", dtype=str, keep_default_na=False)


def read_labels(folder: Path) -> pd.DataFrame:
    """Return ``labels.csv``: index, label, name, and the numbers of pictures that train and validate."""
    return pd.read_csv(folder / "labels.csv", dtype={"label": str, "name": str}, keep_default_na=False)


def read_table(path: Path, words: Collection[str] = WORDS) -> pd.DataFrame:
    """Return a table of dreams or judgements; columns of words stay text, whatever they look like."""
    numbers = [column for column in pd.read_csv(path, nrows=0) if column not in words]
    empty = {column: [""] for column in numbers}
    return pd.read_csv(path, dtype=dict.fromkeys(words, str), keep_default_na=False, na_values=empty)


def label_table(images: pd.DataFrame, labels: list[Label]) -> pd.DataFrame:
    """Return ``labels.csv`` for the rows of the pictures that were prepared."""
    counts = pd.crosstab(images["label"], images["split"])
    table = pd.DataFrame({"index": range(len(labels)), "label": [label.label for label in labels]})
    table["name"] = [label.name for label in labels]
    for part in ("train", "validation"):
        column = counts[part] if part in counts else pd.Series(dtype=int)
        table[part] = table["label"].map(column).fillna(0).astype(int)
    return table


def write_table(table: pd.DataFrame, path: Path, float_format: str | None = None) -> None:
    """Write a table without its index, whole or not at all."""
    with atomically(path) as temporary:
        table.to_csv(temporary, index=False, float_format=float_format)


def example_pictures(folder: Path) -> dict[str, Path]:
    """Return one prepared picture of each label: the first that validates, or that trains if none does."""
    images = read_images(folder)
    images = images[images["path"] != ""].sort_values("split", ascending=False, kind="stable")
    return {label: folder / path for label, path in images.groupby("label")["path"].first().items()}

"""The two tables of a prepared data set."""

from pathlib import Path

import pandas as pd


def read_images(folder: Path) -> pd.DataFrame:
    """Return ``images.csv``: one row a picture, with empty strings where there is no value."""
    return pd.read_csv(folder / "images.csv", dtype=str, keep_default_na=False)


def read_labels(folder: Path) -> pd.DataFrame:
    """Return ``labels.csv``: index, label, name, and the numbers of pictures that train and validate."""
    return pd.read_csv(folder / "labels.csv", dtype={"label": str, "name": str}, keep_default_na=False)


def example_pictures(folder: Path) -> dict[str, Path]:
    """Return one prepared picture of each label: the first that validates, or that trains if none does."""
    images = read_images(folder)
    images = images[images["path"] != ""].sort_values("split", ascending=False, kind="stable")
    return {label: folder / path for label, path in images.groupby("label")["path"].first().items()}

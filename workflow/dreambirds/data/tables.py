"""The two tables of a prepared data set."""

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from dreambirds.data.files import atomically
from dreambirds.data.labels import Label
from dreambirds.errors import StudyError, first_line

WORDS = ("run", "recipe", "label", "name", "judge", "sees", "own_sees", "judge_sees", "judge_sees_rescaled")
WORDS += ("checkpoint_sha256", "weights_sha256")  # a digest of digits only is no number
IMAGE_COLUMNS = ["path", "label", "split", "sha256", "size", "source", "problem", "duplicate_of"]
LABEL_COLUMNS = ["index", "label", "name", "train", "validation"]
PICTURE = r"images/[\w-]+/\w+\.png"


def read_images(folder: Path) -> pd.DataFrame:
    """Return ``images.csv``: one row a picture, with empty strings where there is no value.

    Raises StudyError, with a line, if it is no whole table of prepared pictures, as after an edit by hand."""
    path = folder / "images.csv"
    images = _read(path, IMAGE_COLUMNS, remedy(folder), dtype=str, keep_default_na=False)
    good = images[images["path"] != ""]
    for column, form in (("path", PICTURE), ("split", "train|validation"), ("sha256", "[0-9a-f]{64}")):
        wrong = good[~good[column].str.fullmatch(form)]
        if not wrong.empty:
            line, value = wrong.index[0] + 2, wrong[column].iloc[0]
            raise StudyError(f"'{path}', line {line}: {column} can't be '{value}'; {remedy(folder)}")
    return images


def read_labels(folder: Path) -> pd.DataFrame:
    """Return ``labels.csv``: index, label, name, and the numbers of pictures that train and validate.

    Raises StudyError if it is no such table."""
    path, text = folder / "labels.csv", {"label": str, "name": str}
    labels = _read(path, LABEL_COLUMNS, remedy(folder), dtype=text, keep_default_na=False)
    if list(labels["index"]) != list(range(len(labels))) or labels["label"].duplicated().any():
        raise StudyError(f"'{path}' must number its labels from 0, each once; {remedy(folder)}")
    return labels


def read_table(path: Path, words: Collection[str] = WORDS) -> pd.DataFrame:
    """Return a table of dreams or judgements; columns of words stay text, whatever they look like.

    Raises StudyError if it can't be read."""
    numbers = [column for column in _read(path, nrows=0) if column not in words]
    empty = {column: [""] for column in numbers}
    return _read(path, dtype=dict.fromkeys(words, str), keep_default_na=False, na_values=empty)


def _read(path: Path, columns: Collection[str] = (), end: str = "delete it and run again", **how) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, **how)
    except (OSError, ValueError) as error:
        raise StudyError(f"'{path}' is no table that can be read ({first_line(error)}); {end}") from error
    lacking = [column for column in columns if column not in table]
    if lacking:
        raise StudyError(f"'{path}' has no column '{lacking[0]}'; {end}")
    return table


def remedy(folder: Path) -> str:
    """Return how a sentence ends that is about a prepared data set that is not whole."""
    return f"delete the folder '{folder}' and run again"


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

"""The two tables of a prepared data set, and how tables that stages hand on are read: whole, or not at all."""

import os
from collections.abc import Collection, Iterable
from pathlib import Path

import pandas as pd

from dreambirds.data.labels import Label
from dreambirds.errors import MAKE_AGAIN, TRAIN_AGAIN, UserError, first_line
from dreambirds.io import atomic_write

TEXT_COLUMNS = (
    "run",
    "recipe",
    "label",
    "class_name",
    "judge",
    "prediction",
    "dreamer_prediction",
    "judge_prediction",
    "judge_prediction_rescaled",
)
TEXT_COLUMNS += ("unmatched", "checkpoint_sha256", "weights_sha256")  # a digest of digits only is no number
IMAGE_COLUMNS = ["path", "label", "split", "sha256", "size", "source", "error", "duplicate_of"]
LABEL_COLUMNS = ["index", "label", "class_name", "train", "validation"]
PICTURE = r"images/[\w-]+/\w+\.png"


def read_images(folder: Path) -> pd.DataFrame:
    """Return ``images.csv``: one row a picture, with empty strings where there is no value.

    Raises UserError, with a line, if it is no whole table of prepared pictures, as after an edit by hand, or if
    ``labels.csv`` is there and knows other labels, or counts another number of them."""
    path = folder / "images.csv"
    images = _read_filled(path, IMAGE_COLUMNS, remedy(folder), dtype=str)
    good = images[images["path"] != ""]
    for column, form in (("path", PICTURE), ("split", "train|validation"), ("sha256", "[0-9a-f]{64}")):
        wrong = good[~good[column].str.fullmatch(form)]
        if not wrong.empty:
            line, value = wrong.index[0] + 2, wrong[column].iloc[0]
            raise UserError(f"'{path}', line {line}: {column} can't be '{value}'; {remedy(folder)}")
    _check_labels(folder, good)
    return images


def _check_labels(folder: Path, pictures: pd.DataFrame) -> None:
    """Raise UserError if pictures are of other labels, or as many others, as were counted when they were prepared,
    whatever their parts."""
    if not (folder / "labels.csv").exists():
        return
    labels, images = read_labels(folder), f"'{folder}/images.csv'"
    strange = pictures[~pictures["label"].isin(list(labels["label"]))]
    if not strange.empty:
        label = strange["label"].iloc[0]
        raise UserError(f"{images} has a label '{label}' that labels.csv has not; {remedy(folder)}")
    counted = labels[["train", "validation"]].to_numpy().sum()
    if counted != len(pictures):
        raise UserError(f"{images} lists {len(pictures)} pictures, and labels.csv counts {counted}; {remedy(folder)}")


def read_labels(folder: Path) -> pd.DataFrame:
    """Return ``labels.csv``: index, label, class_name, and the numbers of pictures that train and validate.

    Raises UserError if it is no such table."""
    path, text = folder / "labels.csv", {"label": str, "class_name": str}
    labels = _read_filled(path, LABEL_COLUMNS, remedy(folder), dtype=text)
    if list(labels["index"]) != list(range(len(labels))) or labels["label"].duplicated().any():
        raise UserError(f"'{path}' must number its labels from 0, each once; {remedy(folder)}")
    if any(labels[part].dtype.kind != "i" for part in ("train", "validation")):
        raise UserError(f"'{path}' must count each label's pictures; {remedy(folder)}")
    return labels


def read_table(
    path: Path, words: Collection[str] = TEXT_COLUMNS, rows: pd.DataFrame | None = None, end: str = MAKE_AGAIN
) -> pd.DataFrame:
    """Return a table that a stage wrote; columns of words stay text, whatever they look like.

    `rows` has, in some of the columns, a row for each that must be there; without it there must be one at least. `end`
    is how a sentence ends. Raises UserError if the table can't be read or is not whole."""
    numbers = [column for column in _read(path, end=end, nrows=0) if column not in words]
    empty, asked = {column: [""] for column in numbers}, () if rows is None else list(rows)
    table = _read(path, asked, end, dtype=dict.fromkeys(words, str), keep_default_na=False, na_values=empty)
    _check_end(path, end)
    if rows is not None:
        _check_rows(path, table, rows, end)
    elif table.empty:
        raise UserError(f"'{path}' has no row; {end}")
    return table


def _check_end(path: Path, end: str) -> None:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        if file.read() != b"\n":
            raise UserError(f"'{path}' is cut: its last line is not whole; {end}")


def _check_rows(path: Path, table: pd.DataFrame, rows: pd.DataFrame, end: str) -> None:
    there = table[list(rows)]
    lacking = set(_tuples(rows)) - set(_tuples(there))
    if lacking:
        raise UserError(f"'{path}' is not whole: {len(lacking)} of {len(rows)} rows are not there; {end}")
    if there.duplicated().any():
        raise UserError(f"'{path}' has a row twice; {end}")


def _tuples(table: pd.DataFrame) -> Iterable[tuple]:
    return table.itertuples(index=False, name=None)


def _read_filled(path: Path, columns: Collection[str], end: str, **how) -> pd.DataFrame:
    """Return a table that may have been edited by hand, and whose lines have all columns."""
    table = _read(path, columns, end, keep_default_na=False, **how)
    if table.empty:
        raise UserError(f"'{path}' has no row; {end}")
    short = table[table[columns].isna().any(axis="columns")]
    if not short.empty:
        raise UserError(f"'{path}', line {short.index[0] + 2}: not all columns are there; {end}")
    return table


def _read(path: Path, columns: Collection[str] = (), end: str = MAKE_AGAIN, **how) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, **how)
    except (OSError, ValueError) as error:
        raise UserError(f"'{path}' is no table that can be read ({first_line(error)}); {end}") from error
    lacking = [column for column in columns if column not in table]
    if lacking:
        raise UserError(f"'{path}' has no column '{lacking[0]}'; {end}")
    return table


def remedy(folder: Path) -> str:
    """Return how a sentence ends that is about a prepared data set that is not whole."""
    return f"delete the folder '{folder}' and run again"


def label_table(images: pd.DataFrame, labels: list[Label]) -> pd.DataFrame:
    """Return ``labels.csv`` for the rows of the pictures that were prepared."""
    counts = pd.crosstab(images["label"], images["split"])
    table = pd.DataFrame({"index": range(len(labels)), "label": [label.label for label in labels]})
    table["class_name"] = [label.name for label in labels]
    for part in ("train", "validation"):
        column = counts[part] if part in counts else pd.Series(dtype=int)
        table[part] = table["label"].map(column).fillna(0).astype(int)
    return table


def write_table(table: pd.DataFrame, path: Path, float_format: str | None = None) -> None:
    """Write a table without its index, whole or not at all; epochs, by which rows are known, keep all their digits."""
    if float_format and "epoch" in table:
        table = table.assign(epoch=[each if isinstance(each, str) else f"{each:.9g}" for each in table["epoch"]])
    with atomic_write(path) as temporary:
        table.to_csv(temporary, index=False, float_format=float_format)


def example_pictures(folder: Path) -> dict[str, Path]:
    """Return one prepared picture of each label: the first that validates, or that trains if none does.

    Raises UserError if the table is not whole, or one of them is not there."""
    images = read_images(folder)
    images = images[images["path"] != ""].sort_values("split", ascending=False, kind="stable")
    examples = {label: folder / path for label, path in images.groupby("label")["path"].first().items()}
    check_there(folder, examples.values())
    return examples


def start_photographs(files: list[str], labels: Iterable[str]) -> dict[str, Path]:
    """Return the photograph that each label's dream starts from, if any: `files` lists one at most.

    Where that is the data set's table of images, it is a prepared image of the label's own class.
    """
    if not files:
        return {}
    path = Path(files[0])
    return example_pictures(path.parent) if path.name == "images.csv" else dict.fromkeys(labels, path)


def check_there(folder: Path, pictures: Iterable[Path]) -> None:
    """Raise UserError if one of the prepared pictures of a data set is not there."""
    for path in pictures:
        if not path.is_file():
            raise UserError(f"the prepared picture '{path}' is not there; {remedy(folder)}")


def read_history(path: Path, epoch: float) -> pd.DataFrame:
    """Return the history of a checkpoint's epochs. Raises UserError if it can't be read or does not reach `epoch`."""
    return read_table(path, rows=pd.DataFrame({"epoch": [epoch]}), end=TRAIN_AGAIN)

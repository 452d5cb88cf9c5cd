"""Write tables atomically, and read only complete ones, as those of a data set."""

import os
from collections.abc import Collection, Iterable
from pathlib import Path

import pandas as pd

from dreambirds.data.labels import Label
from dreambirds.errors import REBUILD, RETRAIN, UserError, reason_of, remedy_for
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
TEXT_COLUMNS += ("unmatched", "checkpoint_sha256", "weights_sha256")  # an all-digit digest is text, too
IMAGE_COLUMNS = ["path", "label", "split", "sha256", "size", "source", "error", "duplicate_of"]
LABEL_COLUMNS = ["index", "label", "class_name", "train", "validation"]
PICTURE = r"images/[\w-]+/\w+\.png"


def read_images(folder: Path) -> pd.DataFrame:
    """Return ``images.csv``: one row per image, with empty strings for missing values.

    Raises UserError, with the line number, if the table is not valid, for example after editing it by hand. Raises it
    also if ``labels.csv`` exists and lists other labels or another number of images.
    """
    path = folder / "images.csv"
    images = _read_filled(path, IMAGE_COLUMNS, remedy(folder), dtype=str)
    good = images[images["path"] != ""]
    for column, form in (("path", PICTURE), ("split", "train|validation"), ("sha256", "[0-9a-f]{64}")):
        wrong = good[~good[column].str.fullmatch(form)]
        if not wrong.empty:
            line, value = wrong.index[0] + 2, wrong[column].iloc[0]
            raise UserError(f"'{path}', line {line}: invalid {column} '{value}'; {remedy(folder)}")
    _check_labels(folder, good)
    return images


def _check_labels(folder: Path, images: pd.DataFrame) -> None:
    """Raise UserError unless ``labels.csv`` fits the labels and number of the images.

    The split is not compared.
    """
    if not (folder / "labels.csv").exists():
        return
    labels, table = read_labels(folder), f"'{folder}/images.csv'"
    unknown = images[~images["label"].isin(list(labels["label"]))]
    if not unknown.empty:
        label = unknown["label"].iloc[0]
        raise UserError(f"{table} contains label '{label}', which is not in 'labels.csv'; {remedy(folder)}")
    count = labels[["train", "validation"]].to_numpy().sum()
    if count != len(images):
        raise UserError(f"{table} lists {len(images)} images, but 'labels.csv' counts {count}; {remedy(folder)}")


def read_labels(folder: Path) -> pd.DataFrame:
    """Return ``labels.csv``: one row per class, in the order of `index`.

    The columns are index, label, class_name, and the numbers of images in ``train`` and ``validation``. Raises
    UserError if the table is not valid.
    """
    path, text = folder / "labels.csv", {"label": str, "class_name": str}
    labels = _read_filled(path, LABEL_COLUMNS, remedy(folder), dtype=text)
    if list(labels["index"]) != list(range(len(labels))) or labels["label"].duplicated().any():
        raise UserError(f"'{path}' must contain unique labels, numbered from 0; {remedy(folder)}")
    if any(labels[part].dtype.kind != "i" for part in ("train", "validation")):
        raise UserError(f"'{path}' must contain integers in 'train' and 'validation'; {remedy(folder)}")
    return labels


def read_table(
    path: Path, text: Collection[str] = TEXT_COLUMNS, rows: pd.DataFrame | None = None, end: str = REBUILD
) -> pd.DataFrame:
    """Return a table that a stage wrote, whose columns `text` are read as strings.

    `rows` contains, for some of the columns, the required rows; if it is None, at least one row is required. Raises
    UserError if the table cannot be read or is incomplete; its message ends with `end`.
    """
    numbers = [column for column in _read(path, end=end, nrows=0) if column not in text]
    empty, required = {column: [""] for column in numbers}, () if rows is None else list(rows)
    table = _read(path, required, end, dtype=dict.fromkeys(text, str), keep_default_na=False, na_values=empty)
    _check_end(path, end)
    if rows is not None:
        _check_rows(path, table, rows, end)
    elif table.empty:
        raise UserError(f"'{path}' contains no rows; {end}")
    return table


def _check_end(path: Path, end: str) -> None:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        if file.read() != b"\n":
            raise UserError(f"'{path}' is truncated: its last line is incomplete; {end}")


def _check_rows(path: Path, table: pd.DataFrame, rows: pd.DataFrame, end: str) -> None:
    found = table[list(rows)]
    missing = set(_tuples(rows)) - set(_tuples(found))
    if missing:
        raise UserError(f"'{path}' is incomplete: {len(missing)} of {len(rows)} rows are missing; {end}")
    if found.duplicated().any():
        raise UserError(f"'{path}' contains a duplicate row; {end}")


def _tuples(table: pd.DataFrame) -> Iterable[tuple]:
    return table.itertuples(index=False, name=None)


def _read_filled(path: Path, columns: Collection[str], end: str, **options) -> pd.DataFrame:
    """Return a table whose lines have all columns; it may have been edited by hand."""
    table = _read(path, columns, end, keep_default_na=False, **options)
    if table.empty:
        raise UserError(f"'{path}' contains no rows; {end}")
    short = table[table[columns].isna().any(axis="columns")]
    if not short.empty:
        raise UserError(f"'{path}', line {short.index[0] + 2}: columns are missing; {end}")
    return table


def _read(path: Path, columns: Collection[str] = (), end: str = REBUILD, **options) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, **options)
    except (OSError, ValueError) as error:
        end = remedy_for(error, end)
        raise UserError(f"cannot read the table '{path}' ({reason_of(error)}); {end}") from error
    missing = [column for column in columns if column not in table]
    if missing:
        raise UserError(f"'{path}' has no column '{missing[0]}'; {end}")
    return table


def remedy(folder: Path) -> str:
    """Return the end of an error about a damaged folder of results: what to do."""
    return f"delete the folder '{folder}' and run the same command again to rebuild it"


def label_table(images: pd.DataFrame, labels: list[Label]) -> pd.DataFrame:
    """Return the table ``labels.csv`` for the rows of the prepared images."""
    counts = pd.crosstab(images["label"], images["split"])
    table = pd.DataFrame({"index": range(len(labels)), "label": [label.label for label in labels]})
    table["class_name"] = [label.name for label in labels]
    for part in ("train", "validation"):
        column = counts[part] if part in counts else pd.Series(dtype=int)
        table[part] = table["label"].map(column).fillna(0).astype(int)
    return table


def write_table(table: pd.DataFrame, path: Path, float_format: str | None = None) -> None:
    """Write a table atomically, without its index.

    Epochs identify rows, so `float_format` does not apply to them: they are written with 9 significant digits.
    """
    if float_format and "epoch" in table:
        table = table.assign(epoch=[each if isinstance(each, str) else f"{each:.9g}" for each in table["epoch"]])
    with atomic_write(path) as temporary:
        table.to_csv(temporary, index=False, float_format=float_format)


def example_images(folder: Path) -> dict[str, Path]:
    """Return one prepared image per label: the first of validation, else of training.

    Raises UserError if the table is incomplete, or one of these images is missing.
    """
    images = read_images(folder)
    images = images[images["path"] != ""].sort_values("split", ascending=False, kind="stable")
    examples = {label: folder / path for label, path in images.groupby("label")["path"].first().items()}
    check_exist(folder, examples.values())
    return examples


def start_photographs(files: list[str], labels: Iterable[str]) -> dict[str, Path]:
    """Return the photograph that the dream of each label starts from, if any.

    `files` contains at most one path. If it is the data set's ``images.csv``, each label starts from a prepared image
    of its class.
    """
    if not files:
        return {}
    path = Path(files[0])
    return example_images(path.parent) if path.name == "images.csv" else dict.fromkeys(labels, path)


def check_exist(folder: Path, images: Iterable[Path]) -> None:
    """Raise UserError if one of the prepared images of a data set is missing."""
    for path in images:
        if not path.is_file():
            raise UserError(f"the prepared image '{path}' does not exist; {remedy(folder)}")


def read_history(path: Path, epoch: float) -> pd.DataFrame:
    """Return the history of a run up to `epoch`.

    Raises UserError if the table cannot be read or does not contain `epoch`.
    """
    return read_table(path, rows=pd.DataFrame({"epoch": [epoch]}), end=RETRAIN)

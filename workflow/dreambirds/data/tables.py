"""Write tables atomically, and read only complete ones, as those of a data set.

Pandas is imported only where a table is returned, because the plan of a study also checks tables.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from dreambirds.data.labels import Label
from dreambirds.errors import REBUILD, RETRAIN, UserError, reason_of, remedy_for
from dreambirds.io import atomic_write

if TYPE_CHECKING:
    import pandas as pd

TEXT_COLUMNS = (
    "run",
    "run_group",
    "recipe",
    "recipe_group",
    "label",
    "class_name",
    "judge",
    "prediction",
    "dreamer_prediction",
    "judge_prediction",
    "judge_prediction_rescaled",
    "reference_label",
    "nearest",
    "nearest_rescaled",
    "nearest_pixels",
    "nearest_pixels_rescaled",
)
TEXT_COLUMNS += ("unmatched", "checkpoint_sha256", "weights_sha256")  # an all-digit digest is text, too
IMAGE_COLUMNS = ["path", "label", "split", "sha256", "size", "source", "error", "duplicate_of"]
LABEL_COLUMNS = ["index", "label", "class_name", "train", "validation"]
IMAGE_FORMS = {"path": r"images/[\w-]+/\w+\.png", "split": "train|validation", "sha256": "[0-9a-f]{64}"}
PARTS = ("train", "validation")
INTEGER = re.compile(r"-?\d+")


def check_images(folder: Path) -> list[dict[str, str]]:
    """Return the rows of ``images.csv``, one per image, with empty strings for missing values.

    Raises UserError, with the line number, if the table is not valid, for example after editing it by hand. Raises it
    also if ``labels.csv`` exists and lists other labels or another number of images. There are no rows only if it
    counts none.
    """
    path = folder / "images.csv"
    empty = (folder / "labels.csv").exists() and not any(check_labels(folder).values())
    numbered = numbered_rows(path, IMAGE_COLUMNS, remedy(folder), empty)
    patterns = {column: re.compile(form) for column, form in IMAGE_FORMS.items()}
    for line, row in numbered:
        wrong = [name for name, form in patterns.items() if row["path"] and not form.fullmatch(row[name])]
        if wrong:
            raise UserError(f"'{path}', line {line}: invalid {wrong[0]} '{row[wrong[0]]}'; {remedy(folder)}")
    rows = [row for _, row in numbered]
    if (folder / "labels.csv").exists():
        labels, good = check_labels(folder), [row["label"] for row in rows if row["path"]]
        unknown = next((label for label in good if label not in labels), None)
        if unknown is not None:
            raise UserError(f"'{path}' contains label '{unknown}', which is not in 'labels.csv'; {remedy(folder)}")
        if (count := sum(labels.values())) != len(good):
            raise UserError(f"'{path}' lists {len(good)} images, but 'labels.csv' counts {count}; {remedy(folder)}")
    return rows


def check_labels(folder: Path) -> dict[str, int]:
    """Return the number of images of each label in ``labels.csv``. Raises UserError if the table is not valid."""
    path = folder / "labels.csv"
    rows = read_rows(path, LABEL_COLUMNS, remedy(folder))
    indices, labels = [row["index"] for row in rows], [row["label"] for row in rows]
    if indices != list(map(str, range(len(rows)))) or len(set(labels)) < len(labels):
        raise UserError(f"'{path}' must contain unique labels, numbered from 0; {remedy(folder)}")
    if not all(INTEGER.fullmatch(row[part]) for row in rows for part in PARTS):
        raise UserError(f"'{path}' must contain integers in 'train' and 'validation'; {remedy(folder)}")
    return {row["label"]: sum(int(row[part]) for part in PARTS) for row in rows}


def read_rows(path: Path, columns: Collection[str], end: str) -> list[dict[str, str]]:
    """Return the rows of a table, as `numbered_rows` does, without their numbers."""
    return [row for _, row in numbered_rows(path, columns, end)]


def numbered_rows(
    path: Path, columns: Collection[str], end: str, empty: bool = False
) -> list[tuple[int, dict[str, str]]]:
    """Return the rows of a table with all `columns`, each with the number of its first line in the file.

    The table may have been edited by hand; blank lines are skipped. Raises UserError, whose message ends with `end`, if
    it cannot be read, lacks a column, or contains no rows (unless it may be `empty`), or if a row has too few or too
    many values.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file, strict=True)
            header, rows, line = next(lines, []), [], lines.line_num + 1
            for row in lines:
                rows += [(line, row)] if row else []
                line = lines.line_num + 1  # a value in quotes may contain line breaks
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"cannot read the table '{path}' ({reason_of(error)}); {remedy_for(error, end)}") from error
    if not header:
        raise UserError(f"cannot read the table '{path}' (it is empty); {end}")
    missing = [column for column in columns if column not in header]
    if missing:
        raise UserError(f"'{path}' has no column '{missing[0]}'; {end}")
    if not rows and not empty:
        raise UserError(f"'{path}' contains no rows; {end}")
    for line, row in rows:
        if len(row) != len(header):
            problem = "columns are missing" if len(row) < len(header) else "there are more values than columns"
            raise UserError(f"'{path}', line {line}: {problem}; {end}")
    return [(line, dict(zip(header, row, strict=True))) for line, row in rows]


def read_images(folder: Path) -> pd.DataFrame:
    """Return ``images.csv``, checked by `check_images`."""
    import pandas as pd

    rows = check_images(folder)
    return pd.DataFrame(rows, columns=None if rows else IMAGE_COLUMNS, dtype=str)


def read_labels(folder: Path) -> pd.DataFrame:
    """Return ``labels.csv``, checked by `check_labels`: one row per class, in the order of `index`.

    The columns are index, label, class_name, and the numbers of images in ``train`` and ``validation``.
    """
    import pandas as pd

    check_labels(folder)
    integers = dict.fromkeys(("index", *PARTS), int)
    return pd.DataFrame(read_rows(folder / "labels.csv", LABEL_COLUMNS, remedy(folder)), dtype=str).astype(integers)


def read_label_names(folder: Path) -> list[Label]:
    """Return the classes of ``labels.csv`` with their names, in the order of `index`."""
    rows = read_rows(folder / "labels.csv", LABEL_COLUMNS, remedy(folder))
    return [Label(row["label"], row["class_name"]) for row in rows]


def read_table(
    path: Path, text: Collection[str] = TEXT_COLUMNS, rows: pd.DataFrame | None = None, end: str = REBUILD
) -> pd.DataFrame:
    """Return a table that a stage wrote, whose columns `text` are read as strings.

    `rows` contains, for some of the columns, the required rows; if it is None, at least one row is required. Raises
    UserError if the table cannot be read or is incomplete; its message ends with `end`.
    """
    numbers = [column for column in _read(path, end=end, nrows=0) if column not in text]
    empty, required = {column: [""] for column in numbers}, () if rows is None else list(rows)
    _check_end(path, end)  # first, because a table that ends within quotes cannot be parsed
    table = _read(path, required, end, dtype=dict.fromkeys(text, str), keep_default_na=False, na_values=empty)
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


def _read(path: Path, columns: Collection[str] = (), end: str = REBUILD, **options) -> pd.DataFrame:
    import pandas as pd

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
    import pandas as pd

    counts = pd.crosstab(images["label"], images["split"])
    table = pd.DataFrame({"index": range(len(labels)), "label": [label.label for label in labels]})
    table["class_name"] = [label.name for label in labels]
    for part in PARTS:
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
    import pandas as pd

    return read_table(path, rows=pd.DataFrame({"epoch": [epoch]}), end=RETRAIN)

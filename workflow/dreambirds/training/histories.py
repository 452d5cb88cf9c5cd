"""Read the histories that other trainers write: timm, Lightning and transformers."""

import json
import re
from pathlib import Path

import pandas as pd

from dreambirds.config.history_files import OURS, TIMM
from dreambirds.errors import UserError, reading
from dreambirds.models.epochs import as_epoch

COLUMNS = ["epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate"]
END = "move it away to do without the history"
DECIMALS = 4  # of an epoch in the names of paths
PARTS = {"train": {"train", "training", "trn"}, "validation": {"val", "valid", "validation", "eval", "dev"}}
OTHER = {"test", "top", "top5", "acc5", "5", "best", "aux"}  # words of other metrics


def read_history_file(path: Path) -> pd.DataFrame:
    """Return the history that a trainer wrote: one row per epoch, ascending, with the `COLUMNS`, NaN where unknown.

    The file is timm's ``summary.csv``, Lightning's ``metrics.csv``, transformers' ``trainer_state.json``, or a
    ``history.csv`` of this project. An epoch is a number of completed epochs; timm and Lightning count from zero.
    Accuracies are in [0, 1]. Raises UserError for any other file.
    """
    if path.suffix == ".json":
        return _read_log(path)
    with reading(path, END, (ValueError,)):
        table = pd.read_csv(path, encoding="utf-8")
    if "epoch" not in table.columns:
        raise UserError(f"'{path}' is not a history of a training, because it has no column 'epoch'; {END}")
    if "step" in table.columns:  # rows of Lightning's LearningRateMonitor have a step, but no epoch
        table["epoch"] = table["epoch"].bfill().ffill()
    return _by_epoch(table, percent=path.name == TIMM, first=0 if path.name == OURS else 1)


def _read_log(path: Path) -> pd.DataFrame:
    """Return the history in ``trainer_state.json``, whose epochs are fractions of completed epochs."""
    with reading(path, END, (ValueError, RecursionError)):
        state = json.loads(path.read_text(encoding="utf-8"))
    entries = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"'{path}' is not a history of transformers, because it has no list 'log_history'; {END}")
    rows = [entry for entry in entries if "train_runtime" not in entry]  # the last entry sums up the training
    rows = [{**entry, "epoch": as_epoch(entry.get("epoch"))} for entry in rows]
    return _by_epoch(pd.DataFrame(rows, columns=None if rows else ["epoch"]), percent=False, first=0)


def _by_epoch(table: pd.DataFrame, percent: bool, first: int) -> pd.DataFrame:
    """Return one row per epoch with the `COLUMNS` of a table of numbers, possibly with several rows per epoch.

    Metrics of training are averaged, because they may be those of single steps; of the others, the last value counts.
    `percent` is whether accuracies are in percent, and `first` is added to each epoch.
    """
    if "epoch" not in table.columns:
        return pd.DataFrame(columns=COLUMNS, dtype=float)
    numbers = table.apply(pd.to_numeric, errors="coerce").dropna(subset=["epoch"])  # a resumed run repeats the header
    numbers["epoch"] = (numbers["epoch"] + first).round(DECIMALS)
    epochs = numbers.groupby("epoch", sort=True)
    found = {}
    for column in COLUMNS[1:]:
        source = _best_name(column, [str(name) for name in table.columns])
        averaged = column.startswith("train") and not percent
        found[column] = (epochs[source].mean() if averaged else epochs[source].last()) if source else float("nan")
        if source and column.endswith("accuracy") and (percent or found[column].max() > 1):
            found[column] = found[column] / 100
    history = pd.DataFrame(found, index=sorted(numbers["epoch"].unique())).rename_axis("epoch").astype(float)
    return history.dropna(how="all").reset_index()


def _best_name(column: str, names: list[str]) -> str | None:
    """Return the name in a file that means a column of the history, the plainest if several do; None if none does."""
    fitting = [name for name in names if _meaning(name) == column]
    return min(fitting, key=lambda name: ("step" in _words(name), len(_words(name))), default=None)


def _meaning(name: str) -> str | None:
    """Return the column of the history that a name such as ``val/acc``, ``eval_top1`` or ``lr-SGD`` means."""
    words = set(_words(name))
    if "lr" in words or {"learning", "rate"} <= words:
        return "learning_rate"
    accuracy = any(word in ("acc", "acc1", "top1") or word.endswith("accuracy") for word in words)
    part = next((part for part, known in PARTS.items() if words & known), "train" if words == {"loss"} else None)
    if part is None or words & OTHER or not (accuracy or "loss" in words):
        return None
    return f"{part}_{'accuracy' if accuracy else 'loss'}"


def _words(name: str) -> list[str]:
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    return re.findall(r"[a-z0-9]+", spaced.lower())

"""Write a study for TensorBoard: training and dreams as scalars, and dreams as images with their step."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from dreambirds.config.runs import parse_epoch
from dreambirds.data.tables import read_table
from dreambirds.dream_job.archive import open_image, read_dreams
from dreambirds.errors import RETRAIN, UserError
from dreambirds.evaluation.columns import SUFFIX, pictures_of
from dreambirds.gallery.export import find_study, new_folder
from dreambirds.gallery.model_card import list_archives
from dreambirds.io import read_yaml
from dreambirds.plan.paths import HISTORY_FILE, epoch_name

EVENTS = "events.out.tfevents"  # how the names of TensorBoard's files begin
MARK = ".dreambirds"  # a file that marks a folder as an export
TRAINING = {
    "loss/train": "train_loss",
    "loss/validation": "validation_loss",
    "accuracy/train": "train_accuracy",
    "accuracy/validation": "validation_accuracy",
    "learning_rate": "learning_rate",
}
MEASURES = ["dreamer_probability", "dreamer_top1", "mean_abs_change"]  # of the dream, not of one of its views
VIEW_MEASURES = ["judge_probability", "judge_top1", "judge_rank", "feature_ratio", "seed_agreement"]
VIEW_MEASURES += ["spectrum_distance", "total_variation"]
FINEST = 4  # decimals of an epoch


def write_tensorboard(study: Path | None, folder: Path) -> str:
    """Write a folder for TensorBoard, with one of its runs for each run of a study; return the unit of steps.

    `study` is the study's results folder, by default that of `find_study`. Scalars are those of training, and the means
    of each recipe's measurements at its last step. The images are the dreams in the study's view: over epochs, at their
    last step, and over the steps of each checkpoint. Raises UserError if TensorBoard is not installed, if a result
    cannot be read, or if the folder exists and is not an earlier export.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        problem = "the library 'tensorboard' is not installed; run `pip install tensorboard`"
        raise UserError(problem, "--tensorboard") from error
    study = find_study(study)
    config = read_yaml(study / "config.yaml")
    runs = sorted({path.parents[1].name for path in study.glob(f"runs/*/epoch-*/{HISTORY_FILE}")})
    histories = {run: read_run(study / "runs" / run) for run in runs}
    scale = epoch_scale([epoch for history in histories.values() for epoch in history["epoch"]])
    with new_folder(folder, "--tensorboard", is_earlier_export) as temporary:
        (temporary / MARK).write_text("written by `dreambirds export --tensorboard`\n", encoding="utf-8")
        for run, history in histories.items():
            with SummaryWriter(str(temporary / run)) as writer:
                _write_training(writer, history, scale)
                _write_measurements(writer, study, run, config["pictures"]["view"], scale)
                _write_dreams(writer, list_archives(study, config, run), config["pictures"]["view"], scale)
    return "an epoch" if scale == 1 else f"1/{scale} epoch"


def is_earlier_export(folder: Path) -> bool:
    """Return whether a folder was written by `write_tensorboard`, and contains nothing else."""
    files = [path.name for path in folder.rglob("*") if not path.is_dir()]
    return MARK in files and all(name == MARK or name.startswith(EVENTS) for name in files)


def read_run(folder: Path) -> pd.DataFrame:
    """Return the complete history of a run: one row per epoch, in ascending order.

    The history of a checkpoint contains the epochs since the checkpoint before it.
    """
    tables = [read_table(path, end=RETRAIN) for path in sorted(folder.glob(f"epoch-*/{HISTORY_FILE}"))]
    rows = pd.concat(tables, ignore_index=True)
    return rows.drop_duplicates("epoch", keep="last").sort_values("epoch", ignore_index=True)


def epoch_scale(epochs: Iterable[float]) -> int:
    """Return the power of ten that makes integers of all epochs, because TensorBoard's steps are integers."""
    decimals = [len(f"{epoch:.{FINEST}f}".rstrip("0").partition(".")[2]) for epoch in epochs]
    return 10 ** max(decimals, default=0)


def _write_training(writer, history: pd.DataFrame, scale: int) -> None:
    for tag, column in TRAINING.items():
        if column in history:
            for epoch, value in history[["epoch", column]].dropna().itertuples(index=False):
                writer.add_scalar(tag, value, round(epoch * scale))


def _write_measurements(writer, study: Path, run: str, view: str, scale: int) -> None:
    """Write the means over the classes, for each recipe and epoch, at the recipe's last step."""
    if not (study / "dreams.csv").is_file():
        return
    table = read_table(study / "dreams.csv")
    last = table[table["step"] == table.groupby("recipe")["step"].transform("max")]
    columns = {name: name for name in MEASURES} | {name: f"{name}{SUFFIX[view]}" for name in VIEW_MEASURES}
    means = last[last["run"] == run].groupby(["recipe", "epoch"], sort=False)[list(columns.values())].mean()
    for name, column in columns.items():
        for (recipe, epoch), value in means[column].dropna().items():
            writer.add_scalar(f"{name}/{recipe}", value, round(epoch * scale))


def _write_dreams(writer, archives: list[Path], view: str, scale: int) -> None:
    """Write each dream of a run over the steps of its checkpoint, and its last step over epochs."""
    if not archives:
        return
    dreams = read_dreams(archives)
    dreams = dreams.assign(
        picture=pd.Series(pictures_of(dreams, view), index=dreams.index, dtype=object),
        last=dreams["step"] == dreams.groupby("recipe")["step"].transform("max"),
    )
    for dream in dreams.itertuples():
        epoch, image = parse_epoch(dream.epoch), np.asarray(open_image(dream.picture))
        tag = f"steps_of_{epoch_name(epoch)}/{dream.recipe}/{dream.label}"
        writer.add_image(tag, image, dream.step, dataformats="HWC")
        if dream.last:
            tag = f"epochs/{dream.recipe}/{dream.label}"
            writer.add_image(tag, image, round(epoch * scale), dataformats="HWC")

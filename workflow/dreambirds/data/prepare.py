"""The dataset stage: every picture once as a square PNG, and two tables that say what there is."""

import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image
from tqdm import tqdm

from dreambirds.data.chance import label_stream
from dreambirds.data.drawn import draw_bird
from dreambirds.data.files import find_photographs
from dreambirds.data.labels import Label
from dreambirds.data.photographs import read_photograph, square
from dreambirds.data.split import split
from dreambirds.errors import StudyError

IMAGE_COLUMNS = ["path", "label", "split", "sha256", "size", "source", "problem"]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """One picture to prepare: its class, where it comes from (a file, or a number for a drawn bird), its new name."""

    label: Label
    origin: Path | int
    name: str


def prepare(dataset: dict, labels: list[Label], folder: Path) -> None:
    """Write ``images/<label>/<name>.png``, ``images.csv`` and ``labels.csv`` into `folder`.

    `dataset` is the config's section. A picture that can't be read is left out and listed with its reason, in the log
    and in the column `problem`. Raises StudyError where a class is left with too few pictures to learn from.
    """
    rows = [_prepare_one(source, dataset, folder) for source in tqdm(list(_sources(dataset, labels)), disable=None)]
    images = pd.DataFrame(rows, columns=IMAGE_COLUMNS)
    good = images["problem"] == ""
    _check_counts(images[good], labels, dataset["path"])
    images.loc[good, "split"] = split(images.loc[good, "label"], dataset["validation_fraction"], dataset["seed"])
    images.to_csv(folder / "images.csv", index=False)
    _label_table(images[good], labels).to_csv(folder / "labels.csv", index=False)
    log.info("prepared %d pictures of %d classes; %d left out", good.sum(), len(labels), (~good).sum())


def _sources(dataset: dict, labels: list[Label]) -> Iterator[Source]:
    for label in labels:
        if label.folder is None:
            yield from (Source(label, number, f"{number:04d}") for number in range(dataset["images_per_label"]))
        else:
            paths = find_photographs(Path(dataset["path"]).expanduser() / label.folder)
            yield from (Source(label, path, f"{number:05d}") for number, path in enumerate(paths))


def _prepare_one(source: Source, dataset: dict, folder: Path) -> tuple:
    origin = "" if isinstance(source.origin, int) else os.fsencode(source.origin).decode(errors="backslashreplace")
    try:
        picture = _picture(source, dataset)
    except ValueError as problem:
        log.warning("left out %s: %s", origin, problem)
        return "", source.label.label, "", "", "", origin, str(problem)
    size = f"{picture.width}x{picture.height}"
    picture = square(picture, dataset["image_size"])
    path = Path("images", source.label.label, f"{source.name}.png")
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    picture.save(folder / path)
    return str(path), source.label.label, "", hashlib.sha256(picture.tobytes()).hexdigest(), size, origin, ""


def _picture(source: Source, dataset: dict) -> Image.Image:
    if isinstance(source.origin, Path):
        return read_photograph(source.origin)
    stream = label_stream(dataset["seed"], source.label.label, source.origin)
    return draw_bird(source.label.label, stream, dataset["image_size"], dataset["facing"])


def _check_counts(images: pd.DataFrame, labels: list[Label], path: str | None) -> None:
    counts = images["label"].value_counts()
    for label in labels:
        if counts.get(label.label, 0) < 2:
            raise StudyError(
                f"dataset.path: class '{label.folder}' in '{path}' has {counts.get(label.label, 0)} readable "
                "picture(s); at least 2 JPEG, PNG or WebP files are needed"
            )


def _label_table(images: pd.DataFrame, labels: list[Label]) -> pd.DataFrame:
    counts = pd.crosstab(images["label"], images["split"])
    table = pd.DataFrame({"index": range(len(labels)), "label": [label.label for label in labels]})
    table["name"] = [label.name for label in labels]
    for part in ("train", "validation"):
        column = counts[part] if part in counts else pd.Series(dtype=int)
        table[part] = table["label"].map(column).fillna(0).astype(int)
    return table

"""The dataset stage: every picture once, at one size, and two tables that say what there is."""

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from dreambirds.data.catalogue import list_photographs
from dreambirds.data.duplicates import first_of_same, tell_duplicates
from dreambirds.data.labels import Label
from dreambirds.data.making import Made, Source, Workshop
from dreambirds.data.packed import packing
from dreambirds.data.split import split
from dreambirds.data.store import Store, default_folder
from dreambirds.data.tables import IMAGE_COLUMNS, label_table, write_table
from dreambirds.data.workers import in_order
from dreambirds.errors import StudyError

LARGE = 1000  # pictures from which on the log tells how far it is
log = logging.getLogger(__name__)


def prepare(dataset: dict, labels: list[Label], folder: Path, store: Path | None = None, threads: int = 1) -> None:
    """Write ``images/<label>/<name>.png``, ``pictures.npy``, ``images.csv`` and ``labels.csv`` into `folder`.

    `dataset` is the config's section. Photographs are prepared once and kept in the folder `store` (None is the
    default one): what is there is not made anew. A picture that can't be read is left out and listed with its reason,
    in the log and in the column `problem`. Raises StudyError where a class is left with too few pictures to learn
    from, and where the store can't be written to.
    """
    workshop = Workshop(dataset, folder, Store(store or default_folder()))
    rows, found = [], 0
    with packing(folder, workshop.shape) as append:
        for made in _make_all(workshop, list(_sources(dataset, labels)), threads):
            rows.append(made.row)
            found += made.stored
            if made.pixels is not None:
                append(made.pixels)
    images = _image_table(rows, labels, dataset)
    good = images[images["problem"] == ""]
    tell_duplicates(good)
    write_table(images, folder / "images.csv")
    write_table(label_table(good, labels), folder / "labels.csv")
    log.info(
        "prepared %d pictures of %d classes, %d of them from the store; %d left out",
        len(good),
        len(labels),
        found,
        len(images) - len(good),
    )


def _sources(dataset: dict, labels: list[Label]) -> Iterator[Source]:
    if dataset["source"] == "drawn":
        for label in labels:
            yield from (Source(label, number, f"{number:04d}") for number in range(dataset["images_per_label"]))
        return
    counts = dict.fromkeys(labels, 0)
    for photograph in list_photographs(dataset, labels):
        yield Source(photograph.label, photograph, f"{counts[photograph.label]:05d}")
        counts[photograph.label] += 1


def _make_all(workshop: Workshop, sources: list[Source], threads: int) -> Iterator[Made]:
    """Make the pictures in order, with a bar on a terminal, and a line in the log every tenth of a large set."""
    total = len(sources)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # of what is read anyway, or refused with a reason
        results = in_order(workshop.make, sources, threads)
        for number, made in enumerate(tqdm(results, total=total, disable=None), 1):
            yield made
            if total >= LARGE and number * 10 // total > (number - 1) * 10 // total:
                log.info("%d %%: %d of %d pictures", number * 100 // total, number, total)


def _image_table(rows: list[dict], labels: list[Label], dataset: dict) -> pd.DataFrame:
    """Return ``images.csv``: a split that photographs bring with them is kept, the others are divided."""
    images = pd.DataFrame([dict.fromkeys(IMAGE_COLUMNS, "") | row for row in rows], columns=IMAGE_COLUMNS)
    good = images["problem"] == ""
    _check_counts(images, labels, dataset)
    free = good & (images["split"] == "")
    images.loc[free, "split"] = split(images.loc[free, "label"], dataset["validation_fraction"], dataset["seed"])
    images.loc[good, "duplicate_of"] = first_of_same(images[good])
    return images


def _check_counts(images: pd.DataFrame, labels: list[Label], dataset: dict) -> None:
    counts = images[images["problem"] == ""].groupby(["label", "split"]).size()
    for label in labels:
        parts = counts.get(label.label, pd.Series(dtype=int))
        readable, validating = int(parts.sum()), int(parts.get("validation", 0))
        if validating and validating == readable:
            raise StudyError(
                f"dataset.split: the given split leaves class '{label.label}' without a readable picture that trains "
                f"({validating} validate); set it to random, or leave the class out of dataset.labels"
            )
        if readable < 2 and not parts.get("train", 0):
            raise StudyError(
                f"dataset.path: class '{label.folder}' in '{dataset['path']}' has {readable} readable picture(s); at "
                f"least 2 JPEG, PNG or WebP files are needed{_first_left_out(images, label)}"
            )


def _first_left_out(images: pd.DataFrame, label: Label) -> str:
    """Return the sentence's end that tells of the class's first picture that is left out, nothing if there is none."""
    left_out = images[(images["label"] == label.label) & (images["problem"] != "")]
    told = left_out[["source", "problem"]].head(1).itertuples(index=False)
    return "".join(f"; the first left out is {row.source}: {row.problem}" for row in told)

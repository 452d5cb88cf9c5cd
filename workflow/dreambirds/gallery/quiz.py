"""A quiz for people: one page that shows dreams, and images of the data set as a control, without their classes."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from dreambirds.config.runs import parse_epoch
from dreambirds.data.answers import COLUMNS
from dreambirds.data.tables import check_exist, read_images
from dreambirds.dream_job.archive import find_picture, open_image, read_picture
from dreambirds.errors import UserError, did_you_mean
from dreambirds.evaluation.columns import SUFFIX
from dreambirds.gallery.comparison import read_results
from dreambirds.gallery.pages import image_uri, write_page
from dreambirds.io import digest_of

LAST = "last"
CHOICES = ("classes", "free", "both")
BALANCED = [["label"], ["recipe"], ["run", "epoch"], ["label", "recipe"]]  # what appears equally often in a quiz
PER_CONTROL = 5  # dreams for each image of the data set


@dataclass(frozen=True)
class Selection:
    """Which dreams a quiz may contain.

    Empty sequences mean all runs and all recipes. `epoch` and `step` are numbers as text; `LAST` means the last one of
    each run or recipe, and `view` is ``raw`` or ``rescaled``.
    """

    runs: Sequence[str] = ()
    recipes: Sequence[str] = ()
    epoch: str = LAST
    step: str = LAST
    view: str = "raw"


@dataclass(frozen=True)
class QuizImage:
    """An image of a quiz: the sha256 by which answers are joined, and a PNG file without metadata."""

    sha256: str
    content: bytes


def write_quiz(
    folder: Path,
    path: Path,
    selection: Selection,
    count: int = 40,
    controls: int | None = None,
    seed: int = 0,
    choices: str = "both",
) -> tuple[int, int]:
    """Write the page of a quiz on a study, and return its numbers of dreams and of images of the data set.

    `folder` contains the study's results. The page has at most `count` dreams and at most `controls` images, by default
    a fifth of `count`. `seed` determines the choice and the order. `choices` is one of `CHOICES`: whether people choose
    a class, write an answer, or either. The page contains no label of an image, and no other hint of it. Raises
    UserError if the selection is empty, or if a file cannot be read.
    """
    table = read_results(folder, "dreams")
    dreams = select_dreams(table, selection)
    names = table.drop_duplicates("label").set_index("label")["class_name"]
    dreamt = read_dreams(folder, balanced(dreams, count, seed), selection.view)
    number = count // PER_CONTROL if controls is None else controls
    images = [*dreamt, *read_controls(folder / "dataset", list(names.index), number, seed)]
    random.Random(seed).shuffle(images)
    write_page(
        path,
        "quiz.html.j2",
        facts={
            "quiz": digest_of([[image.sha256 for image in images], choices])[:12],
            "classes": [
                {"label": label, "name": name}
                for label, name in sorted(names.items(), key=lambda item: item[1].casefold())
            ],
            "choices": choices,
            "columns": COLUMNS,
            "images": [{"sha256": image.sha256, "source": image_uri(image.content, "png")} for image in images],
        },
    )
    return len(dreamt), len(images) - len(dreamt)


def select_dreams(dreams: pd.DataFrame, selection: Selection) -> pd.DataFrame:
    """Return the rows of ``dreams.csv`` that a quiz may contain.

    Raises UserError, with the option, if no dream has such a run, recipe, epoch or step.
    """
    for column, chosen in (("run", selection.runs), ("recipe", selection.recipes)):
        columns = dreams[[column, f"{column}_group"]]
        for name in chosen:
            if name not in (known := {*columns[column], *columns[f"{column}_group"]}):
                hint = did_you_mean(name, sorted(known), "available")
                raise UserError(f"no dreams have the {column} '{name}'; {hint}", f"--{column}")
        dreams = dreams[columns.isin(chosen).any(axis=1)] if chosen else dreams
    for column, chosen, of in (("epoch", selection.epoch, "run"), ("step", selection.step, "recipe")):
        values = dreams[column].astype(float)
        expected = values.groupby(dreams[of]).transform("max") if chosen == LAST else _number(chosen)
        if not (values == expected).any():
            hint = did_you_mean(chosen, [LAST, *map(parse_epoch, values.unique())], "available")
            raise UserError(f"no dreams have the {column} '{chosen}'; {hint}", f"--{column}")
        dreams = dreams[values == expected]
    return dreams


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def balanced(rows: pd.DataFrame, count: int, seed: int) -> pd.DataFrame:
    """Return at most `count` random rows in which each value of the columns `BALANCED` appears about equally often.

    Each row is the one whose values appear least often among the rows before it, in sum over `BALANCED`.
    """
    rows = rows.iloc[np.random.default_rng(seed).permutation(len(rows))]
    groups = [rows.groupby(columns).ngroup().to_numpy() for columns in BALANCED if set(columns) <= set(rows)]
    cost, chosen = np.zeros(len(rows)), []
    for _ in range(min(count, len(rows))):
        best = int(cost.argmin())
        chosen.append(best)
        for group in groups:
            cost += group == group[best]
        cost[best] = np.inf
    return rows.iloc[chosen]


def read_dreams(folder: Path, dreams: pd.DataFrame, view: str) -> list[QuizImage]:
    """Return the images of rows of ``dreams.csv``, each one once, with the sha256 of their files.

    Raises UserError if an image is missing from its archive.
    """
    found = {}
    for name in dreams[f"image_path{SUFFIX[view]}"]:
        picture = find_picture(folder / name)
        if picture is None:
            raise UserError(f"the image '{folder / name}' is missing; run the study again")
        digest = sha256(read_picture(picture)).hexdigest()
        found[digest] = QuizImage(digest, plain_png(open_image(picture)))
    return list(found.values())


def read_controls(folder: Path, labels: Iterable[str], count: int, seed: int) -> list[QuizImage]:
    """Return at most `count` prepared images of the classes, each class equally often, with the sha256 of their pixels.

    They are validation images; if there are none, training images. `folder` contains the prepared data set.
    """
    images = read_images(folder)
    images = images[(images["path"] != "") & images["label"].isin(list(labels))].drop_duplicates("sha256")
    held_out = images[images["split"] == "validation"]
    chosen = balanced(held_out if len(held_out) else images, count, seed)
    check_exist(folder, [folder / path for path in chosen["path"]])
    return [
        QuizImage(digest, plain_png(open_image(folder / path)))
        for path, digest in chosen[["path", "sha256"]].itertuples(index=False)
    ]


def plain_png(image: Image.Image) -> bytes:
    """Return an RGB image as a PNG file without metadata."""
    file = BytesIO()
    Image.frombytes("RGB", image.size, image.tobytes()).save(file, "PNG")
    return file.getvalue()

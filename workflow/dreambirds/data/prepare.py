"""Prepare a data set: crop, resize and record every image, and pack them into one array."""

import hashlib
import logging
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from dreambirds.data.dataset import packing
from dreambirds.data.image_cache import CachedImage, ImageCache, default_folder, picture_key, pixels_digest
from dreambirds.data.image_io import Box, UnreadableError, decode_image, decoding_errors, make_image, widen
from dreambirds.data.labels import Label, shown
from dreambirds.data.sources.catalog import list_photographs
from dreambirds.data.sources.source import Drawing, Photograph, open_photograph, origin
from dreambirds.data.split import first_of_same, log_duplicates, split
from dreambirds.data.tables import IMAGE_COLUMNS, label_table, write_table
from dreambirds.errors import UserError
from dreambirds.io import atomic_write, link_or_copy
from dreambirds.shapes import shape_of

AHEAD = 4  # results a thread that may wait for their turn

Item, Result = TypeVar("Item"), TypeVar("Result")
log = logging.getLogger(__name__)
OTHERS = "further pictures are left out: images.csv lists them all, with the reasons"
SHOWN_WHOLE = "further pictures are shown whole for the same reason"
LARGE = 1000  # pictures from which on the log tells how far it is


def in_order(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Return the function's results in the order of the items, a few more than `threads` in memory at a time.

    What it raises is raised in the item's turn, and no further item is begun.
    """
    waiting: deque = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) == AHEAD * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class PreparedImage:
    """One prepared image: its row of ``images.csv``; its pixels, uint8 (3, H, W), None if it is left out; and whether
    the store had it."""

    row: dict[str, str]
    pixels: np.ndarray | None = None
    stored: bool = False


@dataclass(frozen=True)
class ImagePreparer:
    """Makes pictures: by the config's section, into a folder, by way of the store. Many threads may share it."""

    dataset: dict
    folder: Path
    store: ImageCache

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the pictures."""
        return shape_of(self.dataset["image_size"])

    def make(self, image: Photograph | Drawing, name: str) -> PreparedImage:
        """Write ``images/<label>/<name>.png``; an image that can't be read is left out, with a line in the log."""
        label = image.label.label
        path = Path("images", label, f"{name}.png")
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        row = {"label": label, "source": "" if isinstance(image, Drawing) else origin(image)}
        if isinstance(image, Drawing):
            picture, found = self._draw(image, self.folder / path), False
            row |= {"sha256": pixels_digest(picture), "size": f"{picture.width}x{picture.height}"}
        else:
            try:
                entry, found = self._find_or_make(image)
            except UnreadableError as error:
                problem = shown(str(error))
                log.warning("left out %s: %s", row["source"], problem, extra={"others": OTHERS})
                return PreparedImage({**row, "error": problem})
            link_or_copy(entry.path, self.folder / path)
            picture = entry.picture
            row |= {"sha256": entry.sha256, "size": entry.facts["size"], "split": image.part}
        return PreparedImage({**row, "path": str(path)}, np.asarray(picture).transpose(2, 0, 1), found)

    def _draw(self, image: Drawing, path: Path) -> Image.Image:
        picture = widen(image.draw(min(self.shape)), self.shape)
        with atomic_write(path) as temporary:
            picture.save(temporary)
        return picture

    def _find_or_make(self, photograph: Photograph) -> tuple[CachedImage, bool]:
        """Return a photograph's entry in the store, and whether it was there. Raises UnreadableError."""
        if photograph.problem:
            raise UnreadableError(photograph.problem)
        name, box, margin = origin(photograph), self._box(photograph), self.dataset["crop_margin"] or 0
        with ExitStack() as stack:
            with decoding_errors(name):
                file = stack.enter_context(open_photograph(photograph))
                contents = hashlib.file_digest(file, "sha256").hexdigest()
            key = picture_key(contents, self.shape, box, margin)
            entry = self.store.get(key, self.shape)
            found = entry is not None
            if not found:
                with decoding_errors(name), decode_image(file) as picture:
                    made = make_image(picture, self.shape, box, margin)
                entry = self.store.put(key, *made)
        if box and entry.facts["shown"] != "box":
            told = "%s is shown whole, since its box %s has no area in it"
            log.warning(told, name, list(box), extra={"others": SHOWN_WHOLE})
        return entry, found

    def _box(self, photograph: Photograph) -> Box | None:
        return None if self.dataset["crop_margin"] is None else photograph.box


def prepare(dataset: dict, labels: list[Label], folder: Path, store: Path | None = None, threads: int = 1) -> None:
    """Write ``images/<label>/<name>.png``, ``pictures.npy``, ``images.csv`` and ``labels.csv`` into `folder`.

    `dataset` is the config's section. Photographs are prepared once and kept in the folder `store` (None is the
    default one): what is there is not made anew. A picture that can't be read is left out and listed with its reason,
    in the log and in the column `error`. Raises UserError where a class is left with too few pictures to learn
    from, and where the store can't be written to.
    """
    workshop = ImagePreparer(dataset, folder, ImageCache(store or default_folder()))
    rows, found = [], 0
    with packing(folder, workshop.shape) as append:
        for made in _make_all(workshop, _named(list_photographs(dataset, labels)), threads):
            rows.append(made.row)
            found += made.stored
            if made.pixels is not None:
                append(made.pixels)
    images = _image_table(rows, labels, dataset)
    good = images[images["error"] == ""]
    log_duplicates(good)
    write_table(images, folder / "images.csv")
    write_table(label_table(good, labels), folder / "labels.csv")
    log.info(
        "prepared %d pictures of %d classes, %d of them from the store; %d left out",
        len(good),
        len(labels),
        found,
        len(images) - len(good),
    )


def _named(photographs: Iterable[Photograph | Drawing]) -> list[tuple[Photograph | Drawing, str]]:
    """Return each image with its new name, its number within its class."""
    counts: Counter[Label] = Counter()
    named = []
    for image in photographs:
        digits = 4 if isinstance(image, Drawing) else 5
        named.append((image, f"{counts[image.label]:0{digits}d}"))
        counts[image.label] += 1
    return named


def _make_all(workshop: ImagePreparer, images: list[tuple], threads: int) -> Iterator[PreparedImage]:
    """Make the pictures in order, with a bar on a terminal, and a line in the log every tenth of a large set."""
    total = len(images)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # of what is read anyway, or refused with a reason
        results = in_order(lambda named: workshop.make(*named), images, threads)
        for number, made in enumerate(tqdm(results, total=total, disable=None), 1):
            yield made
            if total >= LARGE and number * 10 // total > (number - 1) * 10 // total:
                log.info("%d %%: %d of %d pictures", number * 100 // total, number, total)


def _image_table(rows: list[dict], labels: list[Label], dataset: dict) -> pd.DataFrame:
    """Return ``images.csv``: a split that photographs bring with them is kept, the others are divided."""
    images = pd.DataFrame([dict.fromkeys(IMAGE_COLUMNS, "") | row for row in rows], columns=IMAGE_COLUMNS)
    good = images["error"] == ""
    _check_counts(images, labels, dataset)
    free = good & (images["split"] == "")
    images.loc[free, "split"] = split(images.loc[free, "label"], dataset["validation_fraction"], dataset["seed"])
    images.loc[good, "duplicate_of"] = first_of_same(images[good])
    return images


def _check_counts(images: pd.DataFrame, labels: list[Label], dataset: dict) -> None:
    counts = images[images["error"] == ""].groupby(["label", "split"]).size()
    for label in labels:
        parts = counts.get(label.label, pd.Series(dtype=int))
        readable, validating = int(parts.sum()), int(parts.get("validation", 0))
        if validating and validating == readable:
            raise UserError(
                f"dataset.split: the given split leaves class '{label.label}' without a readable picture that trains "
                f"({validating} validate); set it to random, or leave the class out of dataset.labels"
            )
        if readable < 2 and not parts.get("train", 0):
            raise UserError(
                f"dataset.path: class '{label.folder}' in '{dataset['path']}' has {readable} readable picture(s); at "
                f"least 2 JPEG, PNG or WebP files are needed{_first_left_out(images, label)}"
            )


def _first_left_out(images: pd.DataFrame, label: Label) -> str:
    """Return the sentence's end that tells of the class's first picture that is left out, nothing if there is none."""
    left_out = images[(images["label"] == label.label) & (images["error"] != "")]
    told = left_out[["source", "error"]].head(1).itertuples(index=False)
    return "".join(f"; the first left out is {row.source}: {row.error}" for row in told)

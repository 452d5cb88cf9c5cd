"""Prepare a data set: crop and resize each image, and pack all into one array."""

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

from dreambirds.data.dataset import write_packed
from dreambirds.data.image_cache import CachedImage, ImageCache, default_folder, image_key, pixel_digest
from dreambirds.data.image_io import (
    Box,
    UnreadableError,
    decode_image,
    decoding_errors,
    make_image,
    short_reason,
    widen,
)
from dreambirds.data.labels import Label
from dreambirds.data.names import escaped
from dreambirds.data.sources.catalog import count_others, left_out, list_photographs
from dreambirds.data.sources.classes import has_no_readable, shortened
from dreambirds.data.sources.source import Drawing, Photograph, open_photograph, origin
from dreambirds.data.split import first_of_same, log_duplicates, split
from dreambirds.data.tables import IMAGE_COLUMNS, label_table, write_table
from dreambirds.errors import counted
from dreambirds.io import atomic_write, link_or_copy
from dreambirds.shapes import shape_of

AHEAD = 4  # results per thread that may wait for their turn

Item, Result = TypeVar("Item"), TypeVar("Result")
log = logging.getLogger(__name__)
OTHERS = "further images are skipped; images.csv lists all of them with the reasons"
MORE_UNCROPPED = "further images are not cropped for the same reason"
LARGE = 1000  # images from which on the log reports progress


def in_order(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Yield the function's results in the order of the items.

    `threads` threads compute them. At most `AHEAD` results per thread wait in memory. An exception is raised when its
    item's turn comes, and no further item is started.
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
    """One prepared image: its row of ``images.csv`` and its pixels.

    The pixels are uint8 (3, H, W), or None for a skipped image. `stored` is whether they come from the store, and
    `notes` are those of `make_image`.
    """

    row: dict[str, str]
    pixels: np.ndarray | None = None
    stored: bool = False
    notes: str = ""


@dataclass(frozen=True)
class ImagePreparer:
    """Prepares images into a folder, using the store.

    `dataset` is the config's section. Several threads may share one preparer.
    """

    dataset: dict
    folder: Path
    store: ImageCache

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the images."""
        return shape_of(self.dataset["image_size"])

    def make(self, image: Photograph | Drawing, name: str) -> PreparedImage:
        """Write ``images/<label>/<name>.png``; log and skip an unreadable image."""
        label = image.label.label
        path = Path("images", label, f"{name}.png")
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        row = {"label": label, "source": "" if isinstance(image, Drawing) else origin(image)}
        if isinstance(image, Drawing):
            picture, found, notes = self._draw(image, self.folder / path), False, ""
            row |= {"sha256": pixel_digest(picture), "size": f"{picture.width}x{picture.height}"}
        else:
            try:
                entry, found = self._find_or_make(image)
            except UnreadableError as error:
                problem = escaped(str(error))
                log.warning("skipped '%s' (%s)", row["source"], problem, extra={"others": OTHERS})
                return PreparedImage({**row, "error": problem})
            link_or_copy(entry.path, self.folder / path)
            picture, notes = entry.image, entry.facts.get("notes", "")
            row |= {"sha256": entry.sha256, "size": entry.facts["size"], "split": image.part}
        return PreparedImage({**row, "path": str(path)}, np.asarray(picture).transpose(2, 0, 1), found, notes)

    def _draw(self, image: Drawing, path: Path) -> Image.Image:
        picture = widen(image.draw(min(self.shape)), self.shape)
        with atomic_write(path) as temporary:
            picture.save(temporary)
        return picture

    def _find_or_make(self, photograph: Photograph) -> tuple[CachedImage, bool]:
        """Return a photograph's entry in the store, and whether it existed before.

        Raises UnreadableError if the photograph cannot be read.
        """
        if photograph.problem:
            raise UnreadableError(photograph.problem)
        name, box, margin = origin(photograph), self._box(photograph), self.dataset["crop_margin"] or 0
        with ExitStack() as stack:
            with decoding_errors(name):
                file = stack.enter_context(open_photograph(photograph))
                contents = hashlib.file_digest(file, "sha256").hexdigest()
            key = image_key(contents, self.shape, box, margin)
            entry = self.store.get(key, self.shape)
            found = entry is not None
            if not found:
                with decoding_errors(name), decode_image(file) as picture:
                    image_and_facts = make_image(picture, self.shape, box, margin)
                entry = self.store.put(key, *image_and_facts)
        if box and entry.facts["region"] != "box":
            message = "'%s' is not cropped, because its box %s does not overlap the image"
            log.warning(message, name, list(box), extra={"others": MORE_UNCROPPED})
        return entry, found

    def _box(self, photograph: Photograph) -> Box | None:
        return None if self.dataset["crop_margin"] is None else photograph.box


def prepare(dataset: dict, labels: list[Label], folder: Path, store: Path | None = None, threads: int = 1) -> None:
    """Write a prepared data set into `folder`.

    The files are ``images/<label>/<name>.png``, ``pictures.npy``, ``images.csv`` and ``labels.csv``. `dataset` is the
    config's section. Prepared photographs are cached in the folder `store` (None: the default one). An unreadable image
    is skipped, and the reason is in the log and in the column `error`. Without any image, the tables of images and the
    array are empty. Raises UserError if a class has too few readable
    images to train on, or if the store cannot be written to.
    """
    preparer = ImagePreparer(dataset, folder, ImageCache(store or default_folder()))
    (folder / "images").mkdir(parents=True, exist_ok=True)  # which may stay empty
    rows, found, notes = [], 0, Counter[str]()
    with write_packed(folder, preparer.shape) as append:
        for prepared in _prepare_all(preparer, _named(list_photographs(dataset, labels)), threads):
            rows.append(prepared.row)
            found += prepared.stored
            notes.update(filter(None, prepared.notes.split("; ")))
            if prepared.pixels is not None:
                append(prepared.pixels)
    images = _image_table(rows, labels, dataset)
    good = images[images["error"] == ""]
    log_duplicates(good)
    write_table(images, folder / "images.csv")
    write_table(label_table(good, labels), folder / "labels.csv")
    log.info(
        "prepared %s of %d classes, %d of them from the store; %d skipped",
        counted(len(good), "image"),
        len(labels),
        found,
        len(images) - len(good),
    )
    for line in _summary(images, notes, count_others(dataset, labels)):
        log.info("%s", line)
    for line in left_out(dataset):
        log.info("%s", line)


def _summary(images: pd.DataFrame, notes: Counter[str], others: int) -> Iterator[str]:
    """Yield lines that count what was left out of the classes' folders, by kind, and what `make_image` notes."""
    kinds = Counter(short_reason(reason) for reason in images["error"] if reason)
    listed = [f"{kind}: {number}" for kind, number in kinds.most_common()]
    hidden = [f"hidden files, files of the system and subfolders: {others}"] if others else []
    if listed or hidden:
        end = "; images.csv lists all but the hidden ones with the reasons" if listed else ""
        yield f"left out {counted(kinds.total() + others, 'file')} ({', '.join([*listed, *hidden])}){end}"
    for note, number in notes.most_common():
        yield f"{counted(number, 'image')}: {note}"


def _named(photographs: Iterable[Photograph | Drawing]) -> list[tuple[Photograph | Drawing, str]]:
    """Return each image with its new file name: its number within its class."""
    counts: Counter[Label] = Counter()
    named = []
    for image in photographs:
        digits = 4 if isinstance(image, Drawing) else 5
        named.append((image, f"{counts[image.label]:0{digits}d}"))
        counts[image.label] += 1
    return named


def _prepare_all(preparer: ImagePreparer, images: list[tuple], threads: int) -> Iterator[PreparedImage]:
    """Yield the prepared images in order; show a progress bar on a terminal.

    For a large set, also log the progress at every tenth.
    """
    total = len(images)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")  # such images are read anyway, or skipped with a reason
        results = in_order(lambda named: preparer.make(*named), images, threads)
        for number, prepared in enumerate(tqdm(results, total=total, disable=None), 1):
            yield prepared
            if total >= LARGE and number * 10 // total > (number - 1) * 10 // total:
                log.info("%d%%: %d of %d images", number * 100 // total, number, total)


def _image_table(rows: list[dict], labels: list[Label], dataset: dict) -> pd.DataFrame:
    """Return the table ``images.csv``; keep a given split, and split the other images."""
    images = pd.DataFrame([dict.fromkeys(IMAGE_COLUMNS, "") | row for row in rows], columns=IMAGE_COLUMNS)
    good = images["error"] == ""
    if rows:
        _check_counts(images, labels, dataset)
    free = good & (images["split"] == "")
    images.loc[free, "split"] = split(images.loc[free, "label"], dataset["validation_fraction"], dataset["seed"])
    images.loc[good, "duplicate_of"] = first_of_same(images[good])
    return images


def _check_counts(images: pd.DataFrame, labels: list[Label], dataset: dict) -> None:
    """Warn of classes with too few readable images; raise UserError for one without any to train on."""
    good = images[images["error"] == ""]
    readable, validating = good["label"].value_counts(), good.loc[good["split"] == "validation", "label"].value_counts()
    few = []
    for label in labels:
        count = int(readable.get(label.label, 0))
        if count == validating.get(label.label, 0):
            raise has_no_readable(label, dataset, _first_skipped(images, label))
        if count < dataset["min_photographs"]:
            few.append(f"'{label.label}' ({count})")
    if few:
        listed, least = shortened(few), dataset["min_photographs"]
        log.warning("%s with fewer than %d readable images: %s", counted(len(few), "class"), least, listed)


def _first_skipped(images: pd.DataFrame, label: Label) -> str:
    """Return a note for an error: the class's first skipped image, if any, and the reason."""
    skipped = images[(images["label"] == label.label) & (images["error"] != "")]
    rows = skipped[["source", "error"]].head(1).itertuples(index=False)
    return "".join(f" (the first skipped one is '{row.source}': {row.error})" for row in rows)

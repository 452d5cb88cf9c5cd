"""A competition's submission: which class a checkpoint sees in each picture that is to be classified."""

import csv
import itertools
import logging
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from dreambirds.data.image_io import UnreadableError, decode_image, decoding_errors, make_image, to_tensor
from dreambirds.data.prepare import in_order
from dreambirds.data.sources.catalog import list_labels, list_tests
from dreambirds.data.sources.source import Photograph, open_photograph, origin
from dreambirds.errors import UserError
from dreambirds.io import atomic_write
from dreambirds.models.checkpoint import load_checkpoint
from dreambirds.models.classifier import Classifier
from dreambirds.shapes import shape_of
from dreambirds.training.data import as_float

BATCH = 64
log = logging.getLogger(__name__)


def write_submission(checkpoint: Path, dataset: dict, path: Path, device: torch.device, threads: int = 1) -> None:
    """Write a table of `path` and `class`, the competition's number, a row a picture in the order that it asks for.

    `dataset` is the config's section. A picture that can't be read gets the most frequent class; how many there are
    goes to the log. Raises UserError if none can be read, or the data set does not have the checkpoint's classes.
    """
    classifier, info = load_checkpoint(checkpoint)
    numbers = _numbers(info.labels, dataset, checkpoint)
    names, photographs = zip(*list_tests(dataset), strict=True)
    classifier = classifier.to(device, memory_format=torch.channels_last)
    found = classify(classifier, photographs, dataset["image_size"], threads)
    places = fill(found, [origin(photograph) for photograph in photographs])
    _write(path, [(name, numbers[place]) for name, place in zip(names, places, strict=True)])
    log.info("%s: %d pictures classified", path.name, len(names))


def classify(
    classifier: Classifier, photographs: Sequence[Photograph], size: int | list[int], threads: int = 1
) -> list[int | str]:
    """Return each photograph's most likely class, by its place among the model's, or why it can't be read.

    Photographs are made to `size` as those of training are, by so many threads, and go to the model a batch at a time.
    """
    found, pictures = [], in_order(partial(read, shape=shape_of(size)), photographs, threads)
    with torch.inference_mode(), tqdm(total=len(photographs), desc="classify", disable=None, leave=False) as bar:
        while batch := list(itertools.islice(pictures, BATCH)):
            readable = [picture for picture in batch if not isinstance(picture, str)]
            places = iter(_most_likely(classifier, torch.stack(readable)) if readable else [])
            found += [picture if isinstance(picture, str) else next(places) for picture in batch]
            bar.update(len(batch))
    return found


def read(photograph: Photograph, shape: tuple[int, int]) -> torch.Tensor | str:
    """Return a photograph as uint8 (3, H, W) of a shape, or why it can't be read."""
    try:
        if photograph.problem:
            raise UnreadableError(photograph.problem)
        with decoding_errors(origin(photograph)), open_photograph(photograph) as file, decode_image(file) as picture:
            return to_tensor(make_image(picture, shape, box=None, margin=0)[0])
    except UnreadableError as reason:
        return str(reason)


def _most_likely(classifier: Classifier, pictures: torch.Tensor) -> list[int]:
    images = as_float()(pictures).to(classifier.mean.device, memory_format=torch.channels_last)
    return classifier(images).argmax(dim=1).tolist()


def fill(found: list[int | str], names: list[str]) -> list[int]:
    """Return the classes found, with the most frequent one, of several the first, wherever there is a reason instead.

    Raises UserError if there are only reasons.
    """
    counts = Counter(place for place in found if not isinstance(place, str))
    missing = [f"{name}: {place}" for name, place in zip(names, found, strict=True) if isinstance(place, str)]
    if not counts:
        raise UserError(f"dataset.path: none of {len(missing)} pictures to classify can be read; {missing[0]}")
    usual = min(counts, key=lambda place: (-counts[place], place))
    if missing:
        log.warning(
            "%d of %d pictures can't be read and get the most frequent class; the first is %s",
            *(len(missing), len(found), missing[0]),
        )
    return [usual if isinstance(place, str) else place for place in found]


def _numbers(labels: list[str], dataset: dict, checkpoint: Path) -> list[str]:
    """Return the competition's number of each of the checkpoint's classes, in their order."""
    number = {label.label: label.folder for label in list_labels(dataset)}
    strange = [label for label in labels if label not in number]
    if strange:
        raise UserError(
            f"'{checkpoint}' tells '{strange[0]}' apart, which is no class of the data set now; train again"
        )
    return [number[label] for label in labels]


def _write(path: Path, rows: list[tuple[str, str]]) -> None:
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("path", "class"), *rows])

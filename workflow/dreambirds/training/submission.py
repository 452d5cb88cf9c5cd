"""A competition's submission: the predicted class of each test image."""

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
    """Write the columns ``path`` and ``class``, with one row per test image.

    Rows are in the competition's order, and classes are its numbers. `dataset` is the section of the config. An image
    that cannot be read gets the most frequent class; a warning in the log reports how many there are. Raises UserError
    if none can be read, or if the data set lacks a class of the checkpoint.
    """
    classifier, info = load_checkpoint(checkpoint)
    numbers = _numbers(info.labels, dataset, checkpoint)
    names, photographs = zip(*list_tests(dataset), strict=True)
    classifier = classifier.to(device, memory_format=torch.channels_last)
    predictions = classify(classifier, photographs, dataset["image_size"], threads)
    classes = fill(predictions, [origin(photograph) for photograph in photographs])
    _write(path, [(name, numbers[index]) for name, index in zip(names, classes, strict=True)])
    log.info("%s: %d images classified", path.name, len(names))


def classify(
    classifier: Classifier, photographs: Sequence[Photograph], size: int | list[int], threads: int = 1
) -> list[int | str]:
    """Return the index of each photograph's top-1 class, or why it is unreadable.

    Photographs are prepared at `size` as for training, by `threads` threads, and classified in batches.
    """
    predictions, images = [], in_order(partial(read, shape=shape_of(size)), photographs, threads)
    with torch.inference_mode(), tqdm(total=len(photographs), desc="classify", disable=None, leave=False) as bar:
        while batch := list(itertools.islice(images, BATCH)):
            readable = [image for image in batch if not isinstance(image, str)]
            classes = iter(_most_likely(classifier, torch.stack(readable)) if readable else [])
            predictions += [image if isinstance(image, str) else next(classes) for image in batch]
            bar.update(len(batch))
    return predictions


def read(photograph: Photograph, shape: tuple[int, int]) -> torch.Tensor | str:
    """Return a photograph as uint8 (3, *shape), or why it is unreadable."""
    try:
        if photograph.problem:
            raise UnreadableError(photograph.problem)
        with decoding_errors(origin(photograph)), open_photograph(photograph) as file, decode_image(file) as decoded:
            return to_tensor(make_image(decoded, shape, box=None, margin=0)[0])
    except UnreadableError as reason:
        return str(reason)


def _most_likely(classifier: Classifier, images: torch.Tensor) -> list[int]:
    floats = as_float()(images).to(classifier.mean.device, memory_format=torch.channels_last)
    return classifier(floats).argmax(dim=1).tolist()


def fill(predictions: list[int | str], names: list[str]) -> list[int]:
    """Return predicted classes, with reasons replaced by the most frequent class.

    Of several most frequent classes the first is used. Raises UserError if there are only reasons.
    """
    counts = Counter(each for each in predictions if not isinstance(each, str))
    unreadable = [f"'{name}' ({each})" for name, each in zip(names, predictions, strict=True) if isinstance(each, str)]
    if not counts:
        raise UserError(
            f"dataset.path: cannot read any of the {len(unreadable)} images to classify, such as {unreadable[0]}; "
            "replace them"
        )
    most_frequent = min(counts, key=lambda index: (-counts[index], index))
    if unreadable:
        log.warning(
            "cannot read %d of %d images, so the most frequent class is predicted for these; the first is %s",
            *(len(unreadable), len(predictions), unreadable[0]),
        )
    return [most_frequent if isinstance(each, str) else each for each in predictions]


def _numbers(labels: list[str], dataset: dict, checkpoint: Path) -> list[str]:
    """Return the competition's number of each class of the checkpoint, in its order."""
    number = {label.label: label.folder for label in list_labels(dataset)}
    missing = [label for label in labels if label not in number]
    if missing:
        raise UserError(
            f"'{checkpoint}' has the class '{missing[0]}', which the data set does not have; delete the folder "
            f"'{checkpoint.parent.parent}' and run the same command again to retrain the run"
        )
    return [number[label] for label in labels]


def _write(path: Path, rows: list[tuple[str, str]]) -> None:
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("path", "class"), *rows])

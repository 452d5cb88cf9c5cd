"""Split images into training and validation, and find duplicates."""

import logging
from collections.abc import Iterator

import pandas as pd

from dreambirds.errors import counted
from dreambirds.seeding import label_rng

MAX_LISTED = 3
log = logging.getLogger(__name__)


def split(labels: pd.Series, validation_fraction: float, seed: int) -> pd.Series:
    """Return ``train`` or ``validation`` for each image, given its label.

    The index is kept. The split is stratified: of the n images of a class, round(fraction * n) are for validation, at
    least one if the fraction is not 0. At least one is always for training. Each class is shuffled with its own random
    generator, so a new class does not change the split of another.
    """
    parts = pd.Series("train", index=labels.index)
    for label, members in labels.groupby(labels, sort=True):
        count = min(max(round(validation_fraction * len(members)), validation_fraction > 0), len(members) - 1)
        chosen = label_rng(seed, label).permutation(len(members))[:count]
        parts[members.index[chosen]] = "validation"
    return parts


def first_of_same(images: pd.DataFrame) -> pd.Series:
    """Return for each image the path of the first one with the same pixels.

    The path is empty if the image itself is the first one.
    """
    first = images.groupby("sha256", sort=False)["path"].transform("first")
    return first.where(first != images["path"], "")


def log_duplicates(images: pd.DataFrame) -> None:
    """Log how many images are duplicates, with a warning if they harm training.

    That is if copies are in both parts of the split, or in several classes.
    """
    copies = images[images["duplicate_of"] != ""]
    if copies.empty:
        return
    log.info("found %s: %s", counted(len(copies), "duplicate image"), _examples(images, copies["sha256"]))
    for column, problem in (
        ("split", "in both training and validation, which inflates the validation accuracy"),
        ("label", "in more than one class, so no model can tell these classes apart"),
    ):
        values = images.groupby("sha256")[column].nunique()
        conflicts = images[images["sha256"].isin(values.index[values > 1])]
        if not conflicts.empty:
            examples, count = _examples(images, conflicts["sha256"]), conflicts["sha256"].nunique()
            images_are = f"{counted(count, 'image')} {'is' if count == 1 else 'are'}"
            log.warning("%s %s: %s; remove the copies", images_are, problem, examples)


def _examples(images: pd.DataFrame, digests: pd.Series) -> str:
    """Return the files of the first few images, such as ``a = b, c = d, and 5 more``."""
    different = list(digests.drop_duplicates())
    more = [f"and {len(different) - MAX_LISTED} more"] if len(different) > MAX_LISTED else []
    return ", ".join([*_equations(images, different[:MAX_LISTED]), *more])


def _equations(images: pd.DataFrame, digests: list[str]) -> Iterator[str]:
    for digest in digests:
        same = images[images["sha256"] == digest]
        names = same["source"].where(same["source"] != "", same["path"])
        yield " = ".join([*names[:MAX_LISTED], *(["…"] if len(names) > MAX_LISTED else [])])

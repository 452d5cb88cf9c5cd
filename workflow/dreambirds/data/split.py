"""Divide images between training and validation, and find those that are there twice."""

import logging
from collections.abc import Iterator

import pandas as pd

from dreambirds.seeding import label_rng

SHOWN = 3
log = logging.getLogger(__name__)


def split(labels: pd.Series, validation_fraction: float, seed: int) -> pd.Series:
    """Return ``train`` or ``validation`` for every picture, given its label; the index is kept.

    Stratified: of each class round(fraction * n) pictures validate, at least one if the fraction is not 0, and at
    least one always trains. Every class shuffles with a stream of its own, so that a new class moves no picture
    of another.
    """
    parts = pd.Series("train", index=labels.index)
    for label, members in labels.groupby(labels, sort=True):
        count = min(max(round(validation_fraction * len(members)), validation_fraction > 0), len(members) - 1)
        chosen = label_rng(seed, label).permutation(len(members))[:count]
        parts[members.index[chosen]] = "validation"
    return parts


def first_of_same(images: pd.DataFrame) -> pd.Series:
    """Return for every picture the path of the first one with the same pixels, or nothing if that is itself."""
    first = images.groupby("sha256", sort=False)["path"].transform("first")
    return first.where(first != images["path"], "")


def log_duplicates(images: pd.DataFrame) -> None:
    """Write to the log how many pictures are copies, and loudly where those spoil training or its measurements."""
    copies = images[images["duplicate_of"] != ""]
    if copies.empty:
        return
    log.info("%d pictures are copies of others, pixel for pixel: %s", len(copies), _examples(images, copies["sha256"]))
    for column, sentence in (
        ("split", "train and validate at once, so that the validation accuracy is too good"),
        ("label", "lie in more than one class, so that no model can tell them apart"),
    ):
        values = images.groupby("sha256")[column].nunique()
        torn = images[images["sha256"].isin(values.index[values > 1])]
        if not torn.empty:
            said = _examples(images, torn["sha256"])
            log.warning("WARNING: %d pictures %s: %s; remove the copies", torn["sha256"].nunique(), sentence, said)


def _examples(images: pd.DataFrame, digests: pd.Series) -> str:
    different = list(digests.drop_duplicates())
    more = [f"and {len(different) - SHOWN} more"] if len(different) > SHOWN else []
    return ", ".join([*_equations(images, different[:SHOWN]), *more])


def _equations(images: pd.DataFrame, digests: list[str]) -> Iterator[str]:
    for digest in digests:
        same = images[images["sha256"] == digest]
        names = same["source"].where(same["source"] != "", same["path"])
        yield " = ".join([*names[:SHOWN], *(["…"] if len(names) > SHOWN else [])])

"""Divide the pictures between training and validation."""

import pandas as pd

from dreambirds.data.chance import label_stream


def split(labels: pd.Series, validation_fraction: float, seed: int) -> pd.Series:
    """Return ``train`` or ``validation`` for every picture, given its label; the index is kept.

    Stratified: of each class round(fraction * n) pictures validate, at least one if the fraction is not 0, and at
    least one always trains. Every class shuffles with a stream of its own, so that a new class moves no picture
    of another.
    """
    parts = pd.Series("train", index=labels.index)
    for label, members in labels.groupby(labels, sort=True):
        count = min(max(round(validation_fraction * len(members)), validation_fraction > 0), len(members) - 1)
        chosen = label_stream(seed, label).permutation(len(members))[:count]
        parts[members.index[chosen]] = "validation"
    return parts

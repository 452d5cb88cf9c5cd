"""Random streams that belong to a class, so that no other class moves them."""

import hashlib

import numpy as np


def label_stream(seed: int, label: str, *more: int) -> np.random.Generator:
    """Return a generator that depends on the seed, on the label's own letters, and on further whole numbers."""
    number = int.from_bytes(hashlib.sha256(label.encode()).digest()[:4], "big")
    return np.random.default_rng([seed, number, *more])

"""Seed random generators: one per dream, per image, and per update."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive_seed(*parts: object) -> int:
    """Return a whole number below 2**63 that depends on all parts and their order."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1


@contextmanager
def fork_rng(*parts: object) -> Iterator[None]:
    """Let torch's global CPU generator draw what belongs to these parts, then put it back as it was."""
    generator = torch.default_generator  # torch.manual_seed costs a hundred times as much
    before = generator.get_state()
    generator.manual_seed(derive_seed(*parts))
    try:
        yield
    finally:
        generator.set_state(before)


def seed_update(device: torch.device, *parts: object) -> None:
    """Seed all chance of an update on the processor and on `device`."""
    torch.default_generator.manual_seed(derive_seed(*parts))
    if device.type == "cuda":
        torch.cuda.manual_seed(derive_seed(*parts))


def label_rng(seed: int, label: str, *more: int) -> np.random.Generator:
    """Return a generator that depends on the seed, on the label's own letters, and on further whole numbers."""
    number = int.from_bytes(hashlib.sha256(label.encode()).digest()[:4], "big")
    return np.random.default_rng([seed, number, *more])


def generator(seed: int, key: str) -> torch.Generator:
    """Return a generator that depends on the seed and on a key, such as what a dream is of."""
    digest = hashlib.sha256(f"{seed}/{key}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)

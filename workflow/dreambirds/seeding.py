"""Seed random generators: one per dream, per image, and per update."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive_seed(*parts: object) -> int:
    """Return an integer below 2**63 that depends on all parts and their order."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1


@contextmanager
def fork_rng(*parts: object) -> Iterator[None]:
    """Seed torch's global CPU generator within the block, then restore its state."""
    generator = torch.default_generator  # torch.manual_seed takes a hundred times as long
    before = generator.get_state()
    generator.manual_seed(derive_seed(*parts))
    try:
        yield
    finally:
        generator.set_state(before)


def seed_update(device: torch.device, *parts: object) -> None:
    """Seed all random draws of an update, on the CPU and on `device`."""
    torch.default_generator.manual_seed(derive_seed(*parts))
    if device.type == "cuda":
        torch.cuda.manual_seed(derive_seed(*parts))
    if device.type == "mps":
        torch.mps.manual_seed(derive_seed(*parts))


def label_rng(seed: int, label: str, *more: int) -> np.random.Generator:
    """Return a generator that depends on the seed, the label and further integers."""
    number = int.from_bytes(hashlib.sha256(label.encode()).digest()[:4], "big")
    return np.random.default_rng([seed, number, *more])


def generator(seed: int, key: str) -> torch.Generator:
    """Return a generator for a seed and a key, such as what a dream maximizes."""
    digest = hashlib.sha256(f"{seed}/{key}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)

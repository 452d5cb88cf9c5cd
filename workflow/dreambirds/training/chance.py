"""Chance that belongs to a picture or an update, so that neither loaders nor a cut in an epoch move it."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def seed_of(*parts: object) -> int:
    """Return a whole number below 2**63 that depends on all parts and their order."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1


@contextmanager
def drawing(*parts: object) -> Iterator[None]:
    """Let torch's global CPU generator draw what belongs to these parts, then put it back as it was."""
    generator = torch.default_generator  # torch.manual_seed costs a hundred times as much
    before = generator.get_state()
    generator.manual_seed(seed_of(*parts))
    try:
        yield
    finally:
        generator.set_state(before)


def begin(device: torch.device, *parts: object) -> None:
    """Seed all chance of an update on the processor and on `device`."""
    torch.default_generator.manual_seed(seed_of(*parts))
    if device.type == "cuda":
        torch.cuda.manual_seed(seed_of(*parts))

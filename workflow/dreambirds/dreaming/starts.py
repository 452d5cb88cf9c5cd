"""Where dreams begin: start images, and the random stream that each dream keeps for itself."""

import hashlib
from pathlib import Path

import torch
from torch.utils.data import Dataset

from dreambirds.data.photographs import read_photograph, square, to_tensor
from dreambirds.errors import StudyError

NOISE = 0.1


def stream(seed: int, key: str) -> torch.Generator:
    """Return a generator that depends on the seed and on what the dream is of, never on its place in a batch."""
    digest = hashlib.sha256(f"{seed}/{key}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


class Starts(Dataset):
    """One start image a dream, float32 (3, size, size) in [0, 1], with the dream's place; for a ``DataLoader``."""

    def __init__(self, kind: str, size: int, streams: list[torch.Generator], photographs: list[Path] = ()):
        """Take ``grey``, ``noise``, ``gradient`` or ``photograph``, and then a photograph a dream."""
        self.kind, self.size, self.streams, self.photographs = kind, size, streams, list(photographs)

    def __len__(self) -> int:
        return len(self.streams)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        if self.kind == "photograph":
            try:
                picture = read_photograph(self.photographs[place])
            except ValueError as error:
                raise StudyError(f"the start photograph '{self.photographs[place]}' can't be read: {error}") from error
            return to_tensor(square(picture, self.size)).float() / 255, place
        return _DRAWN[self.kind](self.size, self.streams[place]), place


def grey(size: int, _: torch.Generator) -> torch.Tensor:
    """Return the original study's start: (128, 128, 128) of 255."""
    return torch.full((3, size, size), 128 / 255)


def noise(size: int, random: torch.Generator) -> torch.Tensor:
    """Return grey with Gaussian noise of standard deviation 0.1."""
    return (0.5 + NOISE * torch.randn((3, size, size), generator=random)).clamp(0, 1)


def gradient(size: int, _: torch.Generator) -> torch.Tensor:
    """Return a colour gradient: red grows to the right and green downwards, blue falls to the right."""
    ramp = torch.linspace(0.2, 0.8, size)
    across, down = ramp.expand(size, size), ramp[:, None].expand(size, size)
    return torch.stack([across, down, across.flip(-1)])


_DRAWN = {"grey": grey, "noise": noise, "gradient": gradient}

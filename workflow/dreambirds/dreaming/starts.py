"""Where dreams begin: start images, and the random stream that each dream keeps for itself."""

import torch
from torch.utils.data import Dataset

from dreambirds.dreaming.parameterization import Fourier
from dreambirds.dreaming.recipe import Start
from dreambirds.dreaming.updates import blur

GRAY = 128 / 255
SPECTRAL_DEVIATION = 0.01


class Starts(Dataset[tuple[torch.Tensor, int]]):
    """One start image a dream, float32 (3, H, W) in [0, 1], with the dream's place; for a ``DataLoader``."""

    def __init__(self, start: Start, shape: tuple[int, int], rngs: list[torch.Generator]):
        """Take how to begin, the height and width in pixels, and a stream a dream."""
        self.start, self.shape, self.rngs = start, shape, rngs

    def __len__(self) -> int:
        return len(self.rngs)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        image = KINDS[self.start.kind](self.start, self.shape, self.rngs[place], place)
        return blur(image[None], [self.start.blur_sigma])[0], place


def gray(_start: Start, shape: tuple[int, int], _random: torch.Generator, _place: int) -> torch.Tensor:
    """Return the original study's start: (128, 128, 128) of 255."""
    return torch.full((3, *shape), GRAY)


def color(start: Start, shape: tuple[int, int], _random: torch.Generator, _place: int) -> torch.Tensor:
    """Return one colour everywhere."""
    values = bytes.fromhex(start.color.lstrip("#"))
    return (torch.tensor(list(values)) / 255).view(3, 1, 1).expand(3, *shape).clone()


def noise(start: Start, shape: tuple[int, int], random: torch.Generator, _place: int) -> torch.Tensor:
    """Return grey with Gaussian noise."""
    return (0.5 + start.noise * torch.randn((3, *shape), generator=random)).clamp(0, 1)


def spectral_noise(_start: Start, shape: tuple[int, int], random: torch.Generator, _place: int) -> torch.Tensor:
    """Return Lucid's start: coefficients of `Fourier` with a standard deviation of 0.01."""
    height, width = shape
    coefficients = torch.randn((1, 3, height, width // 2 + 1, 2), generator=random)
    return Fourier(height, width).decode(SPECTRAL_DEVIATION * coefficients)[0]


def gradient(_start: Start, shape: tuple[int, int], _random: torch.Generator, _place: int) -> torch.Tensor:
    """Return a colour gradient: red grows to the right and green downwards, blue falls to the right."""
    height, width = shape
    across, down = (torch.linspace(0.2, 0.8, side) for side in (width, height))
    across, down = across.expand(height, width), down[:, None].expand(height, width)
    return torch.stack([across, down, across.flip(-1)])


def given(start: Start, _shape: tuple[int, int], _random: torch.Generator, place: int) -> torch.Tensor:
    """Return the image that the caller gives for the dream: a photograph, or the mean image of a class."""
    return start.images[place]


KINDS = {
    "gray": gray,
    "color": color,
    "noise": noise,
    "spectral_noise": spectral_noise,
    "gradient": gradient,
    "photograph": given,
    "class_mean": given,
}

"""Start images of dreams."""

import torch
from torch.utils.data import Dataset

from dreambirds.dreaming.parameterization import Fourier
from dreambirds.dreaming.recipe import Start
from dreambirds.dreaming.updates import blur

GRAY = 128 / 255
SPECTRAL_DEVIATION = 0.01


class Starts(Dataset[tuple[torch.Tensor, int]]):
    """One start image per dream, (3, H, W) in [0, 1], and the dream's index.

    Images are float32. It is a data set for a ``DataLoader``.
    """

    def __init__(self, start: Start, shape: tuple[int, int], rngs: list[torch.Generator]):
        """Take the settings, the (height, width) in pixels, and one generator per dream."""
        self.start, self.shape, self.rngs = start, shape, rngs

    def __len__(self) -> int:
        return len(self.rngs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = KINDS[self.start.kind](self.start, self.shape, self.rngs[index], index)
        return blur(image[None], [self.start.blur_sigma])[0], index


def gray(_start: Start, shape: tuple[int, int], _rng: torch.Generator, _index: int) -> torch.Tensor:
    """Return the original study's start image: gray, 128 / 255."""
    return torch.full((3, *shape), GRAY)


def color(start: Start, shape: tuple[int, int], _rng: torch.Generator, _index: int) -> torch.Tensor:
    """Return an image of one color."""
    values = bytes.fromhex(start.color.lstrip("#"))
    return (torch.tensor(list(values)) / 255).view(3, 1, 1).expand(3, *shape).clone()


def noise(start: Start, shape: tuple[int, int], rng: torch.Generator, _index: int) -> torch.Tensor:
    """Return gray (0.5) with Gaussian noise, clamped to [0, 1]."""
    return (0.5 + start.noise * torch.randn((3, *shape), generator=rng)).clamp(0, 1)


def spectral_noise(_start: Start, shape: tuple[int, int], rng: torch.Generator, _index: int) -> torch.Tensor:
    """Return Lucid's start image: normal `Fourier` parameters with deviation 0.01."""
    height, width = shape
    coefficients = torch.randn((1, 3, height, width // 2 + 1, 2), generator=rng)
    return Fourier(height, width).decode(SPECTRAL_DEVIATION * coefficients)[0]


def gradient(_start: Start, shape: tuple[int, int], _rng: torch.Generator, _index: int) -> torch.Tensor:
    """Return a color gradient with values from 0.2 to 0.8.

    Red increases to the right and green downwards; blue decreases to the right.
    """
    height, width = shape
    across, down = (torch.linspace(0.2, 0.8, side) for side in (width, height))
    across, down = across.expand(height, width), down[:, None].expand(height, width)
    return torch.stack([across, down, across.flip(-1)])


def given(start: Start, _shape: tuple[int, int], _rng: torch.Generator, index: int) -> torch.Tensor:
    """Return the caller's image: a photograph, the mean image of a class, or another dream."""
    return start.images[index]


KINDS = {
    "gray": gray,
    "color": color,
    "noise": noise,
    "spectral_noise": spectral_noise,
    "gradient": gradient,
    "photograph": given,
    "class_mean": given,
    "dream": given,
}

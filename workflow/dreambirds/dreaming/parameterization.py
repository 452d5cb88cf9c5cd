"""Image parameterizations: pixels, Fourier coefficients, MACO and pyramids, and decorrelated colors."""

import math
from collections.abc import Iterable

import torch
from torch.nn import functional

from dreambirds.dreaming.crops import resampling_weights

EDGE = 1 / 512
LUCID_SCALE = 4.0
ANGLES = math.pi / math.sqrt(3)
TINY = 1e-5
PYRAMID_SCALE = 2.0


def color_matrix(dtype: torch.dtype = torch.float32, device: torch.device | None = None) -> torch.Tensor:
    """Return (3, 3): what to multiply independent colours with, from the left, to get correlated ones."""
    matrix = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]], dtype=dtype, device=device)
    longest: torch.Tensor = matrix.norm(dim=0).max()
    return matrix / longest


def to_pixels(colors: torch.Tensor) -> torch.Tensor:
    """Return images in [0, 1] of independent colours (B, 3, H, W) that may be any numbers: correlate, then sigmoid."""
    matrix = color_matrix(colors.dtype, colors.device)
    return (matrix @ colors.flatten(2)).view_as(colors).sigmoid()


def from_pixels(images: torch.Tensor) -> torch.Tensor:
    """Undo `to_pixels`; what is darker or brighter than a 512th from the edge is taken as that."""
    inverse = torch.linalg.inv(color_matrix(torch.float64)).to(images)
    return torch.einsum("ij,bjhw->bihw", inverse, images.clamp(EDGE, 1 - EDGE).logit())


class Pixels:
    """Images themselves, (B, 3, H, W) in [0, 1]."""

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return parameters whose image is the given one."""
        return images.contiguous()

    def decode(self, parameters: torch.Tensor) -> torch.Tensor:
        """Return images (B, 3, H, W) in [0, 1]."""
        return parameters


class Fourier:
    """Fourier coefficients of decorrelated colours, low frequencies first in line: Lucid's `fft_image`.

    Parameters are (B, 3, H, W // 2 + 1, 2), real and imaginary parts. Each is divided by its frequency, so that a step
    of one length moves large shapes more than grain.
    """

    def __init__(self, height: int, width: int):
        """Prepare for images of one size."""
        self.size = (height, width)
        frequencies = _frequencies(height, width)
        self.scale = 1 / frequencies.clamp(min=1 / max(height, width)) / LUCID_SCALE

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return parameters whose image is the given one, to rounding and but for values at the edge of the range."""
        spectrum = torch.fft.rfft2(from_pixels(images), norm="ortho") / self.scale.to(images)
        return torch.view_as_real(spectrum).contiguous()

    def decode(self, parameters: torch.Tensor) -> torch.Tensor:
        """Return images (B, 3, H, W) in [0, 1]."""
        spectrum = torch.view_as_complex(parameters) * self.scale.to(parameters)
        return to_pixels(torch.fft.irfft2(spectrum, s=self.size, norm="ortho"))


class Maco:
    """Phases alone, the magnitudes held to a mean spectrum of real pictures: MACO, Fel et al. 2023.

    Parameters are (B, 3, H, W // 2 + 1). As in Horama and Xplique, each image's are standardised before they are used,
    so that large steps can be taken; here to the deviation of evenly spread angles, as those of pictures are. The
    magnitudes are of decorrelated colours, (3, H, W // 2 + 1), from `mean_spectrum` of pictures of the same size.
    """

    def __init__(self, height: int, width: int, magnitudes: torch.Tensor):
        """Prepare for images of one size. Raises ValueError if the magnitudes are of another."""
        if magnitudes.shape != (3, height, width // 2 + 1):
            raise ValueError(f"a spectrum of {tuple(magnitudes.shape)} does not fit pictures of {height}x{width}")
        self.size, self.magnitudes = (height, width), magnitudes

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return the phases of images; what their magnitudes were is forgotten."""
        phases: torch.Tensor = torch.fft.rfft2(from_pixels(images), norm="ortho").angle()
        return phases

    def decode(self, parameters: torch.Tensor) -> torch.Tensor:
        """Return images (B, 3, H, W) in [0, 1]."""
        axes = (1, 2, 3)
        phases = parameters - parameters.mean(dim=axes, keepdim=True)
        phases = ANGLES * phases / parameters.std(dim=axes, keepdim=True).clamp(min=TINY)
        magnitudes = self.magnitudes.to(parameters)
        spectrum = torch.complex(magnitudes * phases.cos(), magnitudes * phases.sin())
        return to_pixels(torch.fft.irfft2(spectrum, s=self.size, norm="ortho"))


class Pyramid:
    """The sum of images of decorrelated colors at rising resolutions: Direct Ascent Synthesis, Fort & Whitaker 2025
    (arXiv 2502.07753).

    Parameters are (B, N): the colors (3, h, w) of all levels in line, from the coarsest, whose shorter side is one
    pixel, to the finest, which is as large as the image. Each level has about half the sides of the next. Each is
    enlarged bilinearly before they are added.
    """

    def __init__(self, height: int, width: int):
        """Prepare for images of one size."""
        finer = range(math.ceil(math.log2(min(height, width))), -1, -1)
        self.shapes = [(math.ceil(height / 2**times), math.ceil(width / 2**times)) for times in finer]
        self.sizes = [3 * math.prod(shape) for shape in self.shapes]
        self.down = [_enlarging(rows, height) for rows, _ in self.shapes]
        self.across = [_enlarging(columns, width) for _, columns in self.shapes]

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return parameters whose image is the given one, to rounding and but for values at the edge of the range.

        Each level takes what the coarser ones lack, as in a Laplacian pyramid (Burt & Adelson 1983).
        """
        levels, rest = [], from_pixels(images) / PYRAMID_SCALE
        for shape, down, across in zip(self.shapes, self.down, self.across, strict=True):
            level = functional.adaptive_avg_pool2d(rest, shape)
            rest = rest - down.to(level) @ level @ across.to(level).mT
            levels.append(level.flatten(1))
        return torch.cat(levels, dim=1)

    def decode(self, parameters: torch.Tensor) -> torch.Tensor:
        """Return images (B, 3, H, W) in [0, 1]."""
        *coarse, finest = (
            level.unflatten(1, (3, *shape))
            for level, shape in zip(parameters.split(self.sizes, dim=1), self.shapes, strict=True)
        )
        colors = finest
        if coarse:  # enlarged downwards one by one, and across and added in a single product
            tall = torch.cat([down.to(level) @ level for down, level in zip(self.down, coarse, strict=False)], dim=-1)
            colors = colors + tall @ torch.cat(self.across[:-1], dim=-1).to(tall).mT
        return to_pixels(PYRAMID_SCALE * colors)

    def fixed(self, progress: float) -> slice:
        """Return which parameters are still fixed: levels are freed one after another, at even distances, while
        `progress` goes from 0, where the coarsest is free, to 1, where all are."""
        count = min(len(self.sizes), 1 + int(progress * len(self.sizes)))
        return slice(sum(self.sizes[:count]), None)


def _enlarging(pixels: int, size: int) -> torch.Tensor:
    """Return the weights (size, pixels) that enlarge one side bilinearly: two matrix products are faster than torch's
    `interpolate`."""
    whole = torch.tensor([0.0, 1.0], dtype=torch.float64)
    return resampling_weights(whole[:1], whole[1:], pixels, size)[0]


def make_parameterization(
    kind: str, shape: tuple[int, int], magnitudes: torch.Tensor | None = None
) -> Pixels | Fourier | Maco | Pyramid:
    """Return what a dream of (height, width) optimizes: ``pixels``, ``fourier``, ``pyramid``, or ``maco`` with its
    magnitudes."""
    if kind == "fourier":
        return Fourier(*shape)
    if kind == "pyramid":
        return Pyramid(*shape)
    return Maco(*shape, magnitudes) if kind == "maco" else Pixels()  # type: ignore[arg-type]  # maco has some


def mean_spectrum(batches: Iterable[torch.Tensor]) -> torch.Tensor:
    """Return the mean magnitude, (3, H, W // 2 + 1), of the decorrelated colours of all images in batches (B, 3, H, W).

    Images are in [0, 1] and of one size. Raises ValueError if there are none.
    """
    total: torch.Tensor | None = None
    count = 0
    for images in batches:
        magnitudes = torch.fft.rfft2(from_pixels(images), norm="ortho").abs().sum(dim=0)
        total = magnitudes if total is None else total + magnitudes
        count += len(images)
    if total is None or not count:
        raise ValueError("a mean spectrum needs at least one picture")
    return total / count


def _frequencies(height: int, width: int) -> torch.Tensor:
    down, across = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None]
    lengths: torch.Tensor = (down.square() + across.square()).sqrt()
    return lengths

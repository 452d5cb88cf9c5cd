"""Image parameterizations: pixels, Fourier coefficients and MACO, and decorrelated colors."""

import math
from collections.abc import Iterable

import torch

EDGE = 1 / 512
LUCID_SCALE = 4.0
ANGLES = math.pi / math.sqrt(3)
TINY = 1e-5


def color_matrix(dtype: torch.dtype = torch.float32, device: torch.device | None = None) -> torch.Tensor:
    """Return (3, 3): what to multiply independent colours with, from the left, to get correlated ones."""
    matrix = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]], dtype=dtype, device=device)
    longest: torch.Tensor = matrix.norm(dim=0).max()
    return matrix / longest


def to_pixels(colors: torch.Tensor) -> torch.Tensor:
    """Return images in [0, 1] of independent colours (B, 3, H, W) that may be any numbers: correlate, then sigmoid."""
    return torch.einsum("ij,bjhw->bihw", color_matrix(colors.dtype, colors.device), colors).sigmoid()


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


def make_parameterization(
    kind: str, shape: tuple[int, int], magnitudes: torch.Tensor | None = None
) -> Pixels | Fourier | Maco:
    """Return what a dream of (height, width) climbs in: ``pixels``, ``fourier``, or ``maco`` with its magnitudes."""
    if kind == "fourier":
        return Fourier(*shape)
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

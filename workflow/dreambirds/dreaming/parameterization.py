"""Image parameterizations: pixels, Fourier coefficients, MACO, and pyramids.

All but pixels use decorrelated colors: three channels of any value, mixed linearly and mapped to [0, 1] by a sigmoid.
"""

import math
from collections.abc import Iterable

import torch
from torch.nn import functional

from dreambirds.dreaming.crops import resampling_weights

EDGE = 1 / 512
LUCID_SCALE = 4.0
ANGLES = math.pi / math.sqrt(3)  # standard deviation of uniform angles in a full circle
TINY = 1e-5
PYRAMID_SCALE = 2.0
FINE_LEVELS = 3


def color_matrix(dtype: torch.dtype = torch.float32, device: torch.device | None = None) -> torch.Tensor:
    """Return the matrix (3, 3) that maps decorrelated to correlated colors.

    It is Lucid's, divided by the largest norm of its columns. Colors are column vectors.
    """
    matrix = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]], dtype=dtype, device=device)
    longest: torch.Tensor = matrix.norm(dim=0).max()
    return matrix / longest


def to_pixels(colors: torch.Tensor) -> torch.Tensor:
    """Return images in [0, 1] from unbounded, decorrelated colors (B, 3, H, W).

    Colors are multiplied by `color_matrix` and passed through a sigmoid.
    """
    matrix = color_matrix(colors.dtype, colors.device)
    return (matrix @ colors.flatten(2)).view_as(colors).sigmoid()


def from_pixels(images: torch.Tensor) -> torch.Tensor:
    """Return decorrelated colors (B, 3, H, W) of images: the inverse of `to_pixels`.

    Values are first clamped to [1/512, 511/512], because the logit of 0 and 1 is infinite.
    """
    inverse = torch.linalg.inv(color_matrix(torch.float64)).to(images)
    return torch.einsum("ij,bjhw->bihw", inverse, images.clamp(EDGE, 1 - EDGE).logit())


def luminance(images: torch.Tensor) -> torch.Tensor:
    """Return images (B, 3, H, W) in grey: three equal channels, the luminance (ITU-R BT.601)."""
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=images.dtype, device=images.device).view(1, 3, 1, 1)
    return (images * weights).sum(dim=1, keepdim=True).repeat(1, 3, 1, 1)


def mean_of_channels(images: torch.Tensor) -> torch.Tensor:
    """Return images (B, 3, H, W) whose three channels are their mean.

    Its gradient is the same for all channels, so a grey image of pixels stays grey under every optimizer.
    """
    return images.mean(dim=1, keepdim=True).repeat(1, 3, 1, 1)


class Pixels:
    """The identity: parameters are images (B, 3, H, W) in [0, 1]."""

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return the parameters of images."""
        return images.contiguous()

    def decode(self, parameters: torch.Tensor) -> torch.Tensor:
        """Return images (B, 3, H, W) in [0, 1]."""
        return parameters


class Fourier:
    """Scaled Fourier coefficients of decorrelated colors: Lucid's `fft_image`.

    Parameters are (B, 3, H, W // 2 + 1, 2), with real and imaginary parts. The coefficients of the colors, under an
    orthonormal transform, are the parameters divided by their frequency, in cycles per pixel and at least 1 / max(H,
    W), and by 4. So a step of a given length changes large shapes more than fine texture.
    """

    def __init__(self, height: int, width: int):
        """Prepare for images of one size."""
        self.size = (height, width)
        frequencies = _frequencies(height, width)
        self.scale = 1 / frequencies.clamp(min=1 / max(height, width)) / LUCID_SCALE

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return the parameters of images; see `from_pixels` for values near 0 and 1."""
        spectrum = torch.fft.rfft2(from_pixels(images), norm="ortho") / self.scale.to(images)
        return torch.view_as_real(spectrum).contiguous()

    def decode(self, parameters: torch.Tensor) -> torch.Tensor:
        """Return images (B, 3, H, W) in [0, 1]."""
        spectrum = torch.view_as_complex(parameters) * self.scale.to(parameters)
        return to_pixels(torch.fft.irfft2(spectrum, s=self.size, norm="ortho"))


class Maco:
    """Fourier phases with fixed magnitudes: MACO, Fel et al. 2023.

    Parameters are the phases (B, 3, H, W // 2 + 1) of decorrelated colors. The `magnitudes` (3, H, W // 2 + 1) are the
    `mean_spectrum` of real images of the same size. As in Horama and Xplique, the phases of each image are standardized
    before use, which permits large steps. Their standard deviation becomes that of uniform angles, pi / sqrt(3), as in
    real images.
    """

    def __init__(self, height: int, width: int, magnitudes: torch.Tensor):
        """Prepare for images of one size.

        Raises ValueError if the magnitudes have another size.
        """
        if magnitudes.shape != (3, height, width // 2 + 1):
            raise ValueError(f"a spectrum of shape {tuple(magnitudes.shape)} does not fit images of {height}x{width}")
        self.size, self.magnitudes = (height, width), magnitudes

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return the phases of images; their magnitudes are discarded."""
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
    """The sum of images of decorrelated colors at increasing resolutions.

    The method is Direct Ascent Synthesis, Fort & Whitaker 2025 (arXiv 2502.07753). Parameters are (B, N): the flattened
    colors (3, h, w) of all levels. The shorter side of the coarsest level is one pixel, and the finest level has the
    size of the image. Each level has half the height and width of the next, rounded up. The decorrelated colors are
    twice the sum of the bilinearly upsampled levels, each multiplied by its amplitude. This is 1, except for the three
    finest levels: each has `decay` times the amplitude of the next coarser level. So with a small decay, a step of a
    given length changes fine texture less than larger shapes.
    """

    def __init__(self, height: int, width: int, decay: float = 1.0):
        """Prepare for images of one size."""
        finer = range(math.ceil(math.log2(min(height, width))), -1, -1)
        self.shapes = [(math.ceil(height / 2**times), math.ceil(width / 2**times)) for times in finer]
        self.sizes = [3 * math.prod(shape) for shape in self.shapes]
        coarse = len(self.shapes) - 1 - FINE_LEVELS
        self.amplitudes = [decay ** max(0, level - coarse) for level in range(len(self.shapes))]
        self.down = [_enlarging(rows, height) for rows, _ in self.shapes]
        self.across = [_enlarging(columns, width) for _, columns in self.shapes]

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return the parameters of images; see `from_pixels` for values near 0 and 1.

        Each level is the residual of the coarser levels, as in a Laplacian pyramid (Burt & Adelson 1983).
        """
        levels, residual = [], from_pixels(images) / PYRAMID_SCALE
        for amplitude, shape, down, across in zip(self.amplitudes, self.shapes, self.down, self.across, strict=True):
            level = functional.adaptive_avg_pool2d(residual, shape)
            residual = residual - down.to(level) @ level @ across.to(level).mT
            levels.append(level.flatten(1) / amplitude)
        return torch.cat(levels, dim=1)

    def decode(self, parameters: torch.Tensor) -> torch.Tensor:
        """Return images (B, 3, H, W) in [0, 1]."""
        levels = zip(self.amplitudes, parameters.split(self.sizes, dim=1), self.shapes, strict=True)
        *coarse, finest = (amplitude * level.unflatten(1, (3, *shape)) for amplitude, level, shape in levels)
        colors = finest
        if coarse:  # vertical upsampling per level, then horizontal upsampling and addition in one product
            tall = torch.cat([down.to(level) @ level for down, level in zip(self.down, coarse, strict=False)], dim=-1)
            colors = colors + tall @ torch.cat(self.across[:-1], dim=-1).to(tall).mT
        return to_pixels(PYRAMID_SCALE * colors)

    def fixed(self, progress: float) -> slice:
        """Return the slice of parameters (axis 1) that are still fixed.

        Levels are freed from coarse to fine, at equal intervals, while `progress` goes from 0 (only the coarsest is
        free) to 1 (all are free).
        """
        count = min(len(self.sizes), 1 + int(progress * len(self.sizes)))
        return slice(sum(self.sizes[:count]), None)


def _enlarging(pixels: int, size: int) -> torch.Tensor:
    """Return the matrix (size, pixels) that upsamples one axis linearly.

    Two matrix products are faster than torch's `interpolate`.
    """
    full = torch.tensor([0.0, 1.0], dtype=torch.float64)
    return resampling_weights(full[:1], full[1:], pixels, size)[0]


def make_parameterization(
    kind: str, shape: tuple[int, int], magnitudes: torch.Tensor | None = None, decay: float = 1.0
) -> Pixels | Fourier | Maco | Pyramid:
    """Return a parameterization of images of (height, width).

    `kind` is ``pixels``, ``fourier``, ``pyramid`` with a `decay`, or ``maco``, which requires `magnitudes`.
    """
    if kind == "fourier":
        return Fourier(*shape)
    if kind == "pyramid":
        return Pyramid(*shape, decay)
    return Maco(*shape, magnitudes) if kind == "maco" else Pixels()  # type: ignore[arg-type]  # not None for maco


def mean_spectrum(batches: Iterable[torch.Tensor]) -> torch.Tensor:
    """Return the mean Fourier magnitudes of images, (3, H, W // 2 + 1).

    The magnitudes are those of decorrelated colors. `batches` are images (B, 3, H, W) in [0, 1] of the same size.
    Raises ValueError if there are none.
    """
    total: torch.Tensor | None = None
    count = 0
    for images in batches:
        magnitudes = torch.fft.rfft2(from_pixels(images), norm="ortho").abs().sum(dim=0)
        total = magnitudes if total is None else total + magnitudes
        count += len(images)
    if total is None or not count:
        raise ValueError("a mean spectrum needs at least one image")
    return total / count


def _frequencies(height: int, width: int) -> torch.Tensor:
    down, across = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None]
    lengths: torch.Tensor = (down.square() + across.square()).sqrt()
    return lengths

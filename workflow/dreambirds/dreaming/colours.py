"""Colours whose three axes vary independently in natural pictures, as Lucid has them.

The matrix is Lucid's (`lucid/optvis/param/color.py`): the square root of ImageNet's colour covariance, divided by the
largest norm of its columns.
"""

import torch

EDGE = 1 / 512


def colour_matrix(dtype: torch.dtype = torch.float32, device: torch.device | None = None) -> torch.Tensor:
    """Return (3, 3): what to multiply independent colours with, from the left, to get correlated ones."""
    matrix = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]], dtype=dtype, device=device)
    longest: torch.Tensor = matrix.norm(dim=0).max()
    return matrix / longest


def to_pixels(colours: torch.Tensor) -> torch.Tensor:
    """Return images in [0, 1] of independent colours (B, 3, H, W) that may be any numbers: correlate, then sigmoid."""
    return torch.einsum("ij,bjhw->bihw", colour_matrix(colours.dtype, colours.device), colours).sigmoid()


def from_pixels(images: torch.Tensor) -> torch.Tensor:
    """Undo `to_pixels`; what is darker or brighter than a 512th from the edge is taken as that."""
    inverse = torch.linalg.inv(colour_matrix(torch.float64)).to(images)
    return torch.einsum("ij,bjhw->bihw", inverse, images.clamp(EDGE, 1 - EDGE).logit())

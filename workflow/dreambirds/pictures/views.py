"""Two ways to look at a dream: as it is, and stretched to the whole range of a screen."""

import numpy as np
import torch
from PIL import Image

TAIL = 0.5


def rescale(image: torch.Tensor) -> torch.Tensor:
    """Stretch an image (3, H, W) so that its values from the 0.5th to the 99.5th percentile fill [0, 1].

    All channels share one stretch, so that hues stay; single extreme pixels do not decide it, as in a min-max stretch.
    A constant image becomes mid-grey.
    """
    return _stretch(image, image)


def rescale_together(frames: torch.Tensor) -> torch.Tensor:
    """Stretch the frames of one film, uint8 (N, 3, H, W), as its last one asks for; return them in [0, 1].

    A film of which each frame had its own stretch would begin with noise made large.
    """
    images = frames.float() / 255
    return _stretch(images, images[-1])


def _stretch(images: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    low, high = np.percentile(like.numpy(), [TAIL, 100 - TAIL])
    if high - low < 1e-6:
        return torch.full_like(images, 0.5)
    return ((images - low) / (high - low)).clamp(0, 1)


def to_picture(image: torch.Tensor) -> Image.Image:
    """Return an image (3, H, W) in [0, 1] as an 8-bit RGB picture, each value rounded to the nearest."""
    return Image.fromarray((image * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy())


def views(image: torch.Tensor) -> dict[str, Image.Image]:
    """Return the raw and the rescaled view of an image (3, H, W) in [0, 1]."""
    return {"raw": to_picture(image), "rescaled": to_picture(rescale(image))}

"""The views of a dream: raw, and with its contrast stretched."""

import numpy as np
import torch
from PIL import Image

TAIL = 0.5


def rescale(image: torch.Tensor) -> torch.Tensor:
    """Stretch the contrast of an image (3, H, W) to [0, 1] by percentiles.

    Values from the 0.5th to the 99.5th percentile fill the range. All channels share one stretch, which preserves hues.
    Unlike in a min-max stretch, single extreme pixels do not determine it. A constant image becomes mid-gray.
    """
    return _stretch(image, image)


def rescale_together(frames: torch.Tensor) -> torch.Tensor:
    """Stretch all frames of an animation by the percentiles of the last one.

    Frames are uint8 (N, 3, H, W), the result is in [0, 1]. With a separate stretch per frame, the animation would begin
    with amplified noise.
    """
    images = frames.float() / 255
    return _stretch(images, images[-1])


def _stretch(images: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    low, high = np.percentile(like.numpy(), [TAIL, 100 - TAIL])
    if high - low < 1e-6:
        return torch.full_like(images, 0.5)
    return ((images - low) / (high - low)).clamp(0, 1)


def to_image(image: torch.Tensor) -> Image.Image:
    """Convert an image (3, H, W) in [0, 1] to 8-bit RGB, with rounding."""
    return Image.fromarray((image * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy())


def views(image: torch.Tensor) -> dict[str, Image.Image]:
    """Return the raw and the rescaled view of an image (3, H, W) in [0, 1]."""
    return {"raw": to_image(image), "rescaled": to_image(rescale(image))}

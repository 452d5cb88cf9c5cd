"""Random resized crops, much as torchvision's ``RandomResizedCrop`` draws them, each image's from its own generator.

A crop and its resizing are two matrix products, one for each side, so that any box may be cut out, at fractions of a
pixel too, smoothed where it shrinks, and with a gradient that costs no more.
"""

import math
from collections.abc import Sequence

import torch

Box = tuple[float, float, float, float]  # top, left, height, width, as shares of an image's sides
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


def draw_box(rng: torch.Generator, smallest_area: float, ratio: float) -> Box:
    """Return a random box within an image.

    Its area is drawn evenly from `smallest_area` to 1, as a share of the image's; its width over its height, relative
    to the image's, from 1 / `ratio` to `ratio`, evenly in its logarithm, or as near to that as fits; its place evenly
    from those that fit.
    """
    share, stretch, down, across = torch.rand(4, generator=rng).tolist()
    area = smallest_area + (1 - smallest_area) * share
    width = min(1.0, max(area, math.sqrt(area * ratio ** (2 * stretch - 1))))
    height = area / width
    return down * (1 - height), across * (1 - width), height, width


def resized_crops(images: torch.Tensor, boxes: Sequence[Box], shape: tuple[int, int]) -> torch.Tensor:
    """Return one crop of each image of (B, C, H, W), its own box resized to `shape`: (B, C, height, width).

    Where a box shrinks, it is smoothed as Pillow and torchvision do with ``antialias``; at the image's edge the weights
    of what lies outside go to what lies inside.
    """
    if tuple(images.shape[-2:]) == shape and all(box == WHOLE for box in boxes):
        return images
    top, left, height, width = torch.tensor(boxes, dtype=images.dtype).to(images.device).unbind(dim=1)
    down = resampling_weights(top, height, images.shape[-2], shape[0])
    across = resampling_weights(left, width, images.shape[-1], shape[1])
    return down[:, None] @ images @ across[:, None].mT


def resampling_weights(first: torch.Tensor, extent: torch.Tensor, pixels: int, size: int) -> torch.Tensor:
    """Return the weights (B, size, pixels) with which one side of B images is cut and resized linearly.

    `first` and `extent` (B,) are where each cut begins and how long it is, as shares of the side.
    """
    scale = extent[:, None, None] * pixels / size  # pixels of the image for each of the result
    places = torch.arange(size, dtype=first.dtype, device=first.device)[:, None] + 0.5
    centers = first[:, None, None] * pixels + places * scale
    distances = (torch.arange(pixels, dtype=first.dtype, device=first.device) + 0.5 - centers).abs()
    weights = (1 - distances / scale.clamp(min=1)).clamp(min=0)
    return weights / weights.sum(dim=-1, keepdim=True)

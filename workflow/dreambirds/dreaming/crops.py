"""Random resized crops similar to torchvision's ``RandomResizedCrop``, per image.

Each image's crop is drawn from its own random generator. Cropping and resizing are two matrix products, one per axis.
So boxes may have fractional coordinates, downscaling is antialiased, and the crop is differentiable at low cost.
"""

import math
from collections.abc import Sequence

import torch

Box = tuple[float, float, float, float]  # top, left, height, width, as fractions of the image's height and width
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


def draw_box(rng: torch.Generator, smallest_area: float, ratio: float) -> Box:
    """Return a random box within an image.

    The area is uniform in [`smallest_area`, 1], as a fraction of the image's. The aspect ratio (width / height),
    relative to the image's, is log-uniform in [1 / `ratio`, `ratio`], limited to boxes that fit into the image. The
    position is uniform over all positions in the image.
    """
    area_draw, ratio_draw, top_draw, left_draw = torch.rand(4, generator=rng).tolist()
    area = smallest_area + (1 - smallest_area) * area_draw
    width = min(1.0, max(area, math.sqrt(area * ratio ** (2 * ratio_draw - 1))))
    height = area / width
    return top_draw * (1 - height), left_draw * (1 - width), height, width


def resized_crops(images: torch.Tensor, boxes: Sequence[Box], shape: tuple[int, int]) -> torch.Tensor:
    """Return one crop per image, resized to `shape`: (B, C, *shape).

    `images` are (B, C, H, W), and `boxes` contains one box per image. Resizing is bilinear. Downscaling is antialiased,
    as in Pillow and in torchvision with ``antialias``: the triangle filter is widened, and its weights are renormalized
    at the image's edge.
    """
    if tuple(images.shape[-2:]) == shape and all(box == WHOLE for box in boxes):
        return images
    top, left, height, width = torch.tensor(boxes, dtype=images.dtype).to(images.device).unbind(dim=1)
    down = resampling_weights(top, height, images.shape[-2], shape[0])
    across = resampling_weights(left, width, images.shape[-1], shape[1])
    return down[:, None] @ images @ across[:, None].mT


def resampling_weights(first: torch.Tensor, extent: torch.Tensor, pixels: int, size: int) -> torch.Tensor:
    """Return the matrices (B, size, pixels) that crop and linearly resize one axis.

    The axis of B images has `pixels` pixels, and the result has `size`. `first` and `extent` (B,) are the start and the
    length of each crop, as fractions of the axis. Each row of weights sums to 1.
    """
    scale = extent[:, None, None] * pixels / size  # pixels of the image per pixel of the result
    positions = torch.arange(size, dtype=first.dtype, device=first.device)[:, None] + 0.5
    centers = first[:, None, None] * pixels + positions * scale
    distances = (torch.arange(pixels, dtype=first.dtype, device=first.device) + 0.5 - centers).abs()
    weights = (1 - distances / scale.clamp(min=1)).clamp(min=0)
    return weights / weights.sum(dim=-1, keepdim=True)

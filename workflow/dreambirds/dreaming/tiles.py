"""Gradients of pictures that are larger than memory allows: a tile at a time, as TensorFlow's tutorial does."""

import math
from collections.abc import Callable, Iterator

import torch

Gradients = Callable[[torch.Tensor], tuple[torch.Tensor, ...]]


def tile_starts(side: int, tile: int) -> list[int]:
    """Return where tiles of one side begin so that they cover a picture evenly; they overlap where they must."""
    count = math.ceil(side / tile)
    return [round(place * (side - tile) / max(1, count - 1)) for place in range(count)]


def tiled(
    gradients: Gradients, images: torch.Tensor, tile: int, streams: list[torch.Generator]
) -> tuple[torch.Tensor, ...]:
    """Return what `gradients` returns, put together from tiles of images (B, C, H, W).

    `gradients` takes images and returns their gradient and further tensors (B, ...), of which the mean over all tiles
    is returned. Each image is first rolled at random, so that seams fall elsewhere each step; where tiles overlap, the
    mean counts.
    """
    height, width = images.shape[-2:]
    if max(height, width) <= tile:
        return gradients(images)
    shifts = [torch.randint(0, tile, (2,), generator=stream).tolist() for stream in streams]
    rolled = _roll(images, shifts)
    total, count = torch.zeros_like(rolled), torch.zeros(height, width, device=images.device, dtype=images.dtype)
    others: list[torch.Tensor] = []
    windows = list(_windows(height, width, tile))
    for rows, columns in windows:
        gradient, *seen = gradients(rolled[..., rows, columns])
        total[..., rows, columns] += gradient
        count[rows, columns] += 1
        others = [sum(pair) for pair in zip(others, seen, strict=True)] if others else seen  # type: ignore[misc]
    back = [[-down, -across] for down, across in shifts]
    return _roll(total / count, back), *(other / len(windows) for other in others)


def _windows(height: int, width: int, tile: int) -> Iterator[tuple[slice, slice]]:
    for top in tile_starts(height, min(tile, height)):
        for left in tile_starts(width, min(tile, width)):
            yield slice(top, top + tile), slice(left, left + tile)


def _roll(images: torch.Tensor, shifts: list[list[int]]) -> torch.Tensor:
    return torch.stack([image.roll(shift, dims=(-2, -1)) for image, shift in zip(images, shifts, strict=True)])

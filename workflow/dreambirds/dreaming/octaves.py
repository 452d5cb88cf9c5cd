"""Octaves, zoom and tiles: the sizes at which an image is optimized."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch.nn import functional
from torchvision.transforms.v2 import functional as v2

from dreambirds.dreaming.recipe import Recipe
from dreambirds.shapes import in_proportion

Gradients = Callable[[torch.Tensor], tuple[torch.Tensor, ...]]


def tile_starts(side: int, tile: int) -> list[int]:
    """Return where tiles of one side begin so that they cover a picture evenly; they overlap where they must."""
    count = math.ceil(side / tile)
    return [round(place * (side - tile) / max(1, count - 1)) for place in range(count)]


def tiled_gradient(
    gradients: Gradients, images: torch.Tensor, tile: int, rngs: list[torch.Generator]
) -> tuple[torch.Tensor, ...]:
    """Return what `gradients` returns, put together from tiles of images (B, C, H, W).

    `gradients` takes images and returns their gradient and further tensors (B, ...), of which the mean over all tiles
    is returned. Each image is first rolled at random, so that seams fall elsewhere each step; where tiles overlap, the
    mean counts.
    """
    height, width = images.shape[-2:]
    if max(height, width) <= tile:
        return gradients(images)
    shifts = [torch.randint(0, tile, (2,), generator=rng).tolist() for rng in rngs]
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


def octave_shapes(recipe: Recipe, shape: Sequence[int]) -> list[tuple[int, int]]:
    """Return (height, width) of each octave, in pixels, ascending to the whole picture's."""
    powers = range(recipe.octaves - 1, -1, -1)
    height, width = shape
    return [(round(height / recipe.octave_scale**power), round(width / recipe.octave_scale**power)) for power in powers]


def evaluation_shape(recipe: Recipe, shape: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) at which whole pictures of a shape are shown to the model, to be measured: that of the
    views where these are crops; so small that it fits into a tile where they are tiles."""
    if _crops(recipe) and recipe.crop_output_size:
        return in_proportion(shape, recipe.crop_output_size)
    return in_proportion(shape, min(max(shape), recipe.tile or max(shape)), of=max)


def shapes_seen(recipe: Recipe, shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Return (height, width) of all that a model is shown in a dream of a shape, ascending."""
    seen = set()
    for octave in octave_shapes(recipe, shape):
        seen |= {_view_shape(recipe, octave), evaluation_shape(recipe, octave)}
    return sorted(seen)


def _view_shape(recipe: Recipe, shape: tuple[int, int]) -> tuple[int, int]:
    height, width = (side + 2 * recipe.pad for side in shape)
    if _crops(recipe) and recipe.crop_output_size:
        height, width = in_proportion((height, width), recipe.crop_output_size)
    return min(height, recipe.tile or height), min(width, recipe.tile or width)


def _crops(recipe: Recipe) -> bool:
    return bool(recipe.crops) or recipe.crop_area is not None


def resize(images: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Return images (B, C, H, W) resized to (height, width), smoothed where they shrink; themselves if nothing
    changes."""
    if tuple(images.shape[-2:]) == tuple(shape):
        return images
    resized: torch.Tensor = v2.resize(images, list(shape), antialias=True)
    return resized


class Octaves:
    """Which size a dream has at a step, and how it gets from one to the next.

    With ``resize``, the whole picture is resized (TensorFlow's tutorial); with ``detail``, only what was dreamt is, and
    it is added to the start anew, so that a photograph stays sharp (google/deepdream).
    """

    def __init__(self, recipe: Recipe, starts: torch.Tensor):
        """Take start images (B, 3, H, W), at the whole picture's size."""
        self.recipe, self.starts = recipe, starts
        self.shapes = octave_shapes(recipe, tuple(starts.shape[-2:]))
        self.grown = (recipe.octaves - 1) * recipe.octave_steps

    def first(self) -> torch.Tensor:
        """Return the start images at the first octave's size."""
        return resize(self.starts, self.shapes[0])

    def base(self, images: torch.Tensor) -> torch.Tensor:
        """Return the start images at the size of these."""
        return resize(self.starts, images.shape[-2:])

    def is_last(self, number: int) -> bool:
        """Tell whether the step of this number is made at the whole picture's size."""
        return number >= self.grown

    def grow(self, images: torch.Tensor, number: int) -> torch.Tensor:
        """Return the images as the step of this number begins with them: larger at an octave, nearer at a zoom."""
        since = number - self.grown
        if since <= 0 and number and number % self.recipe.octave_steps == 0:
            return self._next(images, self.shapes[number // self.recipe.octave_steps])
        if since > 0 and self.recipe.zoom > 1 and since % self.recipe.zoom_every == 0:
            return enlarge(images, self.recipe.zoom)
        return images

    def _next(self, images: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
        if self.recipe.octave_mode == "resize":
            return resize(images, shape)
        detail = images - self.base(images)
        return (resize(self.starts, shape) + resize(detail, shape)).clamp(0, 1)


def enlarge(images: torch.Tensor, factor: float) -> torch.Tensor:
    """Return the middle of images (B, C, H, W), `factor` times as large, at the same size."""
    middle = torch.tensor([[1 / factor, 0.0, 0.0], [0.0, 1 / factor, 0.0]], dtype=images.dtype).to(images.device)
    grid = functional.affine_grid(middle.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bicubic", padding_mode="border", align_corners=False).clamp(0, 1)

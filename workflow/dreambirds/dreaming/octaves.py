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
    """Return the first pixels of tiles that cover an axis of `side` pixels evenly.

    The number of tiles is as small as possible, and they overlap if `tile` does not divide `side`.
    """
    count = math.ceil(side / tile)
    return [round(index * (side - tile) / max(1, count - 1)) for index in range(count)]


def tiled_gradient(
    gradients: Gradients, images: torch.Tensor, tile: int, rngs: list[torch.Generator]
) -> tuple[torch.Tensor, ...]:
    """Return the result of `gradients` for images (B, C, H, W), computed by tiles.

    `gradients` takes images and returns their gradient and further tensors (B, ...). Gradients of overlapping tiles are
    averaged, and further tensors are averaged over all tiles. Each image is first rolled by a random offset, drawn from
    its own generator, so the seams move from step to step.
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
        gradient, *more = gradients(rolled[..., rows, columns])
        total[..., rows, columns] += gradient
        count[rows, columns] += 1
        others = [sum(pair) for pair in zip(others, more, strict=True)] if others else more  # type: ignore[misc]
    back = [[-vertical, -horizontal] for vertical, horizontal in shifts]
    return _roll(total / count, back), *(other / len(windows) for other in others)


def _windows(height: int, width: int, tile: int) -> Iterator[tuple[slice, slice]]:
    for top in tile_starts(height, min(tile, height)):
        for left in tile_starts(width, min(tile, width)):
            yield slice(top, top + tile), slice(left, left + tile)


def _roll(images: torch.Tensor, shifts: list[list[int]]) -> torch.Tensor:
    return torch.stack([image.roll(shift, dims=(-2, -1)) for image, shift in zip(images, shifts, strict=True)])


def octave_shapes(recipe: Recipe, shape: Sequence[int]) -> list[tuple[int, int]]:
    """Return the (height, width) of each octave in pixels, ascending to `shape`.

    Octave k of n is smaller by ``octave_scale`` to the power of n - k.
    """
    powers = range(recipe.octaves - 1, -1, -1)
    height, width = shape
    return [(round(height / recipe.octave_scale**power), round(width / recipe.octave_scale**power)) for power in powers]


def evaluation_shape(recipe: Recipe, shape: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) at which full images are evaluated by the model.

    It has the aspect ratio of `shape`. If the recipe uses crops, it has the size of their views; if it uses tiles, it
    fits into a tile.
    """
    if _crops(recipe) and recipe.crop_output_size:
        return in_proportion(shape, recipe.crop_output_size)
    return in_proportion(shape, min(max(shape), recipe.tile or max(shape)), of=max)


def input_shapes(recipe: Recipe, shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Return all sizes (height, width) of the model's inputs in a dream, ascending."""
    shapes = set()
    for octave in octave_shapes(recipe, shape):
        shapes |= {_view_shape(recipe, octave), evaluation_shape(recipe, octave)}
    return sorted(shapes)


def _view_shape(recipe: Recipe, shape: tuple[int, int]) -> tuple[int, int]:
    height, width = (side + 2 * recipe.pad for side in shape)
    if _crops(recipe) and recipe.crop_output_size:
        height, width = in_proportion((height, width), recipe.crop_output_size)
    return min(height, recipe.tile or height), min(width, recipe.tile or width)


def _crops(recipe: Recipe) -> bool:
    return bool(recipe.crops) or recipe.crop_area is not None


def resize(images: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Return images (B, C, H, W) resized to (height, width), with antialiasing.

    Images that already have this size are returned unchanged.
    """
    if tuple(images.shape[-2:]) == tuple(shape):
        return images
    resized: torch.Tensor = v2.resize(images, list(shape), antialias=True)
    return resized


class Octaves:
    """The size of a dream at each step, and the transitions between sizes.

    With the octave mode ``resize``, the image is resized, as in TensorFlow's tutorial. With ``detail``, only the
    difference from the start image is resized and added to the start image at the new size, so a photograph stays
    sharp, as in google/deepdream.
    """

    def __init__(self, recipe: Recipe, starts: torch.Tensor):
        """Take start images (B, 3, H, W) at the final size."""
        self.recipe, self.starts = recipe, starts
        self.shapes = octave_shapes(recipe, tuple(starts.shape[-2:]))
        self.last_octave = (recipe.octaves - 1) * recipe.octave_steps  # its first step

    def first(self) -> torch.Tensor:
        """Return the start images at the first octave's size."""
        return resize(self.starts, self.shapes[0])

    def base(self, images: torch.Tensor) -> torch.Tensor:
        """Return the start images at the size of the given images."""
        return resize(self.starts, images.shape[-2:])

    def is_last(self, step: int) -> bool:
        """Return whether a step belongs to the last octave, which has the final size."""
        return step >= self.last_octave

    def grow(self, images: torch.Tensor, step: int) -> torch.Tensor:
        """Return the images at the beginning of a step: resized, zoomed, or unchanged.

        They are resized where an octave begins. In the last octave, they are zoomed every ``zoom_every`` steps.
        """
        since = step - self.last_octave
        if since <= 0 and step and step % self.recipe.octave_steps == 0:
            return self._next(images, self.shapes[step // self.recipe.octave_steps])
        if since > 0 and self.recipe.zoom > 1 and since % self.recipe.zoom_every == 0:
            return enlarge(images, self.recipe.zoom)
        return images

    def _next(self, images: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
        if self.recipe.octave_mode == "resize":
            return resize(images, shape)
        detail = images - self.base(images)
        return (resize(self.starts, shape) + resize(detail, shape)).clamp(0, 1)


def enlarge(images: torch.Tensor, factor: float) -> torch.Tensor:
    """Return images zoomed by `factor` about their center, at the same size.

    Images are (B, C, H, W) in [0, 1]. Interpolation is bicubic.
    """
    middle = torch.tensor([[1 / factor, 0.0, 0.0], [0.0, 1 / factor, 0.0]], dtype=images.dtype).to(images.device)
    grid = functional.affine_grid(middle.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bicubic", padding_mode="border", align_corners=False).clamp(0, 1)

"""Pictures that grow while they are dreamt: octaves from small to large, and an endless zoom."""

from collections.abc import Sequence

import torch
from torch.nn import functional
from torchvision.transforms.v2 import functional as v2

from dreambirds.data.shapes import in_proportion
from dreambirds.dreaming.recipe import Recipe


def octave_shapes(recipe: Recipe, shape: Sequence[int]) -> list[tuple[int, int]]:
    """Return (height, width) of each octave, in pixels, ascending to the whole picture's."""
    powers = range(recipe.octaves - 1, -1, -1)
    height, width = shape
    return [(round(height / recipe.octave_scale**power), round(width / recipe.octave_scale**power)) for power in powers]


def look_shape(recipe: Recipe, shape: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) at which whole pictures of a shape are shown to the model, to be measured: that of the
    views where these are crops; so small that it fits into a tile where they are tiles."""
    if recipe.crops and recipe.crop_view:
        return in_proportion(shape, recipe.crop_view)
    return in_proportion(shape, min(max(shape), recipe.tile or max(shape)), of=max)


def shapes_seen(recipe: Recipe, shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Return (height, width) of all that a model is shown in a dream of a shape, ascending."""
    seen = set()
    for octave in octave_shapes(recipe, shape):
        seen |= {_view_shape(recipe, octave), look_shape(recipe, octave)}
    return sorted(seen)


def _view_shape(recipe: Recipe, shape: tuple[int, int]) -> tuple[int, int]:
    height, width = (side + 2 * recipe.pad for side in shape)
    if recipe.crops and recipe.crop_view:
        height, width = in_proportion((height, width), recipe.crop_view)
    return min(height, recipe.tile or height), min(width, recipe.tile or width)


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
        if self.recipe.octave_manner == "resize":
            return resize(images, shape)
        detail = images - self.base(images)
        return (resize(self.starts, shape) + resize(detail, shape)).clamp(0, 1)


def enlarge(images: torch.Tensor, factor: float) -> torch.Tensor:
    """Return the middle of images (B, C, H, W), `factor` times as large, at the same size."""
    middle = torch.tensor([[1 / factor, 0.0, 0.0], [0.0, 1 / factor, 0.0]], dtype=images.dtype).to(images.device)
    grid = functional.affine_grid(middle.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bicubic", padding_mode="border", align_corners=False).clamp(0, 1)

"""Pictures that grow while they are dreamt: octaves from small to large, and an endless zoom."""

import torch
from torch.nn import functional
from torchvision.transforms.v2 import functional as v2

from dreambirds.dreaming.recipe import Recipe


def octave_sides(recipe: Recipe, side: int) -> list[int]:
    """Return the side of each octave, in pixels, ascending to the whole picture's."""
    powers = range(recipe.octaves - 1, -1, -1)
    return [round(side / recipe.octave_scale**power) for power in powers]


def look_side(recipe: Recipe, side: int) -> int:
    """Return the side at which pictures of (side, side) are shown to the model as a whole, to be measured: that of the
    views where these are crops or tiles."""
    if recipe.crops and recipe.crop_view:
        return recipe.crop_view
    return min(side, recipe.tile or side)


def sides_seen(recipe: Recipe, side: int) -> list[int]:
    """Return the sides of all that a model is shown in a dream of (side, side), ascending."""
    seen = set()
    for octave in octave_sides(recipe, side):
        view = (recipe.crops and recipe.crop_view) or octave + 2 * recipe.pad
        seen |= {min(view, recipe.tile or view), look_side(recipe, octave)}
    return sorted(seen)


def resize(images: torch.Tensor, side: int) -> torch.Tensor:
    """Return images (B, C, H, W) resized to (side, side), smoothed where they shrink; themselves if nothing changes."""
    if images.shape[-1] == side:
        return images
    return v2.resize(images, [side, side], antialias=True)


class Octaves:
    """Which size a dream has at a step, and how it gets from one to the next.

    With ``resize``, the whole picture is resized (TensorFlow's tutorial); with ``detail``, only what was dreamt is, and
    it is added to the start anew, so that a photograph stays sharp (google/deepdream).
    """

    def __init__(self, recipe: Recipe, starts: torch.Tensor):
        """Take start images (B, 3, S, S), at the whole picture's size."""
        self.recipe, self.starts = recipe, starts
        self.sides = octave_sides(recipe, starts.shape[-1])
        self.grown = (recipe.octaves - 1) * recipe.octave_steps

    def first(self) -> torch.Tensor:
        """Return the start images at the first octave's size."""
        return resize(self.starts, self.sides[0])

    def base(self, images: torch.Tensor) -> torch.Tensor:
        """Return the start images at the size of these."""
        return resize(self.starts, images.shape[-1])

    def is_last(self, number: int) -> bool:
        """Tell whether the step of this number is made at the whole picture's size."""
        return number >= self.grown

    def grow(self, images: torch.Tensor, number: int) -> torch.Tensor:
        """Return the images as the step of this number begins with them: larger at an octave, nearer at a zoom."""
        since = number - self.grown
        if since <= 0 and number and number % self.recipe.octave_steps == 0:
            return self._next(images, self.sides[number // self.recipe.octave_steps])
        if since > 0 and self.recipe.zoom > 1 and since % self.recipe.zoom_every == 0:
            return enlarge(images, self.recipe.zoom)
        return images

    def _next(self, images: torch.Tensor, side: int) -> torch.Tensor:
        if self.recipe.octave_manner == "resize":
            return resize(images, side)
        detail = images - self.base(images)
        return (resize(self.starts, side) + resize(detail, side)).clamp(0, 1)


def enlarge(images: torch.Tensor, factor: float) -> torch.Tensor:
    """Return the middle of images (B, C, H, W), `factor` times as large, at the same size."""
    middle = torch.tensor([[1 / factor, 0.0, 0.0], [0.0, 1 / factor, 0.0]], dtype=images.dtype).to(images.device)
    grid = functional.affine_grid(middle.expand(len(images), 2, 3), images.shape, align_corners=False)
    return functional.grid_sample(images, grid, mode="bicubic", padding_mode="border", align_corners=False).clamp(0, 1)

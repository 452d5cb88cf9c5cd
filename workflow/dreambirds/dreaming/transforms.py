"""What the model is shown at a step: the picture moved, mirrored, turned, enlarged, cropped, and made noisy.

Every image draws from a random stream of its own. Gradients flow back to the image as it stands.
"""

import math

import torch
from torch.nn import functional

from dreambirds.dreaming.crops import WHOLE, draw_box, resized_crops
from dreambirds.dreaming.recipe import Recipe, is_always, shows_whole, value_at
from dreambirds.shapes import in_proportion

GRAY = 0.5
CROP_DEVIATION = 0.15  # of the side, as in Horama and Xplique


class Transforms:
    """The views of one batch under one recipe, step after step.

    The original study mirrors the picture itself at random after every step. Mirroring the view instead, by the parity
    of the mirrorings so far, is the same ascent in a frame that stays put, so that films do not jump.
    """

    def __init__(self, recipe: Recipe, rngs: list[torch.Generator]):
        """Take a recipe and a stream an image."""
        self.recipe, self.rngs = recipe, rngs
        self.mirrored = [False] * len(rngs)
        still = is_always(recipe.scale, 1) and is_always(recipe.rotate, 0) and recipe.scale_width is None
        self.warps = bool(recipe.crops) or not still

    def __call__(self, images: torch.Tensor, number: int) -> torch.Tensor:
        """Return views of images (B, 3, H, W) at a step: (B, 3, H + 2 pad, W + 2 pad).

        With crops they are B x crops, image after image, in the same proportions; `crop_output_size` is their shorter
        side, as it is that of random resized crops.
        """
        recipe = self.recipe
        if recipe.pad:
            images = functional.pad(images, [recipe.pad] * 4, value=GRAY)
        if recipe.roll:
            images = torch.stack([self._rolled(image, rng) for image, rng in zip(images, self.rngs, strict=True)])
        if recipe.jitter:
            images = self._jittered(images)
        if self.warps:
            images = self._warped(images, number)
        if recipe.crop_area is not None:
            images = self._cropped(images, number)
        if recipe.flip:
            images = self._mirrored(images)
        if recipe.noise:
            images = images + recipe.noise * self._noise(images)
        return images

    def _rolled(self, image: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        shifts = torch.randint(-self.recipe.roll, self.recipe.roll + 1, (2,), generator=rng).tolist()
        return image.roll(shifts, dims=(-2, -1))

    def _jittered(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[-2:]
        padded = functional.pad(images, [self.recipe.jitter] * 4, mode="reflect")
        views = []
        for image, rng in zip(padded, self.rngs, strict=True):
            top, left = torch.randint(0, 2 * self.recipe.jitter + 1, (2,), generator=rng).tolist()
            views.append(image[:, top : top + height, left : left + width])
        return torch.stack(views)

    def _mirrored(self, images: torch.Tensor) -> torch.Tensor:
        odd = torch.tensor(self.mirrored).repeat_interleave(len(images) // len(self.rngs)).to(images.device)
        views = torch.where(odd[:, None, None, None], images.flip(-1), images)
        for place, rng in enumerate(self.rngs):
            self.mirrored[place] ^= torch.rand((), generator=rng).item() < self.recipe.flip
        return views

    def _cropped(self, images: torch.Tensor, number: int) -> torch.Tensor:
        """Return a random resized crop of each image, or the whole of it."""
        smallest_area, ratio = value_at(self.recipe.crop_area or 1.0, number), self.recipe.crop_ratio
        whole = shows_whole(self.recipe, number)
        boxes = [WHOLE if whole else draw_box(rng, smallest_area, ratio) for rng in self.rngs]
        height, width = images.shape[-2:]
        shape = in_proportion((height, width), self.recipe.crop_output_size or min(height, width))
        return resized_crops(images, boxes, shape)

    def _warped(self, images: torch.Tensor, number: int) -> torch.Tensor:
        count = max(1, self.recipe.crops)
        height, width = images.shape[-2:]
        plans = [self._plan(number, rng, height / width) for rng in self.rngs for _ in range(count)]
        view = self.recipe.crop_output_size if self.recipe.crops else None
        size = [len(plans), images.shape[1], *in_proportion((height, width), view or min(height, width))]
        maps = torch.tensor(plans, dtype=images.dtype).to(images.device)
        grid = functional.affine_grid(maps, size, align_corners=False)
        return functional.grid_sample(
            images.repeat_interleave(count, dim=0), grid, padding_mode="reflection", align_corners=False
        )

    def _plan(self, number: int, rng: torch.Generator, tall: float) -> list[list[float]]:
        """Return the affine map from a view to its image, in units of half of each side, for one view of images whose
        height is `tall` times their width."""
        recipe = self.recipe
        high = value_at(recipe.scale, number, rng)
        wide = high if recipe.scale_width is None else value_at(recipe.scale_width, number, rng)
        angle = math.radians(value_at(recipe.rotate, number, rng))
        box, down, across = 1.0, 0.0, 0.0
        if recipe.crops:
            box = value_at(recipe.crop_size, number, rng)
            middle = 2 * CROP_DEVIATION * torch.randn(2, generator=rng)
            down, across = middle.clamp(box - 1, 1 - box).tolist()
        cosine, sine = math.cos(angle) * box, math.sin(angle) * box
        return [[cosine / wide, sine * tall / wide, across], [-sine / tall / high, cosine / high, down]]

    def _noise(self, images: torch.Tensor) -> torch.Tensor:
        shape = (images.shape[0] // len(self.rngs), *images.shape[1:])
        each = [torch.randn(shape, generator=rng, dtype=images.dtype) for rng in self.rngs]
        return torch.cat(each).to(images.device)

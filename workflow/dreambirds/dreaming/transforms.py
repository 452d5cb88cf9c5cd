"""Random transforms of an image before the forward pass.

In this order: pad with gray (0.5); roll cyclically and jitter (shift with reflection) by up to so many pixels along
both axes; warp by one affine map (scale, rotate, crop); random resized crop; horizontal flip; Gaussian noise. Every
image has its own random generator. Transforms are differentiable, so gradients flow back to the image.
"""

import math

import torch
from torch.nn import functional

from dreambirds.dreaming.crops import WHOLE, draw_box, resized_crops
from dreambirds.dreaming.recipe import Recipe, is_always, uses_full_images, value_at
from dreambirds.shapes import in_proportion

GRAY = 0.5
CROP_DEVIATION = 0.15  # of a crop's center, as a fraction of the side, as in Horama and Xplique


class Transforms:
    """The views of one batch under one recipe, step after step.

    The original study flips the image itself at random after each step. Here the view is flipped instead, if the number
    of flips so far is odd. This is the same gradient ascent with the image in a fixed orientation, so animations do not
    jump.
    """

    def __init__(self, recipe: Recipe, rngs: list[torch.Generator]):
        """Take a recipe and one generator per image."""
        self.recipe, self.rngs = recipe, rngs
        self.flipped = [False] * len(rngs)
        no_warp = is_always(recipe.scale, 1) and is_always(recipe.rotate, 0) and recipe.scale_width is None
        self.warps = bool(recipe.crops) or not no_warp

    def __call__(self, images: torch.Tensor, step: int) -> torch.Tensor:
        """Return the views of images (B, 3, H, W) at a step.

        They are (B, 3, H + 2 pad, W + 2 pad). With `crops` they are B x crops views, grouped by image, with the same
        aspect ratio. `crop_output_size` is the shorter side of the views of crops and of random resized crops.
        """
        recipe = self.recipe
        if recipe.pad:
            images = functional.pad(images, [recipe.pad] * 4, value=GRAY)
        if recipe.roll:
            images = torch.stack([self._rolled(image, rng) for image, rng in zip(images, self.rngs, strict=True)])
        if recipe.jitter:
            images = self._jittered(images)
        if self.warps:
            images = self._warped(images, step)
        if recipe.crop_area is not None:
            images = self._cropped(images, step)
        if recipe.flip:
            images = self._flipped(images)
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

    def _flipped(self, images: torch.Tensor) -> torch.Tensor:
        odd = torch.tensor(self.flipped).repeat_interleave(len(images) // len(self.rngs)).to(images.device)
        views = torch.where(odd[:, None, None, None], images.flip(-1), images)
        for index, rng in enumerate(self.rngs):
            self.flipped[index] ^= torch.rand((), generator=rng).item() < self.recipe.flip
        return views

    def _cropped(self, images: torch.Tensor, step: int) -> torch.Tensor:
        """Return a random resized crop of each image, or the full image."""
        smallest_area, ratio = value_at(self.recipe.crop_area or 1.0, step), self.recipe.crop_ratio
        full = uses_full_images(self.recipe, step)
        boxes = [WHOLE if full else draw_box(rng, smallest_area, ratio) for rng in self.rngs]
        height, width = images.shape[-2:]
        shape = in_proportion((height, width), self.recipe.crop_output_size or min(height, width))
        return resized_crops(images, boxes, shape)

    def _warped(self, images: torch.Tensor, step: int) -> torch.Tensor:
        count = max(1, self.recipe.crops)
        height, width = images.shape[-2:]
        matrices = [self._affine_matrix(step, rng, height / width) for rng in self.rngs for _ in range(count)]
        view = self.recipe.crop_output_size if self.recipe.crops else None
        size = [len(matrices), images.shape[1], *in_proportion((height, width), view or min(height, width))]
        theta = torch.tensor(matrices, dtype=images.dtype).to(images.device)
        grid = functional.affine_grid(theta, size, align_corners=False)
        return functional.grid_sample(
            images.repeat_interleave(count, dim=0), grid, padding_mode="reflection", align_corners=False
        )

    def _affine_matrix(self, step: int, rng: torch.Generator, aspect: float) -> list[list[float]]:
        """Return the affine matrix (2, 3) from a view to its image.

        Coordinates are in [-1, 1] along both axes, as in ``affine_grid``. `aspect` is the image's height divided by its
        width.
        """
        recipe = self.recipe
        scale = value_at(recipe.scale, step, rng)
        scale_width = scale if recipe.scale_width is None else value_at(recipe.scale_width, step, rng)
        angle = math.radians(value_at(recipe.rotate, step, rng))
        box, center_y, center_x = 1.0, 0.0, 0.0
        if recipe.crops:
            box = value_at(recipe.crop_size, step, rng)
            center = 2 * CROP_DEVIATION * torch.randn(2, generator=rng)
            center_y, center_x = center.clamp(box - 1, 1 - box).tolist()
        cosine, sine = math.cos(angle) * box, math.sin(angle) * box
        return [
            [cosine / scale_width, sine * aspect / scale_width, center_x],
            [-sine / aspect / scale, cosine / scale, center_y],
        ]

    def _noise(self, images: torch.Tensor) -> torch.Tensor:
        shape = (images.shape[0] // len(self.rngs), *images.shape[1:])
        each = [torch.randn(shape, generator=rng, dtype=images.dtype) for rng in self.rngs]
        return torch.cat(each).to(images.device)

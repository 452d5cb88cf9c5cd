"""What is done to pictures and gradients between two steps; every image draws from a random stream of its own."""

import torch
from torch.nn import functional
from torchvision.transforms.v2 import functional as v2

SMALLEST_SIGMA = 0.05
EPSILON = 1e-8


def blur(images: torch.Tensor, sigmas: list[float]) -> torch.Tensor:
    """Blur each image of (B, C, H, W) with its own Gaussian; sigmas are in pixels, below 0.05 nothing is done."""
    if max(sigmas) < SMALLEST_SIGMA:
        return images
    if len(set(sigmas)) == 1:
        return v2.gaussian_blur(images, _kernel_size(sigmas[0], images), [sigmas[0]] * 2)
    return torch.cat([blur(image[None], [sigma]) for image, sigma in zip(images, sigmas, strict=True)])


def _kernel_size(sigma: float, images: torch.Tensor) -> list[int]:
    """Return an odd kernel size of three sigmas each way that reflection can pad in these images."""
    return [min(2 * round(3 * sigma + 0.5) + 1, 2 * side - 1) for side in images.shape[:-3:-1]]


class Views:
    """What the model is shown at one step: every image mirrored or not, and moved by its own random offset.

    The original study mirrors the picture itself at random after every step. Mirroring the view instead, by the
    parity of the mirrorings so far, is the same ascent in a frame that stays put, so that films do not jump.
    """

    def __init__(self, count: int, jitter: int, flip: float):
        """Prepare for `count` images; `jitter` is in pixels, `flip` the probability of a mirroring a step."""
        self.jitter = jitter
        self.flip = flip
        self.mirrored = [False] * count

    def __call__(self, images: torch.Tensor, streams: list[torch.Generator]) -> torch.Tensor:
        """Return views of (B, C, H, W) of the same shape; gradients flow back to the unmoved images."""
        if not self.jitter and not self.flip:
            return images
        padded = functional.pad(images, [self.jitter] * 4, mode="reflect") if self.jitter else images
        height, width = images.shape[-2:]
        views = []
        for index, stream in enumerate(streams):
            top, left = torch.randint(0, 2 * self.jitter + 1, (2,), generator=stream).tolist()
            view = padded[index, :, top : top + height, left : left + width]
            views.append(view.flip(-1) if self.mirrored[index] else view)
            self.mirrored[index] ^= torch.rand((), generator=stream).item() < self.flip
        return torch.stack(views)


def normalise(gradient: torch.Tensor, how: str) -> torch.Tensor:
    """Scale each image's gradient, (B, C, H, W), by its own size: ``none``, ``std``, ``mean_abs`` or ``l2``."""
    return gradient / (NORMALISATIONS[how](gradient) + EPSILON)


NORMALISATIONS = {
    "none": lambda gradient: 1.0,
    "std": lambda gradient: gradient.std(dim=(1, 2, 3), keepdim=True),
    "mean_abs": lambda gradient: gradient.abs().mean(dim=(1, 2, 3), keepdim=True),
    "l2": lambda gradient: gradient.square().sum(dim=(1, 2, 3), keepdim=True).sqrt(),
}

"""Gradient processing (blur, clip, normalize), and optimizers."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch.nn import functional

SMALLEST_SIGMA = 0.05
TINY = 1e-20
TORCH = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "nadam": torch.optim.NAdam}
FUSED = ("adam", "adamw")


def blur(images: torch.Tensor, sigmas: Sequence[float]) -> torch.Tensor:
    """Blur each image (B, C, H, W) with its own Gaussian, with reflection padding.

    `sigmas` are in pixels, one per image; if all are below 0.05, nothing is done. Gaussians are truncated at about 3
    sigma. One separable convolution processes all images. torchvision's blur has one sigma for all images and is not
    separable: it took five to ten times as long.
    """
    widest = max(sigmas)
    if widest < SMALLEST_SIGMA:
        return images
    count, channels, height, width = images.shape
    reach = min(round(3 * widest + 0.5), height - 1, width - 1)
    weights = _gaussians(tuple(sigmas), reach).to(images).repeat_interleave(channels, dim=0)
    padded = functional.pad(images, [reach] * 4, mode="reflect").flatten(0, 1)[None]
    padded = padded.contiguous(memory_format=torch.channels_last)
    blurred = functional.conv2d(padded, weights[:, None, None, :], groups=len(weights))
    result: torch.Tensor = (
        functional.conv2d(blurred, weights[:, None, :, None], groups=len(weights))[0]
        .contiguous()
        .unflatten(0, (count, channels))
    )
    return result


@lru_cache(maxsize=16)
def _gaussians(sigmas: tuple[float, ...], reach: int) -> torch.Tensor:
    positions = torch.arange(-reach, reach + 1, dtype=torch.float64)
    sigma = torch.tensor(sigmas, dtype=torch.float64).clamp(min=SMALLEST_SIGMA)[:, None]
    weights = (-0.5 * (positions / sigma).square()).exp()
    weights[positions.abs() > (3 * sigma + 0.5).round()] = 0  # truncated at the radius for its own sigma
    return weights / weights.sum(dim=1, keepdim=True)


def normalize(gradient: torch.Tensor, how: str) -> torch.Tensor:
    """Divide each image's gradient (B, ...) by its magnitude.

    `how` is the measure of magnitude: ``std``, ``mean_abs`` or ``l2``. ``none`` returns the gradient unchanged.
    """
    if how == "none":
        return gradient
    return gradient / per_image(SIZES[how](gradient.flatten(1)).clamp(min=TINY), gradient)


def clip(gradient: torch.Tensor, longest: float | None) -> torch.Tensor:
    """Scale each image's gradient (B, ...) to an L2 norm of at most `longest`.

    None leaves gradients unchanged.
    """
    if longest is None:
        return gradient
    lengths = SIZES["l2"](gradient.flatten(1)).clamp(min=TINY)
    return gradient * per_image((longest / lengths).clamp(max=1), gradient)


def _std(flat: torch.Tensor) -> torch.Tensor:
    # torch.std is several times slower
    length: torch.Tensor = torch.linalg.vector_norm(flat - flat.mean(dim=1, keepdim=True), dim=1)
    deviation: torch.Tensor = length / (flat.shape[1] - 1) ** 0.5
    return deviation


SIZES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "std": _std,
    "mean_abs": lambda flat: flat.abs().mean(dim=1),
    "l2": lambda flat: torch.linalg.vector_norm(flat, dim=1),
}


def per_image(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return one value per image, (B,), reshaped to broadcast with (B, ...)."""
    return values.view(-1, *[1] * (like.ndim - 1))


class GradientAscent:
    """Gradient ascent with momentum: v = momentum v + gradient, p = p + step_size v."""

    def __init__(self, momentum: float = 0.0):
        """Take the momentum, in [0, 1)."""
        self.momentum = momentum
        self.velocity: torch.Tensor | None = None

    def __call__(self, parameters: torch.Tensor, gradient: torch.Tensor, step_size: float) -> torch.Tensor:
        """Return the updated parameters; `gradient` has their shape."""
        if self.momentum:
            gradient = gradient if self.velocity is None else self.velocity * self.momentum + gradient
            self.velocity = gradient
        return torch.add(parameters, gradient, alpha=step_size)


class TorchOptimizer:
    """Adam, AdamW or NAdam.

    Their state is per parameter, so images of a batch do not affect each other.
    """

    def __init__(self, kind: str, beta1: float = 0.9, beta2: float = 0.999, weight_decay: float = 0.0):
        """Take ``adam``, ``adamw`` or ``nadam``, and its options."""
        self.kind, self.options = TORCH[kind], {"betas": (beta1, beta2), "weight_decay": weight_decay}
        if kind in FUSED:
            self.options["fused"] = True  # a third of the time
        self.leaf: torch.Tensor | None = None
        self.optimizer: torch.optim.Optimizer | None = None

    def __call__(self, parameters: torch.Tensor, gradient: torch.Tensor, step_size: float) -> torch.Tensor:
        """Return the updated parameters; `gradient` has their shape."""
        if self.optimizer is None or self.leaf is None:
            self.leaf = parameters.detach().clone()
            self.optimizer = self.kind([self.leaf], maximize=True, **self.options)
        self.leaf.copy_(parameters.detach())
        self.leaf.grad = gradient
        self.optimizer.param_groups[0]["lr"] = step_size
        self.optimizer.step()
        return self.leaf.clone()


def make_optimizer(
    kind: str, momentum: float, beta1: float, beta2: float, weight_decay: float
) -> GradientAscent | TorchOptimizer:
    """Return the optimizer of a dream: ``ascent``, or one of TORCH."""
    return GradientAscent(momentum) if kind == "ascent" else TorchOptimizer(kind, beta1, beta2, weight_decay)

"""Regularizers: total variation, L2 norm, and distance from batch-norm statistics."""

import torch
from torch import nn

from dreambirds.device import to_float32

FIRST_NORM_WEIGHT = 10.0


def total_variation(images: torch.Tensor) -> torch.Tensor:
    """Return the total variation of images (B, C, H, W), (B,).

    It is the sum of the L2 norms of differences between neighboring pixels in four directions: horizontal, vertical,
    and both diagonals (DeepInversion, Yin et al. 2020).
    """
    differences = (
        images[..., :, 1:] - images[..., :, :-1],
        images[..., 1:, :] - images[..., :-1, :],
        images[..., 1:, 1:] - images[..., :-1, :-1],
        images[..., 1:, :-1] - images[..., :-1, 1:],
    )
    return sum(_norm(difference) for difference in differences)  # type: ignore[return-value]  # never empty


def penalty(images: torch.Tensor, tv_weight: float, l2_weight: float) -> torch.Tensor:
    """Return the weighted sum of total variation and L2 norm, (B,).

    `images` are (B, C, H, W). The sum is zero, and has no gradient, if both weights are zero.
    """
    total = images.new_zeros(len(images))
    if tv_weight:
        total = total + tv_weight * total_variation(images)
    if l2_weight:
        total = total + l2_weight * l2_norm(images)
    return total


def l2_norm(images: torch.Tensor) -> torch.Tensor:
    """Return the L2 norm of each image's difference from mid-gray (0.5), (B,)."""
    return _norm(images - 0.5)


def _norm(values: torch.Tensor) -> torch.Tensor:
    # 1e-12, because the derivative of the square root at 0 is infinite, and a constant image has norm 0
    return values.flatten(1).square().sum(dim=1).add(1e-12).sqrt()


def norm_layers(model: nn.Module) -> list[nn.Module]:
    """Return the batch norms of a model that have running statistics, in order."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
    return [module for module in model.modules() if isinstance(module, kinds) and module.running_mean is not None]


def statistics_distance(norm: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Return the distance of a batch norm's input from its running statistics, (B,).

    It is the L2 distance between the means of the channels plus that between their variances. The input is (B, C, H, W)
    or (B, C). DeepInversion uses the statistics of the whole batch. Here they are computed per image, so a dream does
    not depend on the other images of its batch.
    """
    values = to_float32(inputs).flatten(2) if inputs.ndim > 2 else to_float32(inputs)[..., None]
    mean, variance = values.mean(dim=2), values.var(dim=2, unbiased=False)
    return _norm(mean - norm.running_mean) + _norm(variance - norm.running_var)  # type: ignore[operator]  # tensors

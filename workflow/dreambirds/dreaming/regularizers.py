"""Regularizers: total variation, the L2 norm, and the distance from a model's batch-norm statistics."""

import torch
from torch import nn

from dreambirds.device import to_float32

FIRST_NORM_WEIGHT = 10.0


def total_variation(images: torch.Tensor) -> torch.Tensor:
    """Return, for each of (B, C, H, W), the L2 norms of the differences between neighbours, summed over four
    directions: across, down, and both diagonals (DeepInversion, Yin et al. 2020)."""
    differences = (
        images[..., :, 1:] - images[..., :, :-1],
        images[..., 1:, :] - images[..., :-1, :],
        images[..., 1:, 1:] - images[..., :-1, :-1],
        images[..., 1:, :-1] - images[..., :-1, 1:],
    )
    return sum(_norm(difference) for difference in differences)  # type: ignore[return-value]  # never empty


def penalty(images: torch.Tensor, tv_weight: float, l2_weight: float) -> torch.Tensor:
    """Return the weighted sum of both penalties of images (B, C, H, W), (B,); zero where both weights are."""
    total = images.new_zeros(len(images))
    if tv_weight:
        total = total + tv_weight * total_variation(images)
    if l2_weight:
        total = total + l2_weight * l2_norm(images)
    return total


def l2_norm(images: torch.Tensor) -> torch.Tensor:
    """Return the L2 norm of each image's deviation from mid-grey, (B,)."""
    return _norm(images - 0.5)


def _norm(values: torch.Tensor) -> torch.Tensor:
    # the square root's slope at zero is infinite, and a grey start is zero
    return values.flatten(1).square().sum(dim=1).add(1e-12).sqrt()


def norm_layers(model: nn.Module) -> list[nn.Module]:
    """Return the batch norms whose training statistics can be compared with, in the order of the model."""
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d)
    return [module for module in model.modules() if isinstance(module, kinds) and module.running_mean is not None]


def statistics_distance(norm: nn.Module, given: torch.Tensor) -> torch.Tensor:
    """Return how far the input of a batch norm is from what it saw in training: the L2 distance between the channels'
    means plus that between their variances, (B,).

    DeepInversion takes the statistics of a whole batch; here they are each picture's own, (B, C, H, W) or (B, C, 1, 1),
    so that a dream does not depend on its batch mates.
    """
    values = to_float32(given).flatten(2) if given.ndim > 2 else to_float32(given)[..., None]
    mean, variance = values.mean(dim=2), values.var(dim=2, unbiased=False)
    return _norm(mean - norm.running_mean) + _norm(variance - norm.running_var)  # type: ignore[operator]  # tensors

"""Regularizers: total variation, L2 norm, and distance from batch-norm statistics."""

import math
from typing import Any

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


class _Moments(torch.autograd.Function):
    """Means and variances over positions, several times faster than `torch.var_mean` on channels-last activations."""

    @staticmethod
    def forward(context: Any, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the means and the biased variances, (B, C) each, of values (B, N, C)."""
        mean = values.mean(dim=1)
        context.save_for_backward(values, mean)
        return mean, (values.square().mean(dim=1) - mean.square()).clamp(min=0)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> torch.Tensor:
        """Return the gradient with respect to the values, which is linear in them."""
        (values, mean), (of_mean, of_variance) = context.saved_tensors, gradients
        slope = 2 * of_variance / values.shape[1]
        return torch.addcmul((of_mean / values.shape[1] - slope * mean)[:, None], slope[:, None], values)


def statistics_distance(norm: nn.Module, inputs: torch.Tensor, relative: bool = False) -> torch.Tensor:
    """Return the distance of a batch norm's input from its running statistics, (B,).

    It is the L2 distance between the means of the channels plus that between their variances (DeepInversion, Yin et al.
    2020). The `relative` distance divides differences of means by the running standard deviations, and compares the
    standard deviations by their ratio to the running ones, minus 1; it is a root mean square over the channels instead
    of a sum. So it has no unit, and does not depend on how many channels a layer has. The input is (B, C, H, W) or
    (B, C). DeepInversion uses the statistics of the whole batch. Here they are computed per image, so a dream does not
    depend on the other images of its batch.
    """
    values = to_float32(inputs).flatten(2).mT if inputs.ndim > 2 else to_float32(inputs)[:, None]
    mean, variance = _Moments.apply(values)
    running: tuple[torch.Tensor, torch.Tensor] = (norm.running_mean, norm.running_var)  # type: ignore[assignment]
    if not relative:
        return _norm(mean - running[0]) + _norm(variance - running[1])
    deviation, channels = (running[1] + norm.eps).sqrt(), math.sqrt(mean.shape[1])  # type: ignore[operator]
    ratio = (variance + norm.eps).sqrt() / deviation
    return (_norm((mean - running[0]) / deviation) + _norm(ratio - 1)) / channels

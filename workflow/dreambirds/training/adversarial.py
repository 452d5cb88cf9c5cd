"""Training pictures made harder for the model, within a length."""

from collections.abc import Callable

import torch
from torch.nn import functional

TINY = 1e-12


def adversarial_length(settings: dict, epoch: float) -> float:
    """Return the greatest length of an adversarial step after so many (fractions of) epochs, growing over its ramp."""
    ramp = settings["ramp_epochs"]
    return settings["length"] * (min(1.0, epoch / ramp) if ramp else 1.0)


def harden(see: Callable, images: torch.Tensor, targets: torch.Tensor, length: float, steps: int) -> torch.Tensor:
    """Return the images (B, 3, H, W) moved to where the model finds them harder, each by a random L2 distance.

    `see` returns the model's logits; the model should be in eval mode. No distance is over `length`. Projected gradient
    ascent on the loss, after Madry et al., 2018. Training on these gives gradients that people recognise: Santurkar et
    al., Image Synthesis with a Single (Robust) Classifier, 2019.
    """
    reach = length * torch.rand(len(images), device=images.device, dtype=images.dtype)
    moved = images.detach()
    for _ in range(steps):
        moved.requires_grad_(True)
        loss = functional.cross_entropy(see(moved), targets, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, moved)
        change = moved.detach() - images + _of_length(gradient, reach * min(1.0, 1.5 / steps))
        too_long = (reach / change.flatten(1).norm(dim=1).clamp(min=TINY)).clamp(max=1)
        moved = images + change * too_long.view(-1, 1, 1, 1)
    return moved.clamp_(0, 1)


def _of_length(vectors: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    return vectors * (lengths / vectors.flatten(1).norm(dim=1).clamp(min=TINY)).view(-1, 1, 1, 1)

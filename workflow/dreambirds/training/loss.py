"""Cross-entropy with label smoothing and class weights, and adversarial examples."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional
from torchvision.transforms import v2

TINY = 1e-12


def class_weights(kind: str, counts: torch.Tensor) -> torch.Tensor | None:
    """Return a weight a class, (C,), whose mean over pictures is 1, or None where all weigh the same.

    ``balanced`` gives every class that has pictures the same sum: N / (C * n), as scikit-learn's does; others weigh 0.
    """
    if kind == "none":
        return None
    there = counts > 0
    return torch.where(there, counts.sum() / (there.sum() * counts.clamp(min=1)), 0.0)


class Loss(nn.Module):
    """The cross-entropy of each picture (B,) and their mean, from logits (B, C) and targets (B,) or shares (B, C)."""

    def __init__(self, smoothing: float, weights: torch.Tensor | None = None):
        """Take the share of the target that all classes get, and the classes' weights."""
        super().__init__()
        self.smoothing = smoothing
        self.register_buffer("weights", weights)

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        losses = functional.cross_entropy(
            logits, targets, weight=self.weights, label_smoothing=self.smoothing, reduction="none"
        )
        return losses, losses.mean()


def make_mixup(strength: float, classes: int) -> v2.Transform | None:
    """Return what mixes a batch and its targets, drawing from torch's global generator, or None.

    Zhang et al., mixup: Beyond Empirical Risk Minimization, 2018; each picture is mixed with its neighbour.
    """
    return v2.MixUp(alpha=strength, num_classes=classes) if strength else None


def hard_targets(targets: torch.Tensor) -> torch.Tensor:
    """Return the classes (B,) of targets, those of the largest shares where they are mixed."""
    return targets.argmax(dim=1) if targets.ndim == 2 else targets


def adversarial_length(settings: dict, epoch: float) -> float:
    """Return the greatest length of an adversarial step after so many (fractions of) epochs, growing over its ramp."""
    ramp = settings["warmup_epochs"]
    return settings["epsilon"] * (min(1.0, epoch / ramp) if ramp else 1.0)


def l2_pgd_attack(
    see: Callable, images: torch.Tensor, targets: torch.Tensor, length: float, steps: int
) -> torch.Tensor:
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

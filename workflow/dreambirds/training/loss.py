"""What training makes small: cross-entropy, with weights of classes, smoothed and mixed targets."""

import torch
from torch import nn
from torch.nn import functional
from torchvision.transforms import v2


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


def hard(targets: torch.Tensor) -> torch.Tensor:
    """Return the classes (B,) of targets, those of the largest shares where they are mixed."""
    return targets.argmax(dim=1) if targets.ndim == 2 else targets

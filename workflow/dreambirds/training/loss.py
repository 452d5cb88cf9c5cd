"""Cross-entropy and binary cross-entropy with label smoothing and class weights, and adversarial examples."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional
from torchvision.transforms import v2

TINY = 1e-12


def class_weights(kind: str, counts: torch.Tensor) -> torch.Tensor | None:
    """Return one weight per class, (C,), with a mean over images of 1, or None.

    `counts` (C,) are the numbers of images. ``none`` gives None. ``balanced`` gives each class that has images the same
    total weight, as in scikit-learn: N / (C n) for n of N images, where C counts these classes. Other classes get 0.
    """
    if kind == "none":
        return None
    present = counts > 0
    return torch.where(present, counts.sum() / (present.sum() * counts.clamp(min=1)), 0.0)


class Loss(nn.Module):
    """Cross-entropy with label smoothing and class weights, or binary cross-entropy for a sigmoid head.

    It maps logits (B, C) and targets, either classes (B,) or class probabilities (B, C), to the loss of each image (B,)
    and their mean.
    """

    def __init__(self, smoothing: float, weights: torch.Tensor | None = None, head: str = "softmax"):
        """Take the label smoothing in [0, 1], the weights of the classes, (C,), and the classifier's head."""
        super().__init__()
        self.smoothing, self.head = smoothing, head
        self.register_buffer("weights", weights)

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.head == "sigmoid":
            losses = binary_cross_entropy(logits, targets, self.smoothing, self.weights)
        else:
            losses = functional.cross_entropy(
                logits, targets, weight=self.weights, label_smoothing=self.smoothing, reduction="none"
            )
        return losses, losses.mean()


def binary_cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, smoothing: float = 0.0, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the binary cross-entropy of each image, (B,), averaged over the classes of its logits (B, C).

    `targets` are classes (B,) or class probabilities (B, C). As in timm, smoothing moves them towards 1 / C. The loss
    of an image is multiplied by the weight of its class, or by the mean weight of its classes.
    """
    if targets.ndim == 1:
        targets = functional.one_hot(targets, logits.shape[1])
    targets = targets.to(logits.dtype)
    smoothed = targets * (1 - smoothing) + smoothing / logits.shape[1]
    losses = functional.binary_cross_entropy_with_logits(logits, smoothed, reduction="none").mean(dim=1)
    return losses if weights is None else losses * (targets @ weights.to(targets.dtype))


def make_mixup(strength: float, classes: int) -> v2.Transform | None:
    """Return the mixup of a batch and its targets, or None if `strength` is 0.

    Each image is mixed with its neighbor in the batch, with a ratio from Beta(strength, strength): Zhang et al.,
    *mixup: Beyond Empirical Risk Minimization* (2018). It draws from torch's global generator.
    """
    return v2.MixUp(alpha=strength, num_classes=classes) if strength else None


def hard_targets(targets: torch.Tensor) -> torch.Tensor:
    """Return the classes (B,) of targets (B,), or the most probable ones of (B, C)."""
    return targets.argmax(dim=1) if targets.ndim == 2 else targets


def perturbation_norm(settings: dict, epoch: float) -> float:
    """Return the largest L2 norm of an adversarial perturbation at an epoch.

    It grows linearly to ``epsilon`` over the ``warmup_epochs`` of `settings`; `epoch` may be a fraction.
    """
    ramp = settings["warmup_epochs"]
    return settings["epsilon"] * (min(1.0, epoch / ramp) if ramp else 1.0)


def l2_pgd_attack(
    forward: Callable,
    images: torch.Tensor,
    targets: torch.Tensor,
    length: float,
    steps: int,
    head: str = "softmax",
) -> torch.Tensor:
    """Return adversarial examples (B, 3, H, W) in [0, 1] of images.

    Projected gradient ascent on the loss of the `head` in an L2 ball (Madry et al. 2018). The radius of each image's
    ball is uniform in [0, `length`), and each of the `steps` is 1.5 / steps of the radius, at most the radius.
    `forward` returns the model's logits; the model should be in eval mode. Adversarial training gives gradients that
    people recognize: Santurkar et al., *Image Synthesis with a Single (Robust) Classifier* (2019).
    """
    plain_loss = Loss(0.0, head=head)
    radius = length * torch.rand(len(images), device=images.device, dtype=images.dtype)
    moved = images.detach()
    for _ in range(steps):
        moved.requires_grad_(True)
        losses, _ = plain_loss(forward(moved), targets)
        (gradient,) = torch.autograd.grad(losses.sum(), moved)
        change = moved.detach() - images + _with_norm(gradient, radius * min(1.0, 1.5 / steps))
        shrink = (radius / change.flatten(1).norm(dim=1).clamp(min=TINY)).clamp(max=1)
        moved = images + change * shrink.view(-1, 1, 1, 1)
    return moved.clamp_(0, 1)


def _with_norm(vectors: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    return vectors * (lengths / vectors.flatten(1).norm(dim=1).clamp(min=TINY)).view(-1, 1, 1, 1)

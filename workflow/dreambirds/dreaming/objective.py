"""What a dream climbs: one score an image, larger is better."""

from collections.abc import Callable

import torch
from torch.nn import functional

Objective = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def logit(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the target's logit. Shapes: logits (B, C), targets (B,) integer, result (B,)."""
    return logits.gather(1, targets[:, None])[:, 0]


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return minus the cross-entropy, the target's log probability, which also pushes every other class down."""
    return -functional.cross_entropy(logits, targets, reduction="none")


def probability(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the target's softmax probability, in [0, 1]."""
    return logit(logits.softmax(dim=1), targets)


OBJECTIVES: dict[str, Objective] = {"logit": logit, "cross_entropy": cross_entropy, "probability": probability}

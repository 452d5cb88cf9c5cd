"""Metrics of a judge's outputs and features."""

import torch
from torch.nn import functional

from dreambirds.dreaming.objectives import probability


def classification_metrics(
    logits: torch.Tensor, targets: torch.Tensor, head: str = "softmax"
) -> dict[str, torch.Tensor]:
    """Return metrics of logits (N, C) for the classes `targets` (N,).

    They are the ``probability`` of the target, by the softmax or the sigmoid of the `head`, its ``rank`` (1 is the
    highest; classes with an equal logit rank before it) and ``first``, the index of the predicted class, each of shape
    (N,).
    """
    own = logits.gather(1, targets[:, None])
    others = torch.arange(logits.shape[1], device=logits.device) != targets[:, None]
    return {
        "probability": probability(logits.double(), targets, head),
        "rank": 1 + ((logits >= own) & others).sum(dim=1),
        "first": logits.argmax(dim=1),
    }


def cosine_distance(features: torch.Tensor, center: torch.Tensor) -> torch.Tensor:
    """Return the cosine distance of features (N, D) from (D,) or (N, D).

    0 is the same direction, 1 unrelated, 2 opposite.
    """
    return 1 - functional.cosine_similarity(features.double(), center.double(), dim=-1)

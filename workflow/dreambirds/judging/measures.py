"""What a judge's logits and features tell of pictures."""

import torch
from torch.nn import functional


def opinions(logits: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return what logits (N, C) say of the classes `targets` (N,): each of shape (N,).

    ``probability`` of the target by softmax, its ``rank`` (1 is first; equal ones come before it) and the class that
    comes ``first``.
    """
    own = logits.gather(1, targets[:, None])
    others = torch.arange(logits.shape[1], device=logits.device) != targets[:, None]
    return {
        "probability": functional.softmax(logits.double(), dim=1).gather(1, targets[:, None])[:, 0],
        "rank": 1 + ((logits >= own) & others).sum(dim=1),
        "first": logits.argmax(dim=1),
    }


def distance(features: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    """Return the cosine distance (0 same direction, 1 unrelated, 2 opposite) of features (N, D) from (D,) or (N, D)."""
    return 1 - functional.cosine_similarity(features.double(), centre.double(), dim=-1)


def agreement(features: torch.Tensor) -> torch.Tensor:
    """Return each picture's mean cosine similarity to all others of a set, (N,) from features (N, D); NaN if alone."""
    unit = functional.normalize(features.double(), dim=1)
    alike = unit @ unit.T
    return (alike.sum(dim=1) - alike.diagonal()) / (len(features) - 1) if len(features) > 1 else alike[0] * torch.nan

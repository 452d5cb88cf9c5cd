"""The numbers that a model computes with."""

import torch

from dreambirds.device import has_bfloat16
from dreambirds.errors import StudyError

PRECISIONS = ("auto", "float32", "bfloat16")


def resolve_precision(wanted: str, device: torch.device) -> str:
    """Return ``float32`` or ``bfloat16``; ``auto`` takes bfloat16 where the processor computes with it itself.

    Raises StudyError if `wanted` is none of PRECISIONS.
    """
    if wanted not in PRECISIONS:
        raise StudyError(f"precision: must be one of {', '.join(PRECISIONS)}, not '{wanted}'")
    if wanted != "auto":
        return wanted
    return "bfloat16" if has_bfloat16(device) else "float32"


def computing(precision: str, device: torch.device) -> torch.autocast:
    """Return the context in which a model runs at a resolved precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def full(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor in float32, or as it is if it has more digits."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))

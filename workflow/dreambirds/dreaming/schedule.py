"""Values that are fixed, drawn at random, or move along the dream: blur widths, step sizes, angles, scales."""

import math
from collections.abc import Mapping
from typing import Any

import torch

Value = float | int | Mapping[str, Any]


def value_at(value: Value, step: int, stream: torch.Generator | None = None) -> float:
    """Return what a value is at one step.

    `value` is a number (fixed), ``{"random": [low, high]}`` (uniform, one draw from `stream` a step) or
    ``{"from": a, "to": b, "over": n}`` (over the first n steps, then b; linear, or with ``"shape": "cosine"`` along
    half a wave). A schedule depends on its own length and never on the last step of the dream, so that a longer dream
    passes through the shorter one.
    """
    if not isinstance(value, Mapping):
        return float(value)
    if "random" in value:
        low, high = value["random"]
        drawn: float = low + (high - low) * torch.rand((), generator=stream).item()
        return drawn
    progress = min(1.0, step / value["over"])
    if value.get("shape") == "cosine":
        progress = (1 - math.cos(math.pi * progress)) / 2
    reached: float = value["from"] + (value["to"] - value["from"]) * progress
    return reached


def is_always(value: Value, constant: float) -> bool:
    """Tell whether a value is this number at every step."""
    return not isinstance(value, Mapping) and value == constant

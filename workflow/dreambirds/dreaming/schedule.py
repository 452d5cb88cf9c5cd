"""Blur widths that are fixed, drawn at random, or fall along the dream."""

from collections.abc import Mapping

import torch

Width = float | int | Mapping


def width_at(width: Width, step: int, stream: torch.Generator) -> float:
    """Return the standard deviation (pixels, >= 0) that a width asks for at one step.

    `width` is a number (fixed), ``{"random": [low, high]}`` (uniform, one draw from `stream` a step) or
    ``{"from": a, "to": b, "over": n}`` (linear over the first n steps, then b). A schedule depends on its own length
    and never on the last step of the dream, so that a longer dream passes through the shorter one.
    """
    if not isinstance(width, Mapping):
        return float(width)
    if "random" in width:
        low, high = width["random"]
        return low + (high - low) * torch.rand((), generator=stream).item()
    progress = min(1.0, step / width["over"])
    return width["from"] + (width["to"] - width["from"]) * progress

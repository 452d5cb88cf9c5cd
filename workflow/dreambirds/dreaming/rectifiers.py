"""Let the gradient of a silent image pass rectifiers, so that its dream can begin.

A unit behind a rectifier whose inputs are all in its flat part has no gradient, and gradient ascent never moves the
image. As in Lucid (`redirected_relu_grad`), the gradient then passes the flat part in the first steps of a dream.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from dreambirds.dreaming.updates import per_image

REDIRECTED_STEPS = 16  # as in Lucid
INFINITE = float("inf")


class Bounds(NamedTuple):
    """Between `low` and `high`, a rectifier has a slope. It may change its input `in_place`."""

    low: float | None
    high: float | None = INFINITE
    in_place: bool = False


# each function, with its own arguments, gives the bounds of the rectifier
RECTIFIERS: dict[Callable[..., torch.Tensor], Callable[..., Bounds]] = {
    functional.relu: lambda input, inplace=False: Bounds(0, in_place=inplace),
    functional.relu6: lambda input, inplace=False: Bounds(0, 6, inplace),
    functional.hardtanh: lambda input, min_val=-1.0, max_val=1.0, inplace=False: Bounds(min_val, max_val, inplace),
    functional.hardswish: lambda input, inplace=False: Bounds(-3, in_place=inplace),
    functional.hardsigmoid: lambda input, inplace=False: Bounds(-3, 3, inplace),
    functional.threshold: lambda input, threshold, value, inplace=False: Bounds(threshold, in_place=inplace),
    **dict.fromkeys((torch.relu, torch.Tensor.relu), lambda input: Bounds(0)),
    **dict.fromkeys((torch.relu_, torch.Tensor.relu_), lambda input: Bounds(0, in_place=True)),
    **dict.fromkeys(
        (torch.clamp, torch.Tensor.clamp, torch.clip, torch.Tensor.clip),
        lambda input, min=None, max=None: Bounds(min, max),
    ),
    **dict.fromkeys((torch.clamp_, torch.Tensor.clamp_), lambda input, min=None, max=None: Bounds(min, max, True)),
    **dict.fromkeys((torch.clamp_min, torch.Tensor.clamp_min), lambda input, min: Bounds(min)),
}


class Redirected(TorchFunctionMode):
    """Within this context, rectifiers of every kind pass the gradient of ascent for images that they silence.

    These are the entries of a batch whose gradient at the rectifier is zero everywhere. Of their gradient, that part
    passes which leads the inputs back between the bounds. All other gradients, and all outputs, are unchanged.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch, redirected if it is a rectifier."""
        kwargs = dict(kwargs or {})
        if func not in RECTIFIERS:
            return func(*args, **kwargs)
        low, high, in_place = RECTIFIERS[func](*args, **kwargs)
        low, high = -INFINITE if low is None else low, INFINITE if high is None else high
        inputs, *others = args or (kwargs.pop("input"),)
        if inputs.ndim < 2 or isinstance(low, torch.Tensor) or isinstance(high, torch.Tensor):
            return func(inputs, *others, **kwargs)
        outputs = _Redirect.apply(inputs, lambda each: func(each, *others, **kwargs), low, high)
        return inputs.copy_(outputs) if in_place else outputs


class _Redirect(torch.autograd.Function):
    """A rectifier that is called with its inputs (N, ...) and its bounds."""

    @staticmethod
    def forward(
        ctx: Any, inputs: torch.Tensor, rectifier: Callable[..., torch.Tensor], low: float, high: float
    ) -> torch.Tensor:
        kept = inputs.clone()  # the rectifier, or what follows it, may change its input in place
        ctx.save_for_backward(kept)
        ctx.rectifier, ctx.low, ctx.high = rectifier, low, high
        outputs: torch.Tensor = rectifier(kept.clone())
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (inputs,), (gradient,) = ctx.saved_tensors, gradients
        with torch.enable_grad():
            leaf = inputs.detach().requires_grad_(True)
            (usual,) = torch.autograd.grad(ctx.rectifier(leaf.clone()), leaf, gradient)
        inwards = ((inputs <= ctx.low) & (gradient > 0)) | ((inputs >= ctx.high) & (gradient < 0))
        silent = per_image(is_zero(usual), usual)
        return torch.where(silent & inwards, gradient, usual), None, None, None


def is_zero(gradient: torch.Tensor) -> torch.Tensor:
    """Return for each entry of a batch (N, ...) whether all of its numbers are zero, (N,)."""
    zero: torch.Tensor = (gradient == 0).flatten(1).all(dim=1)
    return zero

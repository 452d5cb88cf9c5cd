"""How parameters move along a gradient: plain ascent with momentum, or an optimiser of torch."""

import torch

TORCH = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "nadam": torch.optim.NAdam}


class Ascent:
    """Add the gradient, and some of the way gone before."""

    def __init__(self, momentum: float = 0.0):
        """Take the share of the last step that is kept, in [0, 1)."""
        self.momentum = momentum
        self.velocity: torch.Tensor | None = None

    def __call__(self, parameters: torch.Tensor, gradient: torch.Tensor, step_size: float) -> torch.Tensor:
        """Return the moved parameters, all of one shape."""
        if self.momentum:
            gradient = gradient if self.velocity is None else self.velocity * self.momentum + gradient
            self.velocity = gradient
        return torch.add(parameters, gradient, alpha=step_size)


class Adaptive:
    """Adam, AdamW or NAdam: each parameter's step is measured by its own history, so that batch mates do not meet."""

    def __init__(self, kind: str, beta1: float = 0.9, beta2: float = 0.999, weight_decay: float = 0.0):
        """Take ``adam``, ``adamw`` or ``nadam`` and its options."""
        self.kind, self.options = TORCH[kind], {"betas": (beta1, beta2), "weight_decay": weight_decay}
        self.leaf: torch.Tensor | None = None
        self.optimiser: torch.optim.Optimizer | None = None

    def __call__(self, parameters: torch.Tensor, gradient: torch.Tensor, step_size: float) -> torch.Tensor:
        """Return the moved parameters, all of one shape."""
        if self.optimiser is None or self.leaf is None:
            self.leaf = parameters.detach().clone()
            self.optimiser = self.kind([self.leaf], maximize=True, **self.options)
        self.leaf.copy_(parameters.detach())
        self.leaf.grad = gradient
        self.optimiser.param_groups[0]["lr"] = step_size
        self.optimiser.step()
        return self.leaf.clone()


def make_optimiser(kind: str, momentum: float, beta1: float, beta2: float, weight_decay: float) -> Ascent | Adaptive:
    """Return what moves the parameters of a dream: ``ascent``, or one of TORCH."""
    return Ascent(momentum) if kind == "ascent" else Adaptive(kind, beta1, beta2, weight_decay)

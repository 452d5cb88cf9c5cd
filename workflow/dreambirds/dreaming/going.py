"""Which dreams of a batch still go on: those that left the numbers or have arrived stay as they were."""

import torch

from dreambirds.dreaming.filters import each
from dreambirds.dreaming.recipe import Recipe

PLATEAU_GAIN = 1e-3
CHECK_EVERY = 10


class Going:
    """A batch's state, on its device; nothing is brought to the processor but once in CHECK_EVERY steps.

    `ended` (B,) holds the steps that each dream has done; `failed` (B,) the step at which it ran to infinity, or 0.
    """

    def __init__(self, count: int, recipe: Recipe, device: torch.device):
        """Begin with `count` dreams that all go on."""
        self.recipe = recipe
        self.on = torch.ones(count, dtype=torch.bool, device=device)
        self.ended, self.failed, self.since = torch.zeros((3, count), dtype=torch.long, device=device)
        self.best = torch.full((count,), -torch.inf, device=device)

    def arrive(self, probability: torch.Tensor, score: torch.Tensor) -> None:
        """Stop the dreams that, before this step, have reached the confidence or the plateau asked for."""
        if self.recipe.stop_confidence is not None:
            self.on = self.on & ~(probability >= self.recipe.stop_confidence)
        if self.recipe.stop_plateau is not None:
            better = score > self.best + PLATEAU_GAIN * self.best.abs().nan_to_num(posinf=0)
            self.best = torch.where(better, score, self.best)
            self.since = torch.where(better, 0, self.since + 1)
            self.on = self.on & (self.since < self.recipe.stop_plateau)

    def keep(self, number: int, before: torch.Tensor, after: torch.Tensor, *finite: torch.Tensor) -> torch.Tensor:
        """Return `after`, but `before` for dreams that have stopped, or of which one of the tensors (B, ...) is not
        finite."""
        good = sum(_sum(tensor) for tensor in (after, *finite)).isfinite()  # type: ignore[union-attr]  # never empty
        self.failed = torch.where(self.on & ~good, number + 1, self.failed)
        self.on = self.on & good
        self.ended = torch.where(self.on, number + 1, self.ended)
        return torch.where(each(self.on, after), after, before)

    def anywhere(self, number: int) -> bool:
        """Tell whether any dream goes on; asked once in CHECK_EVERY steps, since a GPU has to be waited for."""
        return number % CHECK_EVERY != 0 or bool(self.on.any())


def _sum(tensor: torch.Tensor) -> torch.Tensor:
    """Return the sum of each (B, ...), which one infinity or NaN makes not finite."""
    return tensor.sum(dim=tuple(range(1, tensor.ndim))) if tensor.ndim > 1 else tensor

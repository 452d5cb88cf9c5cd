"""Early stopping of dreams, and of those that become NaN or infinite, image by image."""

import torch

from dreambirds.dreaming.recipe import Recipe
from dreambirds.dreaming.updates import per_image

PLATEAU_GAIN = 1e-3  # the share by which a score must grow to count as better
CHECK_EVERY = 10  # steps


class StopTracker:
    """Early stopping: which dreams of a batch are active, on its device.

    `ended` (B,) holds the steps that each dream has done; `diverged` (B,) the step at which it became NaN or infinite,
    or 0. Finished dreams stay as they are.
    """

    def __init__(self, count: int, recipe: Recipe, device: torch.device):
        """Begin with `count` active dreams."""
        self.recipe = recipe
        self.active = torch.ones(count, dtype=torch.bool, device=device)
        self.ended, self.diverged, self.since = torch.zeros((3, count), dtype=torch.long, device=device)
        self.best = torch.full((count,), -torch.inf, device=device)

    def update(self, probability: torch.Tensor, score: torch.Tensor) -> None:
        """Stop the dreams that, before this step, have reached the confidence or the plateau of the recipe."""
        if self.recipe.stop_confidence is not None:
            self.active = self.active & ~(probability >= self.recipe.stop_confidence)
        if self.recipe.stop_plateau is not None:
            better = score > self.best + PLATEAU_GAIN * self.best.abs().nan_to_num(posinf=0)
            self.best = torch.where(better, score, self.best)
            self.since = torch.where(better, 0, self.since + 1)
            self.active = self.active & (self.since < self.recipe.stop_plateau)

    def freeze_finished(
        self, step: int, before: torch.Tensor, after: torch.Tensor, gradient: torch.Tensor, score: torch.Tensor
    ) -> torch.Tensor:
        """Return `after` for active dreams, and `before` for those that have stopped or are NaN or infinite now."""
        finite = sum(_sum(tensor) for tensor in (after, gradient, score)).isfinite()  # type: ignore[union-attr]
        self.diverged = torch.where(self.active & ~finite, step + 1, self.diverged)
        self.active = self.active & finite
        self.ended = torch.where(self.active, step + 1, self.ended)
        return torch.where(per_image(self.active, after), after, before)

    def any_active(self, step: int) -> bool:
        """Tell whether any dream is active; asked once in CHECK_EVERY steps, since a GPU has to be waited for."""
        return step % CHECK_EVERY != 0 or bool(self.active.any())


def _sum(tensor: torch.Tensor) -> torch.Tensor:
    """Return the sum of each (B, ...), which one infinity or NaN makes not finite."""
    return tensor.sum(dim=tuple(range(1, tensor.ndim))) if tensor.ndim > 1 else tensor

"""Early stopping per image, also of dreams that become NaN or infinite."""

import torch

from dreambirds.dreaming.recipe import Recipe
from dreambirds.dreaming.updates import per_image

PLATEAU_GAIN = 1e-3  # relative increase of a score that counts as an improvement
CHECK_EVERY = 10  # steps


class StopTracker:
    """The state of early stopping of a batch of dreams.

    `active` (B,) is True for dreams that have not stopped. `ended` (B,) is the number of steps that each dream has
    done. `diverged` (B,) is the step at which it became NaN or infinite, or 0. Stopped dreams do not change. `silent`
    (B,) is True for dreams whose objective had no gradient in any step so far.
    """

    def __init__(self, count: int, recipe: Recipe, device: torch.device):
        """Start with `count` active dreams."""
        self.recipe = recipe
        self.active = torch.ones(count, dtype=torch.bool, device=device)
        self.ended, self.diverged, self.stale = torch.zeros((3, count), dtype=torch.long, device=device)
        self.silent, self.any_silent = torch.ones_like(self.active), True
        self.best = torch.full((count,), -torch.inf, device=device)

    def update(self, probability: torch.Tensor, score: torch.Tensor) -> None:
        """Stop dreams that reached the recipe's confidence or plateau before this step.

        `probability` (B,) is the target's. On a plateau, the score (B,) has not increased by a thousandth of its best
        value for ``stop_plateau`` steps.
        """
        if self.recipe.stop_confidence is not None:
            self.active = self.active & ~(probability >= self.recipe.stop_confidence)
        if self.recipe.stop_plateau is not None:
            better = score > self.best + PLATEAU_GAIN * self.best.abs().nan_to_num(posinf=0)
            self.best = torch.where(better, score, self.best)
            self.stale = torch.where(better, 0, self.stale + 1)
            self.active = self.active & (self.stale < self.recipe.stop_plateau)

    def watch(self, silent: torch.Tensor | None) -> None:
        """Record which dreams are silent at this step, (B,), until none has been silent in all steps."""
        if silent is not None and self.any_silent:
            self.silent = self.silent & silent
            self.any_silent = bool(self.silent.any())

    def freeze_finished(
        self, step: int, before: torch.Tensor, after: torch.Tensor, gradient: torch.Tensor, score: torch.Tensor
    ) -> torch.Tensor:
        """Return `after` for active dreams, and `before` for stopped ones.

        Dreams whose new parameters, gradient or score are NaN or infinite are stopped first.
        """
        finite = sum(_sum(tensor) for tensor in (after, gradient, score)).isfinite()  # type: ignore[union-attr]
        self.diverged = torch.where(self.active & ~finite, step + 1, self.diverged)
        self.active = self.active & finite
        self.ended = torch.where(self.active, step + 1, self.ended)
        return torch.where(per_image(self.active, after), after, before)

    def any_active(self, step: int) -> bool:
        """Return whether any dream is active.

        It is checked every CHECK_EVERY steps, because it synchronizes a GPU, and True in between.
        """
        return step % CHECK_EVERY != 0 or bool(self.active.any())


def _sum(tensor: torch.Tensor) -> torch.Tensor:
    """Return the sum of each (B, ...); it is not finite if a value is not."""
    return tensor.sum(dim=tuple(range(1, tensor.ndim))) if tensor.ndim > 1 else tensor

"""Targets: what the dreams of a batch maximize where their objective scores a class.

A target is a class, a weighted sum of classes, or units of a layer: a channel, a neuron (one position of a channel), or
a direction (a weighted sum of channels), as in Olah et al., *Feature Visualization* (2017).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from dreambirds.errors import UserError

if TYPE_CHECKING:
    import torch

MIDDLE = "middle"  # the position in the middle of a map, as in Lucid


@dataclass(frozen=True)
class Targets:
    """The targets of a batch of dreams: outputs of the network, or channels of one of its layers.

    `indices` (B, K) are those of the classes or channels of each dream, and `weights` (B, K) are how much each counts.
    If the indices are None, the weights are those of all channels. `layer` is the name of a module or a depth such as
    ``75%``; None stands for the network's output, whose units are the classes. A channel counts with its mean over all
    positions, or with its activation at `position`, (y, x) or `MIDDLE`.
    """

    indices: torch.Tensor | None
    weights: torch.Tensor
    layer: str | None = None
    position: tuple[int, ...] | str | None = None

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def are_classes(self) -> bool:
        """Whether each target is one class."""
        return self.layer is None and self.weights.shape[1] == 1

    @cached_property
    def highest(self) -> int:
        """The highest index, which is read from the device once."""
        return -1 if self.indices is None else int(self.indices.max())

    def repeat(self, count: int) -> Targets:
        """Return the targets with each one repeated, for `count` views of each dream."""
        indices = None if self.indices is None else self.indices.repeat_interleave(count, dim=0)
        return replace(self, indices=indices, weights=self.weights.repeat_interleave(count, dim=0))

    def sum_of(self, score: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """Return the weighted sum of scores of classes, (B,); `score` maps one class per dream (B,) to scores (B,)."""
        assert self.indices is not None, "only the weights of channels may be those of all"
        pairs = zip(self.indices.unbind(dim=1), self.weights.unbind(dim=1), strict=True)
        return sum(weight * score(classes) for classes, weight in pairs)  # type: ignore[return-value]

    def score(self, activation: torch.Tensor) -> torch.Tensor:
        """Return the activation of each dream's units, (B,), in the layer's output for the dreams, (B, ...)."""
        channels = self.by_channel(activation)
        chosen = channels if self.indices is None else channels.gather(1, self.indices)
        return (chosen * self.weights).sum(dim=1)

    def scores_of_all(self, activation: torch.Tensor) -> torch.Tensor:
        """Return the activation of all targets (N, B) in the layer's output for any N images, (N, ...)."""
        channels = self.by_channel(activation)
        chosen = channels[:, None] if self.indices is None else channels[:, self.indices]
        return (chosen * self.weights).sum(dim=2)

    def by_channel(self, activation: torch.Tensor) -> torch.Tensor:
        """Return a layer's output (N, ...) as one value per channel, (N, C): the mean, or the one at the position.

        Raises UserError if the layer does not have one of the channels, or the position.
        """
        maps = activation.movedim(1 if activation.ndim == 4 else -1, 1)
        count = maps.shape[1]
        if self.highest >= count:
            problem = f"the layer '{self.layer}' has no channel {self.highest}"
            raise UserError(f"{problem}; choose 0 to {count - 1}", "objective")
        if self.indices is None and self.weights.shape[1] != count:
            problem = f"a direction has {self.weights.shape[1]} numbers, but the layer '{self.layer}' {count} channels"
            raise UserError(f"{problem}; use a vector with one number per channel", "objective")
        if self.position is None:
            return maps.reshape(*maps.shape[:2], -1).mean(dim=2)
        position = find_position(self.layer, self.position, tuple(maps.shape[2:]))
        index: tuple[slice | int, ...] = (slice(None), slice(None), *position)
        return maps[index]


def find_position(layer: str | None, position: tuple[int, ...] | str | None, sides: tuple[int, ...]) -> tuple[int, ...]:
    """Return a position in a map of the shape `sides`; `MIDDLE` and None stand for its middle.

    Raises UserError if the map of the `layer` does not have the position.
    """
    at = tuple(side // 2 for side in sides) if position is None or isinstance(position, str) else position
    if len(at) != len(sides) or any(index >= side for index, side in zip(at, sides, strict=True)):
        raise UserError(
            f"the layer '{layer}' has no position {at}; choose one in its map of shape {sides}", "objective"
        )
    return at


def as_targets(targets: torch.Tensor | Targets) -> Targets:
    """Return the targets for the indices of classes, (B,)."""
    if isinstance(targets, Targets):
        return targets
    return Targets(targets[:, None], targets.new_ones((len(targets), 1)).float())

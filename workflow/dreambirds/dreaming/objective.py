"""What a dream climbs: one score an image, larger is better, from logits or from a layer's activation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch.nn import functional

from dreambirds.errors import StudyError
from dreambirds.terms import Term, parse


@dataclass
class Seen:
    """What a model saw in images: logits (B, C), or None if it was stopped before; activations by layer;
    and how far each image's statistics in the batch norms lie from those that the model was trained on, (B,)."""

    logits: torch.Tensor | None = None
    layers: dict[str, torch.Tensor] = field(default_factory=dict)
    statistics: torch.Tensor | None = None


def logit(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the target's logit. Shapes: logits (B, C), targets (B,) integer, result (B,)."""
    return logits.gather(1, targets[:, None])[:, 0]


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return minus the cross-entropy, the target's log probability, which also pushes every other class down."""
    return -functional.cross_entropy(logits, targets, reduction="none")


def probability(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the target's softmax probability, in [0, 1]."""
    return logit(logits.softmax(dim=1), targets)


def margin(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the target's logit minus the mean of the others."""
    own = logit(logits, targets)
    return own - (logits.sum(dim=1) - own) / max(1, logits.shape[1] - 1)


def layer_mean(activation: torch.Tensor, _: Term) -> torch.Tensor:
    """Return the mean activation of each image, as TensorFlow's tutorial has it. Shapes: (B, ...) to (B,)."""
    return activation.flatten(1).mean(dim=1)


def layer_l2(activation: torch.Tensor, _: Term) -> torch.Tensor:
    """Return half the mean square: its gradient is the activation itself (google/deepdream), but for the count."""
    return activation.flatten(1).square().mean(dim=1) / 2


def channel(activation: torch.Tensor, term: Term) -> torch.Tensor:
    """Return the mean activation of one channel; channels are axis 1 of (B, C, H, W), the last of (B, tokens, C)."""
    chosen = _channel(activation, term)
    return chosen.reshape(len(chosen), -1).mean(dim=1)


def neuron(activation: torch.Tensor, term: Term) -> torch.Tensor:
    """Return one channel's activation at one place, by default the middle, as Lucid has it."""
    chosen = _channel(activation, term)
    sides = chosen.shape[1:]
    place = term.place or tuple(side // 2 for side in sides)
    if len(place) != len(sides) or any(at >= side for at, side in zip(place, sides, strict=True)):
        raise StudyError(f"objective: the layer '{term.layer}' has {tuple(sides)} places, there is no {place}")
    index: tuple[slice | int, ...] = (slice(None), *place)
    return chosen[index]


def _channel(activation: torch.Tensor, term: Term) -> torch.Tensor:
    axis = 1 if activation.ndim == 4 else -1
    if term.channel is None or term.channel >= activation.shape[axis]:
        highest = activation.shape[axis] - 1
        raise StudyError(f"objective: '{term.layer}' has channels 0 to {highest}, there is no {term.channel}")
    return activation.select(axis, term.channel)


CLASS_SCORES: dict[str, Callable[..., torch.Tensor]] = {
    "logit": logit,
    "cross_entropy": cross_entropy,
    "probability": probability,
    "margin": margin,
}
LAYER_SCORES: dict[str, Callable[[torch.Tensor, Term], torch.Tensor]] = {
    "layer_mean": layer_mean,
    "layer_l2": layer_l2,
    "channel": channel,
    "neuron": neuron,
}


class Objective:
    """A weighted sum of scores. `layers` names the modules that it looks at, `logits` tells whether it needs those."""

    def __init__(self, objective: str | Mapping[str, float]):
        """Take an objective as `terms.parse` does. Raises StudyError if a term is unknown."""
        self.terms = parse(objective)
        self.layers = list(dict.fromkeys(term.layer for term in self.terms if term.layer is not None))
        self.logits = any(term.layer is None for term in self.terms)

    def __call__(self, seen: Seen, targets: torch.Tensor) -> torch.Tensor:
        """Return (B,), for targets (B,)."""
        return sum(term.weight * self._score(term, seen, targets) for term in self.terms)  # type: ignore[return-value]

    @staticmethod
    def _score(term: Term, seen: Seen, targets: torch.Tensor) -> torch.Tensor:
        if term.layer is None:
            return CLASS_SCORES[term.kind](seen.logits, targets)
        return LAYER_SCORES[term.kind](seen.layers[term.layer], term)

"""Objectives: the scores that a dream maximizes, and their syntax in a config.

To add an objective, write one function with `@objective` here and one line in the schema of recipes. A function without
a form scores a class: it takes logits (B, C), integer targets (B,) and the model's head, `SOFTMAX` or `SIGMOID`. A
function with forms scores a layer: it takes an activation (B, ...) and its `Term`, or, with ``photographs=True``, the
layer's `LayerReference`. All return (B,). If the targets of a dream are units of a layer, their activation replaces the
score of a class. This module does not import torch, because configs are checked without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from dreambirds.dreaming.targets import Targets, as_targets, find_position
from dreambirds.errors import UserError, did_you_mean

if TYPE_CHECKING:
    import torch

    from dreambirds.dreaming.matching import LayerReference

LONGEST_NUMBER = 10
SOFTMAX, SIGMOID = "softmax", "sigmoid"  # classes that exclude each other, and independent classes (multi-label)
AUTO = "auto"  # the stem, the stages and the last convolution of a network: `features.auto_layers`


@dataclass(frozen=True)
class Term:
    """One term of an objective.

    `kind` is the name of the score. A layer's score has a `layer`, which is a module's name, a depth such as ``50%``,
    or `AUTO`. It may have a `channel` and a `position` (y, x).
    """

    kind: str
    weight: float = 1.0
    layer: str | None = None
    channel: int | None = None
    position: tuple[int, ...] | None = None


@dataclass
class ModelOutputs:
    """The outputs of a model for a batch of images.

    `logits` are (B, C), or None if the forward pass stopped before them. `layers` are activations by layer.
    `statistics` (B,) are the distances of batch-norm statistics from those of training. `references` are the statistics
    of photographs of each image's class by layer, if an objective compares with them.
    """

    logits: torch.Tensor | None = None
    layers: dict[str, torch.Tensor] = field(default_factory=dict)
    statistics: torch.Tensor | None = None
    references: dict[str, LayerReference] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """A registered objective.

    `forms` are the forms of its arguments, such as ``LAYER:CHANNEL``, and empty for the score of a class. `photographs`
    is set if it compares with photographs of the class.
    """

    function: Callable[..., torch.Tensor]
    forms: tuple[str, ...]
    photographs: bool = False


OBJECTIVES: dict[str, Score] = {}


Function = TypeVar("Function", bound="Callable[..., torch.Tensor]")


def objective(*forms: str, photographs: bool = False) -> Callable[[Function], Function]:
    """Register a function as the objective with the function's name."""

    def register(function: Function) -> Function:
        OBJECTIVES[function.__name__] = Score(function, forms, photographs)
        return function

    return register


@objective()
def logit(logits: torch.Tensor, targets: torch.Tensor, _: str = SOFTMAX) -> torch.Tensor:
    """Return the target's logit, (B,), of logits (B, C) and integer targets (B,)."""
    return logits.gather(1, targets[:, None])[:, 0]


@objective()
def cross_entropy(logits: torch.Tensor, targets: torch.Tensor, head: str = SOFTMAX) -> torch.Tensor:
    """Return minus the cross-entropy: the logarithm of the target's probability.

    With a softmax it also decreases the logits of all other classes. A sigmoid's is written so that its gradient does
    not vanish by rounding where the probability is almost 1.
    """
    if head == SIGMOID:
        return -(-logit(logits, targets)).logaddexp(logits.new_zeros(()))
    return logit(logits.log_softmax(dim=1), targets)


@objective()
def probability(logits: torch.Tensor, targets: torch.Tensor, head: str = SOFTMAX) -> torch.Tensor:
    """Return the target's probability, in [0, 1]."""
    return logit(logits.sigmoid() if head == SIGMOID else logits.softmax(dim=1), targets)


@objective()
def margin(logits: torch.Tensor, targets: torch.Tensor, _: str = SOFTMAX) -> torch.Tensor:
    """Return the target's logit minus the mean of the other logits."""
    target = logit(logits, targets)
    return target - (logits.sum(dim=1) - target) / max(1, logits.shape[1] - 1)


@objective("LAYER")
def layer_mean(activation: torch.Tensor, _: Term) -> torch.Tensor:
    """Return the mean activation, (B, ...) to (B,), as in TensorFlow's tutorial."""
    return activation.flatten(1).mean(dim=1)


@objective("LAYER")
def layer_l2(activation: torch.Tensor, _: Term) -> torch.Tensor:
    """Return half the mean squared activation, as in google/deepdream.

    Its gradient is the activation, divided by the number of activations.
    """
    return activation.flatten(1).square().mean(dim=1) / 2


@objective("LAYER:CHANNEL")
def channel(activation: torch.Tensor, term: Term) -> torch.Tensor:
    """Return the mean activation of one channel.

    The channel axis is axis 1 of (B, C, H, W), and the last axis of (B, tokens, C).
    """
    selected = _channel(activation, term)
    return selected.reshape(len(selected), -1).mean(dim=1)


@objective("LAYER:CHANNEL", "LAYER:CHANNEL:Y:X")
def neuron(activation: torch.Tensor, term: Term) -> torch.Tensor:
    """Return a channel's activation at a position, by default the middle (Lucid)."""
    selected = _channel(activation, term)
    index: tuple[slice | int, ...] = (slice(None), *find_position(term.layer, term.position, tuple(selected.shape[1:])))
    return selected[index]


@objective("", "LAYER", photographs=True)
def feature_match(activation: torch.Tensor, reference: LayerReference) -> torch.Tensor:
    """Return minus the distance of activations from those of photographs of the class.

    The distance is that of VITAL, Görgün et al. 2025 (see `matching`). Without a layer, the layers of `AUTO` are
    matched.
    """
    return -reference.distance(activation)


def _channel(activation: torch.Tensor, term: Term) -> torch.Tensor:
    axis = 1 if activation.ndim == 4 else -1
    if term.channel is None or term.channel >= activation.shape[axis]:
        highest = activation.shape[axis] - 1
        raise UserError(f"the layer '{term.layer}' has no channel {term.channel}; choose 0 to {highest}", "objective")
    return activation.select(axis, term.channel)


def parse(objective: str | Mapping[str, float]) -> tuple[Term, ...]:
    """Return the terms of an objective in a config.

    A term is a name in `OBJECTIVES`, followed by its arguments in one of its forms, such as ``channel:LAYER:CHANNEL``.
    `objective` is one term, or a mapping from terms to weights. Raises UserError if a term is unknown or malformed.
    """
    weights = objective if isinstance(objective, Mapping) else {objective: 1.0}
    return tuple(_term(text, weight) for text, weight in weights.items())


def layers(objective: str | Mapping[str, float]) -> list[str]:
    """Return the names of the layers in an objective."""
    return [term.layer for term in parse(objective) if term.layer is not None]


def needs_photographs(objective: str | Mapping[str, float]) -> bool:
    """Return whether an objective compares with photographs of the class."""
    return any(OBJECTIVES[term.kind].photographs for term in parse(objective))


def _term(text: str, weight: float) -> Term:
    kind, *rest = str(text).split(":")
    forms = OBJECTIVES[kind].forms if kind in OBJECTIVES else ()
    if kind in OBJECTIVES and not forms and not rest:
        return Term(kind, weight)
    if not forms and kind in OBJECTIVES:
        raise UserError(f"the objective '{kind}' takes no layer; remove ':{':'.join(rest)}'")
    if not forms:
        raise UserError(f"unknown objective '{text}'; {did_you_mean(kind, OBJECTIVES)}")
    if not rest and "" in forms:
        return Term(kind, weight, AUTO)
    numbers = rest[1:]
    valid = all(number.isdecimal() and len(number) < LONGEST_NUMBER for number in numbers)
    if len(rest) not in [len(form.split(":")) for form in forms] or not rest[0] or not valid:
        allowed = " or ".join(f"{kind}:{form}" if form else kind for form in forms)
        raise UserError(f"the objective '{text}' must have the form {allowed}")
    integers = [int(number) for number in numbers]
    return Term(kind, weight, rest[0], integers[0] if integers else None, tuple(integers[1:]) or None)


def scores_target(objective: str | Mapping[str, float]) -> bool:
    """Return whether an objective scores the target of a dream: a class, or units of a layer in its place."""
    return any(term.layer is None for term in parse(objective))


class Objective:
    """A weighted sum of scores.

    `layers` are the names of the modules that it scores, and `matched` those of them that are compared with
    photographs. `logits` is set if it needs logits.
    """

    def __init__(
        self,
        objective: str | Mapping[str, float],
        auto: Sequence[str] = (),
        head: str = SOFTMAX,
        target_layer: str | None = None,
    ):
        """Take an objective as in `parse`, the layers that `AUTO` stands for, the model's head, and the targets' layer.

        The `target_layer` is None if the targets are classes. Raises UserError if a term is unknown or malformed.
        """
        terms = [(term, auto if term.layer == AUTO else [term.layer]) for term in parse(objective)]
        self.head = head
        self.terms = [replace(term, layer=layer) for term, each in terms for layer in each]
        scored = [target_layer if term.layer is None else term.layer for term in self.terms]
        self.layers = list(dict.fromkeys(layer for layer in scored if layer is not None))
        self.matched = {
            term.layer for term in self.terms if term.layer is not None and OBJECTIVES[term.kind].photographs
        }
        self.logits = None in scored

    def __call__(self, outputs: ModelOutputs, targets: torch.Tensor | Targets) -> torch.Tensor:
        """Return the score of each image, (B,), for the indices of classes (B,), or other targets."""
        known = as_targets(targets)
        return sum(term.weight * self._score(term, outputs, known) for term in self.terms)  # type: ignore[return-value]

    def _score(self, term: Term, outputs: ModelOutputs, targets: Targets) -> torch.Tensor:
        score = OBJECTIVES[term.kind]
        if term.layer is not None:
            return score.function(
                outputs.layers[term.layer], outputs.references[term.layer] if score.photographs else term
            )
        if targets.layer is not None:
            return targets.score(outputs.layers[targets.layer])
        return targets.sum_of(lambda classes: score.function(outputs.logits, classes, self.head))

"""Objectives: what a dream maximizes, and how a config writes it.

A new objective is one function with `@objective` here and a line in the schema of recipes. A function without a form
scores a class: it takes logits (B, C) and targets (B,), integers. One with forms scores a layer: it takes an activation
(B, ...) and its `Term`, or, with ``photographs=True``, what the layer makes of photographs of the class. All return
(B,). Imports no torch, since configs are checked without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from dreambirds.errors import UserError, did_you_mean

if TYPE_CHECKING:
    import torch

    from dreambirds.dreaming.matching import LayerReference

LONGEST_NUMBER = 10
AUTO = "auto"  # the stem, the stages and the last convolution of a network


@dataclass(frozen=True)
class Term:
    """One score, its weight, and for a layer's score the module's name (or depth, `50%`; or `auto`, which stands for
    several), channel and place (y, x)."""

    kind: str
    weight: float = 1.0
    layer: str | None = None
    channel: int | None = None
    place: tuple[int, ...] | None = None


@dataclass
class ModelOutputs:
    """What a model saw in images: logits (B, C), or None if it was stopped before; activations by layer;
    how far each image's statistics in the batch norms lie from those that the model was trained on, (B,); and, by
    layer, what it makes of photographs of each image's class, where an objective compares with those."""

    logits: torch.Tensor | None = None
    layers: dict[str, torch.Tensor] = field(default_factory=dict)
    statistics: torch.Tensor | None = None
    references: dict[str, LayerReference] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """A registered objective: its function, the forms in which its arguments are written, such as ``LAYER:CHANNEL``;
    none for the score of a class; and whether it compares with photographs of the class."""

    function: Callable[..., torch.Tensor]
    forms: tuple[str, ...]
    photographs: bool = False


OBJECTIVES: dict[str, Score] = {}


Function = TypeVar("Function", bound="Callable[..., torch.Tensor]")


def objective(*forms: str, photographs: bool = False) -> Callable[[Function], Function]:
    """Register a function as the objective of its name."""

    def register(function: Function) -> Function:
        OBJECTIVES[function.__name__] = Score(function, forms, photographs)
        return function

    return register


@objective()
def logit(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the target's logit. Shapes: logits (B, C), targets (B,) integer, result (B,)."""
    return logits.gather(1, targets[:, None])[:, 0]


@objective()
def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return minus the cross-entropy, the target's log probability, which also pushes every other class down."""
    return logit(logits.log_softmax(dim=1), targets)


@objective()
def probability(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the target's softmax probability, in [0, 1]."""
    return logit(logits.softmax(dim=1), targets)


@objective()
def margin(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the target's logit minus the mean of the others."""
    own = logit(logits, targets)
    return own - (logits.sum(dim=1) - own) / max(1, logits.shape[1] - 1)


@objective("LAYER")
def layer_mean(activation: torch.Tensor, _: Term) -> torch.Tensor:
    """Return the mean activation of each image, as TensorFlow's tutorial has it. Shapes: (B, ...) to (B,)."""
    return activation.flatten(1).mean(dim=1)


@objective("LAYER")
def layer_l2(activation: torch.Tensor, _: Term) -> torch.Tensor:
    """Return half the mean square: its gradient is the activation itself (google/deepdream), but for the count."""
    return activation.flatten(1).square().mean(dim=1) / 2


@objective("LAYER:CHANNEL")
def channel(activation: torch.Tensor, term: Term) -> torch.Tensor:
    """Return the mean activation of one channel; channels are axis 1 of (B, C, H, W), the last of (B, tokens, C)."""
    chosen = _channel(activation, term)
    return chosen.reshape(len(chosen), -1).mean(dim=1)


@objective("LAYER:CHANNEL", "LAYER:CHANNEL:Y:X")
def neuron(activation: torch.Tensor, term: Term) -> torch.Tensor:
    """Return one channel's activation at one place, by default the middle, as Lucid has it."""
    chosen = _channel(activation, term)
    sides = chosen.shape[1:]
    place = term.place or tuple(side // 2 for side in sides)
    if len(place) != len(sides) or any(at >= side for at, side in zip(place, sides, strict=True)):
        raise UserError(f"objective: the layer '{term.layer}' has {tuple(sides)} places, there is no {place}")
    index: tuple[slice | int, ...] = (slice(None), *place)
    return chosen[index]


@objective("", "LAYER", photographs=True)
def feature_match(activation: torch.Tensor, reference: LayerReference) -> torch.Tensor:
    """Return minus the distance of a layer's activations from those of photographs of the class: VITAL, Görgün et al.
    2025 (see `matching`). Without a layer, those of `AUTO` are compared."""
    return -reference.distance(activation)


def _channel(activation: torch.Tensor, term: Term) -> torch.Tensor:
    axis = 1 if activation.ndim == 4 else -1
    if term.channel is None or term.channel >= activation.shape[axis]:
        highest = activation.shape[axis] - 1
        raise UserError(f"objective: '{term.layer}' has channels 0 to {highest}, there is no {term.channel}")
    return activation.select(axis, term.channel)


def parse(objective: str | Mapping[str, float]) -> tuple[Term, ...]:
    """Return the terms of an objective as a config writes it: the name of one in `OBJECTIVES`, followed by its
    arguments in one of its forms (``channel:LAYER:CHANNEL``), or weights by term.

    Raises UserError if a term is not among them.
    """
    weights = objective if isinstance(objective, Mapping) else {objective: 1.0}
    return tuple(_term(text, weight) for text, weight in weights.items())


def layers(objective: str | Mapping[str, float]) -> list[str]:
    """Return the layers that an objective looks at."""
    return [term.layer for term in parse(objective) if term.layer is not None]


def needs_photographs(objective: str | Mapping[str, float]) -> bool:
    """Tell whether an objective compares with photographs of the class."""
    return any(OBJECTIVES[term.kind].photographs for term in parse(objective))


def _term(text: str, weight: float) -> Term:
    kind, *rest = str(text).split(":")
    forms = OBJECTIVES[kind].forms if kind in OBJECTIVES else ()
    if kind in OBJECTIVES and not forms and not rest:
        return Term(kind, weight)
    if not forms:
        more = f"'{kind}' takes no layer" if kind in OBJECTIVES else did_you_mean(kind, OBJECTIVES)
        raise UserError(f"unknown objective '{text}'; {more}")
    if not rest and "" in forms:
        return Term(kind, weight, AUTO)
    numbers = rest[1:]
    counts = all(number.isdecimal() and len(number) < LONGEST_NUMBER for number in numbers)
    if len(rest) not in [len(form.split(":")) for form in forms] or not rest[0] or not counts:
        written = " or ".join(f"{kind}:{form}" if form else kind for form in forms)
        raise UserError(f"the objective '{text}' must be written {written}")
    whole = [int(number) for number in numbers]
    return Term(kind, weight, rest[0], whole[0] if whole else None, tuple(whole[1:]) or None)


class Objective:
    """A weighted sum of scores. `layers` names the modules that it looks at, and `matched` those of them that are
    compared with photographs; `logits` tells whether it needs those."""

    def __init__(self, objective: str | Mapping[str, float], auto: Sequence[str] = ()):
        """Take an objective as `parse` does, and the layers that `AUTO` stands for. Raises UserError if a term is
        unknown."""
        terms = [(term, auto if term.layer == AUTO else [term.layer]) for term in parse(objective)]
        self.terms = [replace(term, layer=layer) for term, each in terms for layer in each]
        self.layers = list(dict.fromkeys(term.layer for term in self.terms if term.layer is not None))
        self.matched = {
            term.layer for term in self.terms if term.layer is not None and OBJECTIVES[term.kind].photographs
        }
        self.logits = any(term.layer is None for term in self.terms)

    def __call__(self, seen: ModelOutputs, targets: torch.Tensor) -> torch.Tensor:
        """Return (B,), for targets (B,)."""
        return sum(term.weight * self._score(term, seen, targets) for term in self.terms)  # type: ignore[return-value]

    @staticmethod
    def _score(term: Term, seen: ModelOutputs, targets: torch.Tensor) -> torch.Tensor:
        score = OBJECTIVES[term.kind]
        if term.layer is None:
            return score.function(seen.logits, targets)
        return score.function(seen.layers[term.layer], seen.references[term.layer] if score.photographs else term)

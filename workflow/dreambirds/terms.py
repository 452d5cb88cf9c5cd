"""What an objective is made of, as it is written in a config: terms and their weights. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass

from dreambirds.errors import StudyError, nearest

CLASS_TERMS = ("logit", "cross_entropy", "probability", "margin")
LAYER_TERMS = {"layer_mean": (1, 1), "layer_l2": (1, 1), "channel": (2, 2), "neuron": (2, 4)}

LONGEST_NUMBER = 10


@dataclass(frozen=True)
class Term:
    """One score, its weight, and for a layer's score the module's name (or depth, `50%`), channel and place (y, x)."""

    kind: str
    weight: float = 1.0
    layer: str | None = None
    channel: int | None = None
    place: tuple[int, ...] | None = None


def parse(objective: str | Mapping[str, float]) -> tuple[Term, ...]:
    """Return the terms of an objective: one of `logit`, `cross_entropy`, `probability`, `margin`,
    `layer_mean:LAYER`, `layer_l2:LAYER`, `channel:LAYER:CHANNEL`, `neuron:LAYER:CHANNEL[:Y:X]`, or weights by term.

    Raises StudyError if a term is not among them.
    """
    weights = objective if isinstance(objective, Mapping) else {objective: 1.0}
    return tuple(_term(text, weight) for text, weight in weights.items())


def layers(objective: str | Mapping[str, float]) -> list[str]:
    """Return the layers that an objective looks at."""
    return [term.layer for term in parse(objective) if term.layer is not None]


def _term(text: str, weight: float) -> Term:
    kind, *rest = str(text).split(":")
    if kind in CLASS_TERMS and not rest:
        return Term(kind, weight)
    if kind not in LAYER_TERMS:
        more = f"'{kind}' takes no layer" if kind in CLASS_TERMS else nearest(kind, [*CLASS_TERMS, *LAYER_TERMS])
        raise StudyError(f"unknown objective '{text}'; {more}")
    least, most = LAYER_TERMS[kind]
    numbers = rest[1:]
    counts = all(number.isdecimal() and len(number) < LONGEST_NUMBER for number in numbers)
    if not least <= len(rest) <= most or len(rest) == 3 or not rest[0] or not counts:
        raise StudyError(f"the objective '{text}' must be written {_FORMS[kind]}")
    whole = [int(number) for number in numbers]
    return Term(kind, weight, rest[0], whole[0] if whole else None, tuple(whole[1:]) or None)


_FORMS = {
    "layer_mean": "layer_mean:LAYER",
    "layer_l2": "layer_l2:LAYER",
    "channel": "channel:LAYER:CHANNEL",
    "neuron": "neuron:LAYER:CHANNEL or neuron:LAYER:CHANNEL:Y:X",
}

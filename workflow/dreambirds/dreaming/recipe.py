"""A recipe: every parameter that decides a dream but for the model, the classes and the start images."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dreambirds.dreaming.schedule import Value


@dataclass(frozen=True)
class Recipe:
    """How to dream. The defaults are neutral: plain ascent on the pixels, nothing blurred, moved or held back.

    `steps` are the moments to keep, ascending; `step_size` is in units of the parameters of the `image` (for pixels, of
    their range) after the gradient's normalisation; lengths are in pixels, `rotate` in degrees, `scale` a factor,
    `crop_size` a share of both sides, `crop_view` the shorter side of a crop's view, `flip` a probability a step;
    `noise` and the penalties are in units of the range. config/README.md explains each.
    """

    objective: str | Mapping[str, float] = "logit"
    total_variation: float = 0.0
    l2: float = 0.0
    batch_norm_prior: float = 0.0
    image: str = "pixels"
    steps: tuple[int, ...] = (200,)
    stop_confidence: float | None = None
    stop_plateau: int | None = None
    optimizer: str = "ascent"
    step_size: Value = 0.05
    momentum: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0
    gradient_normalisation: str = "none"
    gradient_clip: float | None = None
    gradient_blur_sigma: Value = 0.0
    blur_sigma: Value = 0.0
    jitter: int = 0
    roll: int = 0
    flip: float = 0.0
    pad: int = 0
    scale: Value = 1.0
    scale_width: Value | None = None
    rotate: Value = 0.0
    crops: int = 0
    crop_size: Value = 0.25
    crop_view: int | None = None
    noise: float = 0.0
    octaves: int = 1
    octave_scale: float = 1.4
    octave_steps: int = 10
    octave_manner: str = "resize"
    zoom: float = 1.0
    zoom_every: int = 10
    tile: int | None = None


WIDTHS, COUNTS = ("blur_sigma", "gradient_blur_sigma"), ("jitter", "roll", "pad")


def scaled(recipe: Recipe, factor: float) -> Recipe:
    """Return the recipe with all its lengths in pixels multiplied, for pictures so much larger."""
    widths: dict[str, Any] = {key: _times(getattr(recipe, key), factor) for key in WIDTHS}
    return replace(recipe, **widths, **{key: round(getattr(recipe, key) * factor) for key in COUNTS})


def _times(value: Value, factor: float) -> Value:
    if not isinstance(value, Mapping):
        return value * factor
    if "random" in value:
        return {"random": [end * factor for end in value["random"]]}
    return {**value, "from": value["from"] * factor, "to": value["to"] * factor}

"""Recipes: the parameters of a dream, and schedules over its steps."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Value = float | int | Mapping[str, Any]
ROUNDING = 1e-9
WIDTHS, COUNTS = ("blur_sigma", "gradient_blur_sigma"), ("jitter", "roll", "pad")


def value_at(value: Value, step: int, rng: "torch.Generator | None" = None) -> float:
    """Return a scheduled value at one step.

    `value` is a number (constant), ``{"random": [low, high]}`` (uniform, drawn from `rng` at each step), or ``{"from":
    a, "to": b, "over": n}``: from a to b over the first n steps, and b afterwards, linearly or, with ``"shape":
    "cosine"``, along half a cosine wave. A schedule does not depend on the last step of the dream, so the steps of a
    shorter dream are those of a longer one.
    """
    if not isinstance(value, Mapping):
        return float(value)
    if "random" in value:
        import torch  # here, because configs are read without torch

        low, high = value["random"]
        random: float = low + (high - low) * torch.rand((), generator=rng).item()
        return random
    progress = min(1.0, step / value["over"])
    if value.get("shape") == "cosine":
        progress = (1 - math.cos(math.pi * progress)) / 2
    current: float = value["from"] + (value["to"] - value["from"]) * progress
    return current


def last_value(value: Value) -> float:
    """Return the final value of a number or a schedule that is not random."""
    final: float = value["to"] if isinstance(value, Mapping) else value
    return final


def is_always(value: Value, constant: float) -> bool:
    """Return whether a value is this constant at every step."""
    return not isinstance(value, Mapping) and value == constant


@dataclass(frozen=True)
class Recipe:
    """The parameters of a dream.

    The defaults are neutral: plain gradient ascent on pixels, without blur, transforms or regularizers. `steps` are the
    steps to keep, ascending. `step_size` is in units of the parameters of the `parameterization` (for pixels, of their
    range) after normalization of the gradient. Lengths are in pixels and `rotate` in degrees; `scale` is a factor.
    `crop_size` is a fraction of both sides, `crop_area` a fraction of the area, and `crop_output_size` the shorter side
    of the view of a crop. `flip` is a probability per step, and `whole_views` a fraction of the first `whole_steps`
    steps (None: of all). `noise` and the penalties are in units of the pixel range. With `variants` above 1, so many
    images are made of each target, and `diversity` penalizes the similarity of their activations in `diversity_layer`.
    config/README.md explains each parameter.
    """

    objective: str | Mapping[str, float] = "logit"
    tv_weight: float = 0.0
    l2_weight: float = 0.0
    batch_norm_prior: float = 0.0
    batch_norm_distance: str = "absolute"
    match_statistics: str = "sorted"
    match_regions: str = "whole"
    match_crop_regions: str | None = None
    match_stride: int = 1
    match_photographs: int = 48
    match_class: str = "own"
    match_views: int = 4
    parameterization: str = "pixels"
    pyramid_steps: int = 0
    pyramid_decay: float = 1.0
    steps: tuple[int, ...] = (200,)
    stop_confidence: float | None = None
    stop_plateau: int | None = None
    optimizer: str = "ascent"
    step_size: Value = 0.05
    momentum: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0
    gradient_normalization: str = "none"
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
    crop_area: Value | None = None
    crop_ratio: float = 4 / 3
    whole_views: float = 0.0
    whole_steps: int | None = None
    crop_output_size: int | None = None
    noise: float = 0.0
    octaves: int = 1
    octave_scale: float = 1.4
    octave_steps: int = 10
    octave_mode: str = "resize"
    zoom: float = 1.0
    zoom_every: int = 10
    tile: int | None = None
    variants: int = 1
    diversity: float = 30.0
    diversity_layer: str = "50%"

    @property
    def diverse(self) -> bool:
        """Whether the variants of a target are made different by the term for their diversity."""
        return self.variants > 1 and self.diversity > 0


@dataclass(frozen=True)
class Start:
    """The start images of dreams.

    `kind` is one of `starts.KINDS`; `color` is ``#rrggbb``; `noise` is a standard deviation in [0, 1]; `blur_sigma` is
    in pixels of the start image. `images` contains one image (3, H, W) in [0, 1] per dream, for the kinds that need it.
    """

    kind: str = "gray"
    color: str = "#808080"
    noise: float = 0.1
    blur_sigma: float = 0.0
    images: "list[torch.Tensor]" = field(default_factory=list)


def uses_full_images(recipe: Recipe, step: int) -> bool:
    """Return whether the views of a step are full images, not random resized crops.

    Of the first `whole_steps` steps (None: of all), a fraction `whole_views` use full images, at equal intervals, and
    the same steps for every image.
    """
    return full_image_steps(recipe, step + 1) > full_image_steps(recipe, step)


def full_image_steps(recipe: Recipe, steps: int) -> int:
    """Return how many of the first `steps` steps use full images."""
    if recipe.crop_area is None:
        return steps
    mixed = steps if recipe.whole_steps is None else min(steps, recipe.whole_steps)
    return math.floor(mixed * recipe.whole_views + ROUNDING)


def turn_of(recipe: Recipe, step: int) -> int:
    """Return how many earlier steps use the same type of view, full images or crops.

    So whatever alternates with it, such as the networks of a committee, does so in both types of views.
    """
    full_steps = full_image_steps(recipe, step)
    return full_steps if uses_full_images(recipe, step) else step - full_steps


def scaled(recipe: Recipe, factor: float) -> Recipe:
    """Return the recipe with all lengths in pixels multiplied by `factor`."""
    widths: dict[str, Any] = {key: _times(getattr(recipe, key), factor) for key in WIDTHS}
    return replace(recipe, **widths, **{key: round(getattr(recipe, key) * factor) for key in COUNTS})


def _times(value: Value, factor: float) -> Value:
    if not isinstance(value, Mapping):
        return value * factor
    if "random" in value:
        return {"random": [end * factor for end in value["random"]]}
    return {**value, "from": value["from"] * factor, "to": value["to"] * factor}


def as_recipe(parameters: Mapping[str, Any], side: int, trained_side: int | None = None) -> Recipe:
    """Return the recipe for a config's parameters and images of `side` pixels.

    `side` is the shorter side of the images: if the parameters have a ``reference_size``, lengths in pixels are scaled
    to `side`. The views of random resized crops have the size `trained_side` that the network was trained at, unless
    the parameters set another.
    """
    values = {key.name: parameters[key.name] for key in fields(Recipe)}
    if values["crop_area"] is not None and values["crop_output_size"] is None:
        values["crop_output_size"] = trained_side
    recipe = Recipe(**{**values, "steps": tuple(parameters["steps"])})
    return recipe if parameters["reference_size"] is None else scaled(recipe, side / parameters["reference_size"])

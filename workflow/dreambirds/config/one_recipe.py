"""The recipe of one image: a preset with changes, scaled to a number of steps."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from dreambirds.config.dreamers import RESTRICTIONS, parameter_names
from dreambirds.config.load import Section, check, dreamer_defaults, load_schema
from dreambirds.config.recipes import check_point, preset
from dreambirds.dreaming.objectives import needs_photographs, scores_target
from dreambirds.dreaming.recipe import Recipe
from dreambirds.errors import UserError, did_you_mean, in_yaml

WHERE = "recipe"  # begins the path of a key in errors
DREAM = "dream"  # the kind of start image that is another dream of a study
COUNTS = ("octave_steps", "pyramid_steps", "whole_steps")  # keys with a number of steps
OF_STUDIES = ("film_every", *RESTRICTIONS)  # keys without a meaning for one image


def scale_steps(parameters: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Return the parameters of a dream with another number of steps.

    The last step, the steps of an octave, the steps over which the levels of a pyramid are released, and the steps
    ``over`` which a scheduled value changes are all multiplied by `factor`, so the dream has the same phases. They are
    rounded, to at least 1 if they were not 0. Only the last step is kept. Other parameters, such as step sizes, do not
    change.
    """

    def scale(steps: int | None) -> int | None:
        return max(1, round(steps * factor)) if steps else steps

    def scale_value(value: Any) -> Any:
        return {**value, "over": scale(value["over"])} if isinstance(value, Mapping) and "over" in value else value

    scaled = {key: scale_value(value) for key, value in parameters.items()}
    counts = {key: scale(parameters[key]) for key in COUNTS}
    return {**scaled, **counts, "steps": [scale(parameters["steps"][-1])]}


def targets_class(objective: str | Mapping[str, float]) -> bool:
    """Return whether an objective scores a class, or compares with photographs of the class."""
    return needs_photographs(objective) or scores_target(objective)


def default_preset(objective: str | None, batch_norms: bool = True) -> str:
    """Return the preset of an image for which none is chosen, of a class or of an `objective` that scores layers.

    ``portrait-free`` needs a network with `batch_norms`. The step size of ``bird`` does not depend on the scale of the
    score, which is that of the layer's activations.
    """
    return "portrait-free" if objective is None and batch_norms else "bird"


def image_parameters(
    preset: str | Recipe,
    settings: Section,
    steps: int | None = None,
    objective: str | None = None,
    start: str | None = None,
    **options: object,
) -> Section:
    """Return the complete parameters of one image, in the order of the schema.

    `preset` is a name, or a `Recipe` with all parameters of the dream. `settings` and the `options` that are not None
    are keys of a recipe, and `start` is that of `start_of`. Raises UserError as `one_recipe` does, or if a key is given
    twice.
    """
    given = {key: value for key, value in options.items() if value is not None}
    given |= start_of(start) if start is not None else {}
    for key in given.keys() & settings.keys():
        raise UserError(f"{WHERE}.{key}: is given twice; remove one of the two")
    if not isinstance(preset, Recipe):
        return one_recipe(preset, {**settings, **given}, steps, objective)
    for key, value in (("steps", steps), ("objective", objective)):
        if value is not None:
            raise UserError("is in the recipe; set it there", key)
    return as_parameters(preset, {**settings, **given})


def one_recipe(name: str, changes: Section, steps: int | None = None, objective: str | None = None) -> Section:
    """Return the complete parameters of one image, in the order of the schema.

    `name` is a preset, which is scaled to `steps`, the last step, by `scale_steps`. `changes` replace keys of the
    scaled preset. An `objective` that scores layers replaces the preset's, with the keys for its photographs. Raises
    UserError as for a recipe of a config, and for keys and lists that only a study can have.
    """
    _check_changes(changes, steps, objective)
    point = {"preset": name, **preset(name).recipe}
    check(point, "recipe", WHERE)
    last = point["steps"][-1]
    point = scale_steps(point, (steps or last) / last)
    if objective is not None:
        neutral = {key: value for key, value in dreamer_defaults().items() if key.startswith("match_")}
        point |= {**neutral, "objective": objective}
    return _completed({**point, **changes})


def as_parameters(recipe: Recipe, changes: Section) -> Section:
    """Return the complete parameters of a `Recipe` with `changes`, in the order of the schema.

    Only the last step is kept. Raises UserError as `one_recipe` does.
    """
    _check_changes(changes, None, None)
    point = {**asdict(recipe), "steps": [max(recipe.steps)], "reference_size": None, **changes}
    return _completed(point)


def _completed(point: Section) -> Section:
    """Return a recipe with the schema's defaults, in its order. Raises UserError if a value is wrong."""
    check(point, "recipe", WHERE)
    check_point(point, WHERE)
    return {key: point[key] for key in parameter_names()}


def recorded_parameters(parameters: Section, step: int) -> Section:
    """Return the parameters that an image records, complete, with its step as the last one.

    Keys that its version of the project did not have get their defaults. Raises UserError if a key is unknown or wrong.
    """
    point = {**parameters, "steps": [step], "film_every": None}
    check(point, "recipe", WHERE)
    return {key: point[key] for key in parameter_names()}


def _check_changes(changes: Section, steps: int | None, objective: str | None) -> None:
    """Raise UserError for changes that are unknown, that one image cannot have, or that are given twice."""
    if changes.get("start") == DREAM:
        raise UserError(f"{WHERE}.start: '{DREAM}' is only used in a study; use `--start IMAGE.png`")
    for key, value in changes.items():
        if key not in load_schema("recipe")["properties"]:
            check({key: value}, "recipe", WHERE)
        if key == "preset":
            raise UserError(f"{WHERE}.preset: is chosen by the option `--preset`; use that")
        if key == "committee":
            raise UserError(f"{WHERE}.committee: names runs of a study; pass the other network with `--committee`")
        if key in OF_STUDIES:
            raise UserError(f"{WHERE}.{key}: is only used in a study; remove it")
        if isinstance(value, list) and key != "steps":
            raise UserError(f"{WHERE}.{key}: must be one value, because one image is made, not {in_yaml(value)}")
    if isinstance(changes.get("steps"), int):
        changes["steps"] = [changes["steps"]]
    if "steps" in changes and (steps or len(changes["steps"]) != 1):
        raise UserError(f"{WHERE}.steps: must be one step, the last, and given once; use `--steps N`")
    if steps is not None and steps < 1:
        raise UserError(f"must be at least 1, not {steps}; pass another number", "steps")
    if objective is not None and "objective" in changes:
        raise UserError(f"{WHERE}.objective: a layer is the objective already; remove one of them")
    if objective is not None and changes.get("stop_confidence") is not None:
        raise UserError(f"{WHERE}.stop_confidence: is only used with a class, not with a layer; remove it")


def layer_objective(layer: str, channel: int | None = None, neuron: str | None = None) -> str:
    """Return the objective of a layer, of one of its channels, or of a neuron ``CHANNEL``, or ``CHANNEL:Y:X``.

    Without a channel and a neuron, the layer's mean activation is maximized.
    """
    if channel is not None and neuron is not None:
        raise UserError("cannot be combined with a channel; remove one of them", "neuron")
    if channel is not None and channel < 0:
        raise UserError(f"must be at least 0, not {channel}; pass another number", "channel")
    if neuron is not None and [part.isdecimal() for part in neuron.split(":")] not in ([True], [True] * 3):
        raise UserError(f"must have the form CHANNEL or CHANNEL:Y:X, not '{neuron}'", "neuron")
    if channel is not None:
        return f"channel:{layer}:{channel}"
    return f"layer_mean:{layer}" if neuron is None else f"neuron:{layer}:{neuron}"


def start_of(given: str) -> Section:
    """Return the keys of a recipe for a start: the name of a kind of start image, or the path of a photograph.

    Raises UserError if it is neither.
    """
    kinds = load_schema("recipe")["properties"]["start"]["enum"]
    if given in kinds:
        return {"start": given}
    if "." in given or "/" in given:
        return {"start": "photograph", "start_path": given}
    others = [kind for kind in kinds if kind != DREAM]
    raise UserError(f"unknown start '{given}'; {did_you_mean(given, others)}, or the path of a photograph", "start")

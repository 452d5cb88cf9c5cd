"""Scale presets to equal work: the same number of passes through the network per dream.

A pass is one forward and one backward pass of one image. A step takes one pass, or as many as it has `crops`. Steps of
smaller octaves count as much as those of the full size.
"""

from collections.abc import Mapping
from typing import Any

from benchmarks.passes import count_dreaming
from dreambirds.config.recipes import expand_grid, load_presets
from dreambirds.dreaming.objectives import needs_photographs, parse
from dreambirds.dreaming.recipe import as_recipe

COUNTS = ("octave_steps", "pyramid_steps", "whole_steps")  # keys with a number of steps


def class_presets() -> dict[str, dict[str, Any]]:
    """Return the complete parameters of each preset that has a class as its target, by name.

    These are the presets whose objective scores a class or compares with photographs of the class.
    """
    presets = {name: expand_grid(name, {"preset": name})[name] for name in load_presets()}
    return {name: each for name, each in presets.items() if targets_class(each["objective"])}


def targets_class(objective: str | Mapping[str, float]) -> bool:
    """Return whether an objective scores a class, or compares with photographs of the class."""
    return needs_photographs(objective) or any(term.layer is None for term in parse(objective))


def count_passes(parameters: Mapping[str, Any], shape: tuple[int, int], trained: tuple[int, int]) -> int:
    """Return the passes of a dream of (height, width) up to its last step.

    `trained` is the (height, width) that the network was trained at.
    """
    return sum(count_dreaming(as_recipe(parameters, min(shape), min(trained)), shape).values())


def scale_to_passes(
    parameters: Mapping[str, Any], passes: int, shape: tuple[int, int], trained: tuple[int, int]
) -> dict[str, Any]:
    """Return the parameters of a dream of (height, width) with about `passes` passes.

    The last step, the steps of an octave, the steps over which the levels of a pyramid are released, and the steps
    ``over`` which a scheduled value changes are all multiplied by the same factor, so the dream has the same phases.
    They are rounded, to at least 1 if they were not 0. Only the last step is kept. Other parameters, such as step
    sizes, do not change. `trained` is the (height, width) that the network was trained at.
    """
    factor = passes / count_passes(parameters, shape, trained)

    def scale(steps: int | None) -> int | None:
        return max(1, round(steps * factor)) if steps else steps

    def scale_value(value: Any) -> Any:
        return {**value, "over": scale(value["over"])} if isinstance(value, Mapping) and "over" in value else value

    scaled = {key: scale_value(value) for key, value in parameters.items()}
    counts = {key: scale(parameters[key]) for key in COUNTS}
    return {**scaled, **counts, "steps": [scale(parameters["steps"][-1])]}

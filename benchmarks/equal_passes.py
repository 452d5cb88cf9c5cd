"""Scale presets to equal work: the same number of passes through the network per dream.

A pass is one forward and one backward pass of one image. A step takes one pass, or as many as it has `crops`. Steps of
smaller octaves count as much as those of the full size.
"""

from collections.abc import Mapping
from typing import Any

from benchmarks.passes import count_dreaming
from dreambirds.config.one_recipe import scale_steps, targets_class
from dreambirds.config.recipes import expand_grid, load_presets
from dreambirds.dreaming.recipe import as_recipe


def class_presets() -> dict[str, dict[str, Any]]:
    """Return the complete parameters of each preset that has a class as its target, by name.

    These are the presets whose objective scores a class or compares with photographs of the class.
    """
    presets = {name: expand_grid(name, {"preset": name})[name] for name in load_presets()}
    return {name: each for name, each in presets.items() if targets_class(each["objective"])}


def count_passes(parameters: Mapping[str, Any], shape: tuple[int, int], trained: tuple[int, int]) -> int:
    """Return the passes of a dream of (height, width) up to its last step.

    `trained` is the (height, width) that the network was trained at.
    """
    return sum(count_dreaming(as_recipe(parameters, min(shape), min(trained)), shape).values())


def scale_to_passes(
    parameters: Mapping[str, Any], passes: int, shape: tuple[int, int], trained: tuple[int, int]
) -> dict[str, Any]:
    """Return the parameters of a dream of (height, width) with about `passes` passes.

    Its steps are scaled by `scale_steps`. `trained` is the (height, width) that the network was trained at.
    """
    return scale_steps(parameters, passes / count_passes(parameters, shape, trained))

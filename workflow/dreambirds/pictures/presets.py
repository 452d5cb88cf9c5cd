"""The presets as the dreamer takes them, for a Python prompt."""

from dreambirds.dreaming.recipe import Recipe
from dreambirds.pictures.ready import as_recipe
from dreambirds.study.presets import load_presets
from dreambirds.study.recipes import spread


def list_presets(side: int = 64) -> dict[str, Recipe]:
    """Return the recipes of all presets by name, for images whose shorter side has `side` pixels.

    A recipe has no start, seed or size: pass start images and random streams to `dream`.
    """
    recipes = {}
    for name in load_presets():
        (parameters,) = spread(name, {"preset": name}).values()
        recipes[name] = as_recipe(parameters, side)
    return recipes

"""Dreaming of Birds: what has a classifier learnt, and when?

``from dreambirds import dream, Recipe, load_checkpoint, list_presets`` is all that a Python prompt needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dreambirds.config.recipes import list_presets
    from dreambirds.dreaming.dream import dream
    from dreambirds.dreaming.recipe import Recipe
    from dreambirds.models.checkpoint import load_checkpoint

__version__ = "0.1.0"
__all__ = ["Recipe", "dream", "list_presets", "load_checkpoint"]
_HOMES = {
    "dream": "dreambirds.dreaming.dream",
    "Recipe": "dreambirds.dreaming.recipe",
    "load_checkpoint": "dreambirds.models.checkpoint",
    "list_presets": "dreambirds.config.recipes",
}


def __getattr__(name: str) -> object:
    """Return a public name from the module that defines it, which imports torch only then."""
    if name not in _HOMES:
        raise AttributeError(f"module 'dreambirds' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Return the public names, those that are not imported yet too."""
    return sorted({*globals(), *__all__})

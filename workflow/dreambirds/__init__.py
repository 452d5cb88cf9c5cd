"""Train an image classifier, and let every checkpoint dream of every class.

The public API: ``from dreambirds import dream, dream_image, Recipe, load_checkpoint, load_network, list_presets``.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dreambirds.config.recipes import list_presets
    from dreambirds.dreaming.dream import dream
    from dreambirds.dreaming.recipe import Recipe
    from dreambirds.models.checkpoint import load_checkpoint
    from dreambirds.one_image.image import dream_image
    from dreambirds.one_image.network import load_network

__version__ = "0.1.0"
__all__ = ["Recipe", "dream", "dream_image", "list_presets", "load_checkpoint", "load_network"]
_MODULES = {
    "dream": "dreambirds.dreaming.dream",
    "Recipe": "dreambirds.dreaming.recipe",
    "load_checkpoint": "dreambirds.models.checkpoint",
    "list_presets": "dreambirds.config.recipes",
    "dream_image": "dreambirds.one_image.image",
    "load_network": "dreambirds.one_image.network",
}


def __getattr__(name: str) -> object:
    """Import a public name on first use, so ``import dreambirds`` needs no torch."""
    if name not in _MODULES:
        raise AttributeError(f"module 'dreambirds' has no attribute '{name}'")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """Return the public names, including those not imported yet."""
    return sorted({*globals(), *__all__})

"""A training set drawn by code: `draw_bird` makes a picture of any of the `SPECIES`."""

from .bird import draw_bird
from .species import SPECIES

__all__ = ["SPECIES", "draw_bird"]

"""A training set drawn by code: `draw_bird` draws one of the `SPECIES`."""

from dreambirds.data.synthetic.bird import draw_bird
from dreambirds.data.synthetic.species import SPECIES

__all__ = ["SPECIES", "draw_bird"]

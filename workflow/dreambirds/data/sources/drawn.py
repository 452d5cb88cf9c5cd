"""Birds drawn by code: 8 species, with `images_per_label` images each."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dreambirds.data.labels import Label
from dreambirds.data.sources.source import Drawing, Source, source
from dreambirds.data.sources.tree import Tree
from dreambirds.data.synthetic.species import SPECIES

if TYPE_CHECKING:
    from PIL import Image


@source("drawn")
class Drawn(Source):
    """Drawn birds, which need no files."""

    strictness = 0
    needs_path = False

    def find(self, path: Path) -> Tree | None:
        """Return None: drawn birds have no layout on disk."""
        return None

    def labels(self, tree: Tree | None, dataset: dict) -> list[Label]:
        """Return the species."""
        return [Label(label, species.name) for label, species in SPECIES.items()]

    def photographs(self, tree: Tree | None, dataset: dict, labels: list[Label]) -> list[Drawing]:
        """Return the drawings, sorted by class and then by number."""
        return [
            Drawing(label, partial(draw, label.label, number, seed=dataset["seed"], facing=dataset["facing"]))
            for label in labels
            for number in range(dataset["images_per_label"])
        ]


def draw(species: str, number: int, side: int, seed: int, facing: str) -> Image.Image:
    """Return a square image of one bird, which depends only on the arguments.

    `side` is its width and height in pixels.
    """
    # these import torch and Pillow
    from dreambirds.data.synthetic.bird import draw_bird
    from dreambirds.seeding import label_rng

    return draw_bird(species, label_rng(seed, species, number), side, facing)

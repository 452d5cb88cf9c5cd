"""Birds drawn by code: 8 species, with `images_per_label` images each."""

from functools import partial
from pathlib import Path

from PIL import Image

from dreambirds.data.labels import Label
from dreambirds.data.sources.source import Drawing, Source, source
from dreambirds.data.sources.tree import Tree
from dreambirds.data.synthetic import SPECIES, draw_bird


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
    from dreambirds.seeding import label_rng  # imports torch

    return draw_bird(species, label_rng(seed, species, number), side, facing)

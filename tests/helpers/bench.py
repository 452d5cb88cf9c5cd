"""Photographs to prepare, shared by several tests."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from dreambirds.config.load import check
from dreambirds.data.prepare import prepare
from dreambirds.data.sources.catalog import list_labels


class Bench:
    """Photographs in class folders, and a store.

    `decoded` lists the photographs that were decoded and resized.
    """

    def __init__(self, root: Path, labels: Iterable[str] = ("auk", "bunting", "crane")):
        """Write six photographs of each class to a folder."""
        self.root, self.decoded = root, []
        for number, label in enumerate(labels):
            for index in range(6):
                self.photograph(f"{label}/{index}.png", 100 * number + index)

    def photograph(self, name: str, seed: int) -> Path:
        """Write a photograph of noise, and return its path."""
        path = self.root / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (30, 40, 3), np.uint8)).save(path)
        return path

    def prepare(self, name: str = "out", threads: int = 1, **changes) -> Path:
        """Prepare the data set in folder `name`, and return it.

        `decoded` then lists what was decoded and resized.
        """
        config = {"dataset": {"source": "folder", "path": str(self.root / "in"), "image_size": 16, **changes}}
        config |= {"runs": {"a": {}}, "dreams": {"recipes": {"a": {}}}}
        check(config, "config")
        self.decoded.clear()
        folder = self.root / name
        folder.mkdir(exist_ok=True)
        dataset = config["dataset"]
        prepare(dataset, list_labels(dataset), folder, self.root / "store", threads)
        return folder

    @property
    def entries(self) -> list[Path]:
        """The images in the store."""
        return sorted((self.root / "store").rglob("*.png"))


def contents(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files in a folder by relative path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

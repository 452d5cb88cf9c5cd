"""The images of other dreams that dreams start from."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from dreambirds.dream_job.archive import Picture, open_images
from dreambirds.dreaming.octaves import resize
from dreambirds.errors import REBUILD
from dreambirds.plan.paths import picture_name


@dataclass(frozen=True)
class StartDream:
    """An image in an archive or a file, and the run, epoch, recipe, label and step of its dream."""

    picture: Picture | Path
    origin: Mapping[str, Any]

    @property
    def image(self) -> Image.Image:
        """The raw image, or the first one of a sheet. Raises UserError if it cannot be read."""
        return open_images(self.picture, "set another image" if isinstance(self.picture, Path) else REBUILD)[0]

    @cached_property
    def sha256(self) -> str:
        """A digest of the size and the pixels of `image`, independent of metadata."""
        image = self.image
        return hashlib.sha256(f"{image.width}x{image.height} ".encode() + image.tobytes()).hexdigest()

    def pixels(self, shape: tuple[int, int]) -> torch.Tensor:
        """Return the image as (3, H, W) in [0, 1], resized to `shape`, (height, width)."""
        values = torch.from_numpy(np.array(self.image)).permute(2, 0, 1) / 255
        return resize(values[None], shape)[0].clamp(0, 1)


def start_dreams(
    archives: Sequence[str], origin: Mapping[str, Any] | None, labels: Iterable[str]
) -> dict[str, StartDream]:
    """Return the dream that the dream of each label starts from, if any.

    `archives` contains at most one path. `origin` has the run, epoch, recipe and step of the dreams, and their label,
    or None if each label starts from a dream of the same label.
    """
    if not archives or origin is None:
        return {}
    found = {}
    for label in labels:
        source = origin["label"] or label
        picture = Picture(Path(archives[0]), picture_name(source, origin["step"]))
        found[label] = StartDream(picture, {**origin, "label": source})
    return found

"""Activation statistics of each class's photographs.

They are computed once per checkpoint, and kept in the store.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from dreambirds.data.dataset import open_packed
from dreambirds.data.image_io import read_photograph, resize_and_crop, to_tensor
from dreambirds.data.tables import read_images, remedy
from dreambirds.dreaming.matching import Statistics
from dreambirds.errors import UserError
from dreambirds.io import digest_of, store_entry, store_root, store_target, unwritable
from dreambirds.models.checkpoint import load_tensors, save_tensors

log = logging.getLogger(__name__)


class TrainingPhotographs:
    """The first training photographs that dreams of each class are compared with, of a prepared data set.

    `digests` maps the label of each dream to a digest of their pixels.
    """

    def __init__(self, folder: Path, compared: Mapping[str, str], most: int):
        """Open the data set in `folder`; use at most `most` photographs per class.

        `compared` maps the label of each dream to the label of the photographs. Raises UserError if the data set is
        incomplete or corrupt, or if such a class has no training photograph.
        """
        images = read_images(folder)
        images = images[images["path"] != ""].reset_index(drop=True)
        self.images = open_packed(folder, list(images["sha256"]))
        training = images[images["split"] == "train"]
        of_class = {label: rows.index[:most] for label, rows in training.groupby("label")}
        for label in compared.values():
            if label not in of_class:
                raise UserError(
                    f"'{folder}/images.csv' has no training photograph of the class '{label}'; {remedy(folder)}"
                )
        self.rows = {label: of_class[reference] for label, reference in compared.items()}
        self.digests = {label: digest_of(list(images["sha256"][rows])) for label, rows in self.rows.items()}

    def read(self, label: str) -> torch.Tensor:
        """Return the photographs that dreams of a label are compared with, (N, 3, H, W) in [0, 1]."""
        return torch.from_numpy(np.stack([self.images[row] for row in self.rows[label]])).float() / 255


class PhotographFiles:
    """Photographs of one class in files, with which dreams of any label are compared.

    `digests` maps each label to a digest of their pixels.
    """

    def __init__(self, files: Sequence[Path], labels: Iterable[str], shape: tuple[int, int]):
        """Read the photographs at `shape`, (height, width). Raises UserError if one cannot be read."""
        images = [read_image_at(path, shape, "photographs", "remove or replace it") for path in files]
        self.images = torch.stack(images)
        digest = digest_of([sha256(image.numpy().tobytes()).hexdigest() for image in images])
        self.digests = dict.fromkeys(labels, digest)

    def read(self, _label: str) -> torch.Tensor:
        """Return the photographs, (N, 3, H, W) in [0, 1]."""
        return self.images.float() / 255


def read_image_at(path: Path, shape: tuple[int, int], where: str | None, end: str) -> torch.Tensor:
    """Return a photograph as uint8 (3, H, W), resized and center-cropped to `shape`, (height, width).

    Raises UserError, with the key `where` and the remedy `end`, if it cannot be read.
    """
    try:
        photograph = read_photograph(path)
    except ValueError as error:
        raise UserError(f"cannot read '{path}' ({error}); {end}", where) from error
    return to_tensor(resize_and_crop(photograph, shape))


class ReferenceStore:
    """Statistics of classes in a folder of the store, one file each.

    Many jobs may use it at the same time.
    """

    def __init__(self, folder: Path | None = None):
        """Use `folder`, by default ``references`` in the store."""
        self.folder = folder or store_root() / "references"

    def get(self, key: str, compute: Callable[[], Statistics]) -> Statistics:
        """Return the statistics of a key, by view kind and layer.

        Statistics that are missing or corrupt are computed and stored. Raises UserError if the store cannot be written
        to.
        """
        names = "references", key[:2], f"{key}.safetensors"
        path = store_entry(*names, folder=self.folder)
        if path.exists():
            with suppress(OSError):
                path.touch()  # eviction uses this time; the file may belong to another user
            try:
                return _by_kind(load_tensors(path, "recomputing it")[0])
            except (OSError, UserError) as error:
                log.warning("%s", error)
        statistics = compute()
        tensors = {f"{kind}/{layer}": mean for kind, layers in statistics.items() for layer, mean in layers.items()}
        path = store_target(*names, folder=self.folder)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_tensors(path, tensors, {})
        except OSError as error:
            raise unwritable("statistics of photographs", self.folder, error) from error
        return statistics


def _by_kind(tensors: dict[str, torch.Tensor]) -> Statistics:
    statistics: Statistics = {}
    for name, mean in tensors.items():
        kind, _, layer = name.partition("/")
        statistics.setdefault(kind, {})[layer] = mean
    return statistics

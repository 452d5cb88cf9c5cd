"""Training data: augmentation, and a batch sampler that can resume."""

import logging
import math
from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision.transforms import v2

from dreambirds.data.dataset import PreparedImages
from dreambirds.errors import counted
from dreambirds.runtime.machine import MB, shared_memory
from dreambirds.seeding import derive_seed, fork_rng

PATIENCE = 600  # seconds that loader processes may take for a batch
AHEAD = 2  # batches that each loader process prepares ahead
log = logging.getLogger(__name__)


def augmentation(settings: dict, shape: tuple[int, int]) -> v2.Transform:
    """Return the random transform of uint8 images (3, *shape).

    The images stay uint8, because a loader process then passes on a fourth of the bytes. `settings` is the config's
    ``augmentation``: a random crop of the image padded by reflection, a random horizontal flip, and a small random
    change of brightness, contrast and saturation. It uses torch's global generator.
    """
    padding, color = min(settings["crop_padding"], min(shape) - 1), settings["color"]
    return v2.Compose(
        [
            v2.RandomCrop(shape, padding=padding, padding_mode="reflect") if padding else v2.Identity(),
            v2.RandomHorizontalFlip(settings["flip"]),
            v2.ColorJitter(color, color, color) if color else v2.Identity(),
        ]
    )


def as_float() -> v2.Transform:
    """Return the transform of uint8 images to float32 in [0, 1]."""
    return v2.ToDtype(torch.float32, scale=True)


class AugmentedDataset(Dataset):
    """Augmented training images: an image, uint8 (3, H, W), and its target.

    The key is (epoch, number). The augmentation is seeded with the run's seed and the key.
    """

    def __init__(self, images: PreparedImages, transform, seed: int):
        """Take uint8 images, the transform, and the run's seed.

        The transform draws from torch's global generator.
        """
        self.images, self.transform, self.seed = images, transform, seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[torch.Tensor, int]:
        epoch, number = key
        image, target = self.images[number]
        with fork_rng("picture", self.seed, epoch, number):
            return self.transform(image), target


class ResumableBatchSampler(Sampler[list[tuple[int, int]]]):
    """A batch sampler for a range of updates of an epoch, which can resume anywhere.

    Images are shuffled differently in each epoch. A last batch of a single image is dropped, because batch norm cannot
    compute statistics from it.
    """

    def __init__(self, count: int, batch_size: int, seed: int):
        """Take the number of images, the batch size, and the run's seed."""
        self.count, self.batch_size, self.seed = count, batch_size, seed
        drop_last = count % batch_size == 1 and count > 1
        self.per_epoch = -(-count // batch_size) - drop_last
        self.set_range(1, 0, self.per_epoch)

    def set_range(self, epoch: int, first: int, last: int) -> None:
        """Select the updates `first` (inclusive) to `last` (exclusive) of an epoch.

        Updates are counted from 0, and epochs from 1.
        """
        self.epoch, self.first, self.last = epoch, first, last

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        generator = torch.Generator().manual_seed(derive_seed("order", self.seed, self.epoch))
        order = torch.randperm(self.count, generator=generator).tolist()
        for update in range(self.first, self.last):
            batch = order[update * self.batch_size : (update + 1) * self.batch_size]
            yield [(self.epoch, number) for number in batch]


def load_training_data(
    images: PreparedImages, transform, run: dict, processes: int, device: torch.device
) -> DataLoader:
    """Return the loader of the training images; its ``batch_sampler`` is a `ResumableBatchSampler`.

    If it waits for its processes longer than `PATIENCE`, it raises RuntimeError (see `errors.explain_failure`).
    """
    order = ResumableBatchSampler(len(images), run["batch_size"], run["seed"])
    processes = affordable_processes(processes, run["batch_size"] * 3 * math.prod(images.shape))
    return DataLoader(
        AugmentedDataset(images, transform, run["seed"]),
        batch_sampler=order,
        num_workers=processes,
        persistent_workers=processes > 0,
        prefetch_factor=AHEAD if processes > 0 else None,
        timeout=PATIENCE if processes > 0 else 0,
        pin_memory=device.type == "cuda",
    )


def affordable_processes(processes: int, batch: int) -> int:
    """Return `processes`, or 0 with a warning in the log if shared memory cannot hold their batches of `batch` bytes.

    Loader processes pass on batches through shared memory, of which containers often have only 64 MB. The batches are
    the same without processes.
    """
    found, needed = shared_memory(), (AHEAD * processes + 2) * batch  # and those that arrive and are used
    if processes == 0 or found is None or found.free >= needed:
        return processes
    log.warning(
        "shared memory (/dev/shm) has only %d MB free, and %s need %d MB, so images are loaded in the main process; "
        "give a container more (`docker run --shm-size=1g`), or set threads.loader_workers to 0",
        found.free // MB,
        counted(processes, "loader process"),
        math.ceil(needed / MB),
    )
    return 0


def load_validation(images: PreparedImages, run: dict, device: torch.device) -> DataLoader:
    """Return the loader of the validation images, without augmentation."""
    images.transform = as_float()
    return DataLoader(images, run["batch_size"], pin_memory=device.type == "cuda")

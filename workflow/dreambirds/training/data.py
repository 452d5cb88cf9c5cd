"""Training data: augmentation, and a batch sampler that can resume."""

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision.transforms import v2

from dreambirds.data.dataset import Pictures
from dreambirds.seeding import derive_seed, fork_rng


def augmentation(settings: dict, shape: tuple[int, int]) -> v2.Transform:
    """Return the transform of uint8 (3, *shape) to float32 in [0, 1], drawing from torch's global generator.

    `settings` is the config's ``augmentation``: a random crop out of a reflected border, a mirror image, and a mild
    change of brightness, contrast and saturation.
    """
    padding, color = min(settings["crop_padding"], min(shape) - 1), settings["color"]
    return v2.Compose(
        [
            v2.RandomCrop(shape, padding=padding, padding_mode="reflect") if padding else v2.Identity(),
            v2.RandomHorizontalFlip(settings["flip"]),
            v2.ColorJitter(color, color, color) if color else v2.Identity(),
            as_float(),
        ]
    )


def as_float() -> v2.Transform:
    """Return the transform of uint8 pictures to float32 in [0, 1]."""
    return v2.ToDtype(torch.float32, scale=True)


class AugmentedDataset(Dataset):
    """Training pictures by (epoch, number), each augmented by chance of its own: (3, H, W) in [0, 1], and target."""

    def __init__(self, pictures: Pictures, transform, seed: int):
        """Take uint8 pictures and what is done to each, drawing from torch's global generator."""
        self.pictures, self.transform, self.seed = pictures, transform, seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[torch.Tensor, int]:
        epoch, number = key
        picture, target = self.pictures[number]
        with fork_rng("picture", self.seed, epoch, number):
            return self.transform(picture), target


class Order(Sampler[list[tuple[int, int]]]):
    """The batches of some updates of an epoch, shuffled anew each epoch; a last batch of one picture is left out."""

    def __init__(self, count: int, batch_size: int, seed: int):
        """Take the number of pictures, of pictures an update, and the run's seed."""
        self.count, self.batch_size, self.seed = count, batch_size, seed
        lonely = count % batch_size == 1 and count > 1  # one picture has no batch statistics
        self.per_epoch = -(-count // batch_size) - lonely
        self.turn(1, 0, self.per_epoch)

    def turn(self, epoch: int, first: int, last: int) -> None:
        """Choose the updates from `first` to before `last`, counted from 0, of an epoch, counted from 1."""
        self.epoch, self.first, self.last = epoch, first, last

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        generator = torch.Generator().manual_seed(derive_seed("order", self.seed, self.epoch))
        order = torch.randperm(self.count, generator=generator).tolist()
        for update in range(self.first, self.last):
            batch = order[update * self.batch_size : (update + 1) * self.batch_size]
            yield [(self.epoch, number) for number in batch]


def load_training_data(pictures: Pictures, transform, run: dict, processes: int, device: torch.device) -> DataLoader:
    """Return the loader of the training pictures; its ``batch_sampler`` is the `Order` that is told which updates."""
    order = Order(len(pictures), run["batch_size"], run["seed"])
    return DataLoader(
        AugmentedDataset(pictures, transform, run["seed"]),
        batch_sampler=order,
        num_workers=processes,
        persistent_workers=processes > 0,
        pin_memory=device.type == "cuda",
    )


def load_validation(pictures: Pictures, run: dict, device: torch.device) -> DataLoader:
    """Return the loader of the validation pictures, as they are."""
    pictures.transform = as_float()
    return DataLoader(pictures, run["batch_size"], pin_memory=device.type == "cuda")

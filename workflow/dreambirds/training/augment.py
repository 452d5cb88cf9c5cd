"""What is done to a picture before a model learns from it."""

import torch
from torchvision.transforms import v2


def augmentation(settings: dict, shape: tuple[int, int]) -> v2.Transform:
    """Return the transform of uint8 (3, *shape) to float32 in [0, 1], drawing from torch's global generator.

    `settings` is the config's ``augmentation``: a random crop out of a reflected border, a mirror image, and a mild
    change of brightness, contrast and saturation.
    """
    padding, colour = min(settings["crop_padding"], min(shape) - 1), settings["colour"]
    return v2.Compose(
        [
            v2.RandomCrop(shape, padding=padding, padding_mode="reflect") if padding else v2.Identity(),
            v2.RandomHorizontalFlip(settings["flip"]),
            v2.ColorJitter(colour, colour, colour) if colour else v2.Identity(),
            as_float(),
        ]
    )


def as_float() -> v2.Transform:
    """Return the transform of uint8 pictures to float32 in [0, 1]."""
    return v2.ToDtype(torch.float32, scale=True)

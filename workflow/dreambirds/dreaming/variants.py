"""Variants: several images of one target, and the penalty that makes them different.

The images of one target are a group, and a batch contains one group after another. The penalty is the term for
diversity of Olah, Mordvintsev & Schubert, *Feature Visualization* (2017): the cosine similarity of the Gram matrices of
a layer's channels, over pairs of images. It couples only the images of a group, so a group does not depend on the other
groups of its batch.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import torch

from dreambirds.shapes import grid_of

if TYPE_CHECKING:
    from dreambirds.dreaming.dream import DreamResult

GRAY = 0.5  # of the blank cells of a sheet
TINY = 1e-12


def stream_names(label: str, variants: int) -> list[str]:
    """Return the keys of the random streams of a label's variants; that of the first is the label itself."""
    return [label, *(f"{label} variant {number}" for number in range(2, variants + 1))]


def gram_matrices(activation: torch.Tensor) -> torch.Tensor:
    """Return the Gram matrix of the channels of each activation, (B, C, C).

    The activation is (B, C, H, W), (B, tokens, C) or (B, C). The products are summed over the positions.
    """
    if activation.ndim == 4:
        flat = activation.flatten(2)
    else:
        flat = activation.mT if activation.ndim == 3 else activation[..., None]
    return flat @ flat.mT


def similarity(activation: torch.Tensor, images: int, variants: int) -> torch.Tensor:
    """Return the mean similarity of each image to the other images of its group, (B,), in [0, 1].

    `activation` (V, ...) is that of the views of B `images`, with V / B views per image: the Gram matrix of an image is
    the mean over its views. Groups are consecutive images, `variants` each. The similarity of two images is the cosine
    of their Gram matrices. The mean over a group is its mean pairwise similarity.
    """
    grams = gram_matrices(activation).unflatten(0, (images, -1)).mean(dim=1).flatten(1)
    unit = grams / torch.linalg.vector_norm(grams, dim=1, keepdim=True).clamp(min=TINY)
    groups = unit.unflatten(0, (-1, variants))
    cosines = groups @ groups.mT
    others = cosines.sum(dim=2) - cosines.diagonal(dim1=1, dim2=2)
    mean: torch.Tensor = (others / (variants - 1)).flatten()
    return mean


def mean_of_groups(values: torch.Tensor, variants: int) -> torch.Tensor:
    """Return the mean over the images of each group of values (B variants, ...), (B, ...)."""
    mean: torch.Tensor = values.unflatten(0, (-1, variants)).mean(dim=1)
    return mean


def sheets(images: torch.Tensor, variants: int) -> torch.Tensor:
    """Return one sheet per group of images (B variants, 3, H, W), (B, 3, rows H, columns W).

    The images of a group are in a grid of `grid_of`, row by row, and blank cells are gray. `images` are in [0, 1], or
    uint8.
    """
    rows, columns = grid_of(variants)
    groups = images.unflatten(0, (-1, variants))
    gray = GRAY if images.is_floating_point() else round(GRAY * 255)
    blank = groups.new_full((len(groups), rows * columns - variants, *images.shape[1:]), gray)
    cells = torch.cat([groups, blank], dim=1).unflatten(1, (rows, columns))
    made: torch.Tensor = cells.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)
    return made


def by_group(result: DreamResult, variants: int) -> DreamResult:
    """Return the result per group of a result per image, which is changed: sheets, and means of metrics.

    A group has ended when all of its images have, and diverged at the first step at which one of them did. Its
    `silent` is that of all its images.
    """
    for step, images in result.snapshots.items():  # one after the other, to save memory
        result.snapshots[step] = sheets(images, variants)
    result.frames = [sheets(frame, variants) for frame in result.frames]
    for values in filter(None, (result.trace, *result.metrics.values())):
        for metric in fields(values):
            setattr(values, metric.name, mean_of_groups(getattr(values, metric.name), variants))
    if result.ended is not None and result.diverged is not None:
        never = torch.iinfo(result.diverged.dtype).max
        first = result.diverged.where(result.diverged > 0, never).unflatten(0, (-1, variants)).amin(dim=1)
        result.ended = result.ended.unflatten(0, (-1, variants)).amax(dim=1)
        result.diverged = first.where(first < never, 0)
    if result.silent is not None:
        result.silent = result.silent.unflatten(0, (-1, variants)).all(dim=1)
    return result

"""Feature matching: match activations of a dream to those of photographs.

The method is *VITAL* (Görgün, Schiele & Fischer, ICCV 2025, arXiv 2503.22399). The activations of each channel of a
layer are sorted over the positions of its map. The loss is the squared difference, rank by rank, between the sorted
activations of a dream and the mean of the sorted activations of photographs. It matches the distribution of
activations, not any single photograph.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from torch.nn import functional

from dreambirds.device import autocast
from dreambirds.dreaming.crops import WHOLE, draw_box, resized_crops
from dreambirds.dreaming.features import FeatureExtractor, make_objective
from dreambirds.dreaming.objectives import ModelOutputs
from dreambirds.dreaming.octaves import evaluation_shape
from dreambirds.dreaming.recipe import Recipe, last_value, uses_full_images
from dreambirds.seeding import generator
from dreambirds.shapes import in_proportion

CROP, VIEW_WHOLE = "crop", "whole"
PIXELS = 16 * 224**2  # per batch of photographs in a forward pass
TINY = 1e-12
# borders of regions: distances from the center of a map, as fractions of half a side
BANDS, CENTER = 0.4, 0.62  # of `thirds` and of `center`; SMALL_BANDS if a side is at most SMALL_MAP
SMALL_BANDS, SMALL_MAP = 0.5, 4
LARGE_MAP = 16
Statistics = dict[str, dict[str, torch.Tensor]]  # by type of view and layer


@dataclass(frozen=True)
class Regions:
    """A partition of the P positions of a map into regions.

    `order` (P,) is a permutation of the positions that lists one region after another; `sizes` are their lengths.
    """

    order: torch.Tensor
    sizes: tuple[int, ...]


def sorted_activations(activations: torch.Tensor, regions: Regions) -> torch.Tensor:
    """Return activations (B, C, P) sorted within each region, region after region."""
    parts = activations.index_select(-1, regions.order).split(regions.sizes, dim=-1)
    return torch.cat([part.sort(dim=-1).values for part in parts], dim=-1)


def counterparts(activations: torch.Tensor, mean: torch.Tensor, regions: Regions) -> torch.Tensor:
    """Return the value in `mean` with the same rank as each activation (B, C, P).

    Ranks are within a region. `mean` (B, C, P) contains the sorted values of each region, region after region.
    """
    targets = torch.empty_like(mean)
    ordered = activations.index_select(-1, regions.order)
    parts = [tensor.split(regions.sizes, dim=-1) for tensor in (ordered, mean, targets)]
    for part, ranked, target in zip(*parts, strict=True):
        target.scatter_(-1, _argsort(part), ranked)
    return targets.index_select(-1, regions.order.argsort())


def _argsort(values: torch.Tensor) -> torch.Tensor:
    if values.device.type != "cpu":
        return values.argsort(dim=-1)
    return torch.from_numpy(np.argsort(values.numpy(), axis=-1))  # two to three times as fast as torch's


def moments(activations: torch.Tensor, regions: Regions) -> torch.Tensor:
    """Return the mean and standard deviation of activations (B, C, P) in each region.

    The result is (B, C, 2 R) for R regions: first the means, then the standard deviations. It is cheaper than sorting.
    """
    count = len(regions.sizes)
    sizes = torch.tensor(regions.sizes, device=activations.device)
    weights = activations.new_zeros(len(regions.order), count)
    weights[regions.order, torch.arange(count, device=sizes.device).repeat_interleave(sizes)] = 1
    means = activations @ (weights / sizes)
    variances = (activations - means @ weights.mT).square() @ (weights / sizes)
    return torch.cat([means, (variances + TINY).sqrt()], dim=-1)


STATISTICS: dict[str, Callable[[torch.Tensor, Regions], torch.Tensor]] = {
    "sorted": sorted_activations,
    "moments": moments,
}


@cache
def map_regions(kind: str, height: int, width: int, prefix: int = 0) -> Regions:
    """Return the regions of a flattened map of (`height`, `width`).

    `kind` is ``whole`` (one region), ``center`` (the center and the rest) or ``thirds`` (three bands of the height,
    each divided into its middle and its sides). If a side of the map is shorter than 4, ``thirds`` is ``center``. A map
    with a single position is one region. Each of the `prefix` positions before the map is a separate region.
    """
    y = torch.linspace(-1, 1, height).abs() if height > 1 else torch.zeros(1)
    x = torch.linspace(-1, 1, width).abs() if width > 1 else torch.zeros(1)
    small = min(height, width) <= SMALL_MAP
    if kind == "whole" or max(height, width) == 1:
        number = torch.zeros(height, width, dtype=torch.long)
    elif kind == "center" or min(height, width) < SMALL_MAP:
        edge = SMALL_BANDS if small else CENTER
        number = torch.maximum(y[:, None], x[None, :]).gt(edge).long()
    else:
        edge = SMALL_BANDS if small else BANDS
        signs = torch.linspace(-1, 1, height).sign().long()
        bands = signs * y.gt(edge).long() + 1
        number = 2 * bands[:, None] + x.gt(edge).long()[None, :]
    numbers = torch.cat([torch.arange(-prefix, 0), number.flatten()])
    return Regions(numbers.argsort(stable=True), tuple(numbers.unique(return_counts=True)[1].tolist()))


@dataclass(frozen=True)
class LayerStatistic:
    """A statistic of a layer's activations over regions of its map.

    `kind` is one of `STATISTICS`, and `regions` a `kind` of `map_regions`. Maps with more than LARGE_MAP rows and
    columns are subsampled: only every `stride`-th row and column is used. `prefix` is the number of tokens that a
    transformer puts before those of the map; each is a separate region.
    """

    kind: str
    regions: str
    stride: int = 1
    prefix: int = 0

    def __call__(self, activation: torch.Tensor, view: tuple[int, int], phase: int = 0) -> torch.Tensor:
        """Return the statistic (B, C, S) of an activation.

        The activation is (B, C, H, W), (B, tokens, C) or (B, C), and belongs to views of (height, width). `phase`
        selects the rows and columns of a subsampled map; `stride` squared consecutive phases use all of them.
        """
        return STATISTICS[self.kind](*self.positions(activation, view, phase))

    def positions(self, activation: torch.Tensor, view: tuple[int, int], phase: int) -> tuple[torch.Tensor, Regions]:
        """Return the activation as (B, C, P), and the regions of its positions."""
        if activation.ndim == 3:
            activation = activation.mT
        elif activation.ndim == 4 and min(activation.shape[2:]) > LARGE_MAP:
            top, left = divmod(phase % self.stride**2, self.stride)
            height, width = (side // self.stride for side in activation.shape[2:])
            rows = slice(top, top + height * self.stride, self.stride)
            activation = activation[:, :, rows, left : left + width * self.stride : self.stride]
        activations = activation.flatten(2) if activation.ndim > 2 else activation[..., None]
        count = activations.shape[-1]
        shape = activation.shape[2:] if activation.ndim == 4 else token_map(count, self.prefix, view)
        regions = map_regions(self.regions, shape[0], shape[1], count - math.prod(shape))
        return activations, replace(regions, order=regions.order.to(activation.device))


def token_map(tokens: int, prefix: int, view: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) of the map that a transformer's tokens form.

    The map has the aspect ratio of `view`, (height, width). It consists of all tokens except the first `prefix`, or of
    all tokens in layers before the prefix is added. The result is (1, tokens) if there is no such map.
    """
    for count in (tokens - prefix, tokens):
        for height in range(1, count + 1):
            if count % height == 0 and in_proportion(view, min(height, count // height)) == (height, count // height):
                return height, count // height
    return 1, tokens


@dataclass(frozen=True)
class LayerReference:
    """The statistics of a layer for photographs of each dream's class.

    `mean` (B, C, S) is the mean over photographs, and `variance` (B,) is its variance over channels and positions.
    `statistic` computes the statistic of a dream, for views of size `view` (height, width) and in `phase`.
    """

    mean: torch.Tensor
    variance: torch.Tensor
    statistic: LayerStatistic
    view: tuple[int, int]
    phase: int = 0

    def distance(self, activation: torch.Tensor) -> torch.Tensor:
        """Return the distance of an activation (B, ...) from the photographs, (B,).

        It is the mean squared difference of the statistics, divided by the `variance` of the photographs.
        """
        activations, regions = self.statistic.positions(activation, self.view, self.phase)
        if self.statistic.kind == "sorted":  # sorted values are compared at their positions in the dream
            with torch.no_grad():
                targets = counterparts(activations, self.mean, regions)
            squares = functional.mse_loss(activations, targets, reduction="none")
        else:
            squares = functional.mse_loss(moments(activations, regions), self.mean, reduction="none")
        return squares.mean(dim=(1, 2)) / self.variance


class References:
    """The statistics of photographs of each dream's class, for a batch of dreams."""

    def __init__(self, recipe: Recipe, statistics: Statistics, prefix: int, shape: tuple[int, int]):
        """Take stacked statistics, the number of prefix tokens, and the dreams' size."""
        self.recipe, view = recipe, evaluation_shape(recipe, shape)
        self.kinds: dict[str, dict[str, LayerReference]] = {}
        for kind, layers in statistics.items():
            statistic = layer_statistic(recipe, kind, prefix)
            self.kinds[kind] = {
                layer: LayerReference(mean, mean.var(dim=(1, 2), unbiased=False).clamp(min=TINY), statistic, view)
                for layer, mean in layers.items()
            }

    def at(self, step: int, phase: int) -> dict[str, LayerReference]:
        """Return the references of each layer for the views of a step.

        `phase` is the number of earlier steps with the same type of view and the same network, so both types of views
        go through all rows and columns of each network's maps.
        """
        references = self.kinds.get(VIEW_WHOLE if uses_full_images(self.recipe, step) else CROP, {})
        return {layer: replace(reference, phase=phase) for layer, reference in references.items()}

    def for_full_images(self) -> dict[str, LayerReference]:
        """Return the references for full images, or for crops if there are only crops."""
        return self.kinds.get(VIEW_WHOLE) or self.kinds.get(CROP, {})


def layer_statistic(recipe: Recipe, kind: str, prefix: int) -> LayerStatistic:
    """Return the statistic of a layer's activations that a recipe selects for a type of view."""
    regions = (kind == CROP and recipe.match_crop_regions) or recipe.match_regions
    return LayerStatistic(recipe.match_statistics, regions, recipe.match_stride, prefix)


def view_types(recipe: Recipe) -> list[str]:
    """Return the types of views that a recipe uses: ``crop``, ``whole``, or both."""
    if recipe.crop_area is None or (recipe.whole_views == 1 and recipe.whole_steps is None):
        return [VIEW_WHOLE]
    return [CROP] if recipe.whole_views == 0 else [CROP, VIEW_WHOLE]


@torch.no_grad()
def photograph_statistics(
    features: FeatureExtractor, photographs: torch.Tensor, recipe: Recipe, precision: str = "float32"
) -> Statistics:
    """Return mean statistics (C, S) of photographs of one class, by view and layer.

    `features` records the layers that are matched. The photographs are (N, 3, H, W) in [0, 1], as large as the dreams.
    Their views are those of the dreams: full images, or `match_views` random crops of each photograph, with the
    smallest area at the end of the recipe's schedule. If the recipe flips views, full images are used in both
    orientations, and crops are flipped with probability 1/2.
    """
    result: Statistics = {}
    for kind in view_types(recipe):
        statistic = layer_statistic(recipe, kind, features.prefix)
        sums: dict[str, torch.Tensor] = {}
        count = 0
        for phase, views in enumerate(_photograph_views(photographs, recipe, kind)):
            with autocast(precision, views.device):
                outputs = features(views.contiguous(memory_format=torch.channels_last))
            for layer, activation in outputs.layers.items():
                total = statistic(activation, (views.shape[-2], views.shape[-1]), phase).sum(dim=0)
                sums[layer] = total if layer not in sums else sums[layer] + total
            count += len(views)
        result[kind] = {layer: total / count for layer, total in sums.items()}
    return result


def references_like(
    features: FeatureExtractor, outputs: ModelOutputs, recipe: Recipe, view: tuple[int, int]
) -> References:
    """Return references computed from outputs for views, to measure a step's memory."""
    matched, statistics = make_objective(recipe.objective, features.model).matched, {}
    for kind in view_types(recipe):
        statistic = layer_statistic(recipe, kind, features.prefix)
        statistics[kind] = {layer: statistic(outputs.layers[layer].detach(), view) for layer in matched}
    return References(recipe, statistics, features.prefix, view)


def stack_statistics(statistics: Sequence[Statistics]) -> Statistics:
    """Return the statistics of one class per image, stacked into a batch (B, C, S)."""
    return {
        kind: {layer: torch.stack([each[kind][layer] for each in statistics]) for layer in layers}
        for kind, layers in statistics[0].items()
    }


def _photograph_views(photographs: torch.Tensor, recipe: Recipe, kind: str) -> Iterator[torch.Tensor]:
    """Yield batches of views, with the same random draws for every class."""
    shape = evaluation_shape(recipe, (photographs.shape[-2], photographs.shape[-1]))
    rng = generator(0, "views of photographs")
    for batch in photographs.split(max(1, PIXELS // math.prod(shape))):
        if kind == VIEW_WHOLE:
            views = resized_crops(batch, [WHOLE] * len(batch), shape)
            yield views
            if recipe.flip:
                yield views.flip(-1)
            continue
        smallest = last_value(recipe.crop_area or 1.0)
        for _ in range(recipe.match_views):
            views = resized_crops(batch, [draw_box(rng, smallest, recipe.crop_ratio) for _ in batch], shape)
            flipped = torch.rand(len(batch), generator=rng) < (0.5 if recipe.flip else 0)
            yield torch.where(flipped.to(views.device)[:, None, None, None], views.flip(-1), views)

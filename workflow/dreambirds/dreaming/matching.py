"""Feature matching: compare the activations of a dream with those of photographs of its class.

Görgün, Schiele & Fischer, *VITAL* (ICCV 2025, arXiv 2503.22399). The activations of each channel of a layer are sorted
over the places of its map. Those of a dream are drawn to the mean of those of the photographs, rank by rank: so the
distribution of what the network sees is matched, and no photograph.
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
from dreambirds.dreaming.recipe import Recipe, last_value, shows_whole, whole_steps
from dreambirds.seeding import generator
from dreambirds.shapes import in_proportion

CROP, VIEW_WHOLE = "crop", "whole"
PIXELS = 16 * 224**2  # of photographs that are looked at together
TINY = 1e-12
BANDS = 0.4  # of half a side: where the regions `thirds` part; SMALL_BANDS on the smallest maps
CENTER = 0.62
SMALL_BANDS, SMALL_MAP = 0.5, 4
LARGE_MAP = 16
Statistics = dict[str, dict[str, torch.Tensor]]  # of each kind of view, for each layer


@dataclass(frozen=True)
class Regions:
    """The regions of a map: its P places in an order, (P,), in which each region's are in line, and how many each
    has."""

    order: torch.Tensor
    sizes: tuple[int, ...]


def sorted_activations(activations: torch.Tensor, regions: Regions) -> torch.Tensor:
    """Return activations (B, C, P), sorted along the places of each region: (B, C, P), region after region."""
    parts = activations.index_select(-1, regions.order).split(regions.sizes, dim=-1)
    return torch.cat([part.sort(dim=-1).values for part in parts], dim=-1)


def counterparts(activations: torch.Tensor, mean: torch.Tensor, regions: Regions) -> torch.Tensor:
    """Return for each of the activations (B, C, P) the one that has its rank within its region in `mean`, which has
    sorted ones, (B, C, P)."""
    found = torch.empty_like(mean)
    parts = [whole.split(regions.sizes, dim=-1) for whole in (activations.index_select(-1, regions.order), mean, found)]
    for part, ranked, of_part in zip(*parts, strict=True):
        of_part.scatter_(-1, _argsort(part), ranked)
    return found.index_select(-1, regions.order.argsort())


def _argsort(values: torch.Tensor) -> torch.Tensor:
    if values.device.type != "cpu":
        return values.argsort(dim=-1)
    return torch.from_numpy(np.argsort(values.numpy(), axis=-1))  # two to three times as fast as torch's


def moments(activations: torch.Tensor, regions: Regions) -> torch.Tensor:
    """Return the mean and the standard deviation of activations (B, C, P) over the places of each region, (B, C, 2
    regions): the cheap form."""
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
    """Return the regions of a map, flattened; every place is in one of them.

    `whole` is one region; `center` parts the center from the rest; `thirds` parts three bands of the height, each into
    the middle and the sides. On maps with fewer than four places a side, `thirds` is `center`, and on one with a single
    place all are `whole`. Each of the `prefix` places before the map is a region too.
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
    """How the activations of a layer are summarized: one of `STATISTICS`, over the regions of its map.

    `stride` is the distance of the rows and columns that are looked at on maps with more than LARGE_MAP of both;
    `prefix` is how many tokens a transformer puts before those of the map; each is a separate region.
    """

    kind: str
    regions: str
    stride: int = 1
    prefix: int = 0

    def __call__(self, activation: torch.Tensor, view: tuple[int, int], phase: int = 0) -> torch.Tensor:
        """Return the statistic (B, C, S) of an activation, (B, C, H, W), (B, tokens, C) or (B, C), of views of
        (height, width); other rows and columns are looked at in each phase."""
        return STATISTICS[self.kind](*self.places(activation, view, phase))

    def places(self, activation: torch.Tensor, view: tuple[int, int], phase: int) -> tuple[torch.Tensor, Regions]:
        """Return the activation as (B, C, P), and the regions of its places."""
        if activation.ndim == 3:
            activation = activation.mT
        elif activation.ndim == 4 and min(activation.shape[2:]) > LARGE_MAP:
            down, across = divmod(phase % self.stride**2, self.stride)
            height, width = (side // self.stride for side in activation.shape[2:])
            rows = slice(down, down + height * self.stride, self.stride)
            activation = activation[:, :, rows, across : across + width * self.stride : self.stride]
        activations = activation.flatten(2) if activation.ndim > 2 else activation[..., None]
        count = activations.shape[-1]
        shape = activation.shape[2:] if activation.ndim == 4 else token_map(count, self.prefix, view)
        regions = map_regions(self.regions, shape[0], shape[1], count - math.prod(shape))
        return activations, replace(regions, order=regions.order.to(activation.device))


def token_map(tokens: int, prefix: int, view: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of the map that a transformer's tokens form of views of (height, width).

    It is in the proportions of the view and has all tokens but `prefix`, or, as in layers before these are added, all
    tokens. It is (1, tokens) if they form no such map.
    """
    for count in (tokens - prefix, tokens):
        for height in range(1, count + 1):
            if count % height == 0 and in_proportion(view, min(height, count // height)) == (height, count // height):
                return height, count // height
    return 1, tokens


@dataclass(frozen=True)
class LayerReference:
    """What a layer makes of photographs of each dream's class: the mean of their statistics, (B, C, S), its variance
    over channels and places, (B,), and how the statistic is computed, for views of (height, width) and in which
    phase."""

    mean: torch.Tensor
    variance: torch.Tensor
    statistic: LayerStatistic
    view: tuple[int, int]
    phase: int = 0

    def distance(self, activation: torch.Tensor) -> torch.Tensor:
        """Return how far the statistic of an activation (B, ...) is from that of the photographs, (B,): the mean
        square, in units of the variance of theirs."""
        activations, regions = self.statistic.places(activation, self.view, self.phase)
        if self.statistic.kind == "sorted":  # sorted values are compared at the places that they have in the dream
            with torch.no_grad():
                wanted = counterparts(activations, self.mean, regions)
            squares = functional.mse_loss(activations, wanted, reduction="none")
        else:
            squares = functional.mse_loss(moments(activations, regions), self.mean, reduction="none")
        return squares.mean(dim=(1, 2)) / self.variance


class References:
    """What a network makes of the photographs of each dream's class, for a batch of dreams."""

    def __init__(self, recipe: Recipe, statistics: Statistics, prefix: int, shape: tuple[int, int]):
        """Take the statistics (B, C, S) that `photograph_statistics` returned, stacked, the transformer's tokens before
        those of the map, and the dreams' (height, width)."""
        statistic, view = layer_statistic(recipe, prefix), evaluation_shape(recipe, shape)
        self.recipe = recipe
        self.kinds = {
            kind: {
                layer: LayerReference(mean, mean.var(dim=(1, 2), unbiased=False).clamp(min=TINY), statistic, view)
                for layer, mean in layers.items()
            }
            for kind, layers in statistics.items()
        }

    def at(self, step: int) -> dict[str, LayerReference]:
        """Return the references of each layer for the views of a step."""
        whole = shows_whole(self.recipe, step)
        found = self.kinds.get(VIEW_WHOLE if whole else CROP, {})
        before = whole_steps(self.recipe, step)
        phase = before if whole else step - before  # so that both kinds of views come to all rows and columns
        return {layer: replace(reference, phase=phase) for layer, reference in found.items()}

    def of_whole(self) -> dict[str, LayerReference]:
        """Return the references of each layer for whole pictures, or for crops if those are all that is shown."""
        return self.kinds.get(VIEW_WHOLE) or self.kinds.get(CROP, {})


def layer_statistic(recipe: Recipe, prefix: int) -> LayerStatistic:
    """Return how a recipe summarizes the activations of a layer."""
    return LayerStatistic(recipe.match_statistics, recipe.match_regions, recipe.match_stride, prefix)


def view_kinds(recipe: Recipe) -> list[str]:
    """Return the kinds of views that a recipe shows: ``crop``, ``whole``, or both."""
    if recipe.crop_area is None or recipe.whole_views == 1:
        return [VIEW_WHOLE]
    return [CROP] if recipe.whole_views == 0 else [CROP, VIEW_WHOLE]


@torch.no_grad()
def photograph_statistics(
    features: FeatureExtractor, photographs: torch.Tensor, recipe: Recipe, precision: str = "float32"
) -> Statistics:
    """Return the mean statistics (C, S) of photographs of one class, by the kind of view and by layer.

    `features` looks at the layers that are matched. The photographs, (N, 3, H, W) in [0, 1] and as large as the dreams,
    are seen as those are: whole, or by `match_views` random crops of each, whose smallest area is the one that the
    recipe ends with; mirrored half the time if the dreams are.
    """
    statistic = layer_statistic(recipe, features.prefix)
    found: Statistics = {}
    for kind in view_kinds(recipe):
        sums: dict[str, torch.Tensor] = {}
        count = 0
        for phase, views in enumerate(_photograph_views(photographs, recipe, kind)):
            with autocast(precision, views.device):
                seen = features(views.contiguous(memory_format=torch.channels_last))
            for layer, activation in seen.layers.items():
                added = statistic(activation, (views.shape[-2], views.shape[-1]), phase).sum(dim=0)
                sums[layer] = added if layer not in sums else sums[layer] + added
            count += len(views)
        found[kind] = {layer: total / count for layer, total in sums.items()}
    return found


def references_like(
    features: FeatureExtractor, seen: ModelOutputs, recipe: Recipe, view: tuple[int, int]
) -> References:
    """Return references as large as those of photographs would be, from what a network saw in views of (height, width),
    to measure a step's memory without a photograph."""
    statistic = layer_statistic(recipe, features.prefix)
    compared = make_objective(recipe.objective, features.model).matched
    means = {layer: statistic(seen.layers[layer].detach(), view) for layer in compared}
    return References(recipe, dict.fromkeys(view_kinds(recipe), means), features.prefix, view)


def stack_statistics(statistics: Sequence[Statistics]) -> Statistics:
    """Return the statistics of several classes as those of a batch, (B, C, S)."""
    return {
        kind: {layer: torch.stack([each[kind][layer] for each in statistics]) for layer in layers}
        for kind, layers in statistics[0].items()
    }


def _photograph_views(photographs: torch.Tensor, recipe: Recipe, kind: str) -> Iterator[torch.Tensor]:
    """Yield the views of photographs, some at a time; their chance is the same for every class."""
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
            mirrored = torch.rand(len(batch), generator=rng) < (0.5 if recipe.flip else 0)
            yield torch.where(mirrored.to(views.device)[:, None, None, None], views.flip(-1), views)

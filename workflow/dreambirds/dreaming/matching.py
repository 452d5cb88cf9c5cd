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

from dreambirds.device import autocast
from dreambirds.dreaming.crops import WHOLE, draw_box, resized_crops
from dreambirds.dreaming.features import FeatureExtractor, make_objective
from dreambirds.dreaming.objectives import ModelOutputs
from dreambirds.dreaming.octaves import evaluation_shape
from dreambirds.dreaming.recipe import Recipe, last_value
from dreambirds.seeding import generator
from dreambirds.shapes import in_proportion

CROP, VIEW_WHOLE = "crop", "whole"
PIXELS = 16 * 224**2  # of photographs that are looked at together
TINY = 1e-12
BANDS = 0.4  # of half a side: where the regions `thirds` part; SMALL_BANDS on the smallest maps
CENTER = 0.62
SMALL_BANDS, SMALL_MAP = 0.5, 4
Statistics = dict[str, dict[str, torch.Tensor]]  # of each kind of view, for each layer


def sorted_activations(activations: torch.Tensor, regions: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return activations (B, C, P), sorted along the places of each region: (B, C, P), region after region."""
    ranks = [places[_argsort(activations.detach()[..., places])] for places in regions]
    return activations.gather(-1, torch.cat(ranks, dim=-1))


def _argsort(values: torch.Tensor) -> torch.Tensor:
    if values.device.type != "cpu":
        return values.argsort(dim=-1)
    return torch.from_numpy(np.argsort(values.numpy(), axis=-1))  # two to three times as fast as torch's


def moments(activations: torch.Tensor, regions: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the mean and the standard deviation of activations (B, C, P) over the places of each region, (B, C, 2
    regions): the cheap form."""
    parts = [activations[..., places] for places in regions]
    means = [part.mean(dim=-1) for part in parts]
    deviations = [(part.var(dim=-1, unbiased=False) + TINY).sqrt() for part in parts]
    return torch.stack([*means, *deviations], dim=-1)


STATISTICS: dict[str, Callable[[torch.Tensor, Sequence[torch.Tensor]], torch.Tensor]] = {
    "sorted": sorted_activations,
    "moments": moments,
}


@cache
def map_regions(kind: str, height: int, width: int) -> tuple[torch.Tensor, ...]:
    """Return the places of each region of a map, as indices of the flattened map; every place is in one region.

    `whole` is one region; `center` parts the center from the rest; `thirds` parts three bands of the height, each into
    the middle and the sides. On maps with fewer than four places a side, `thirds` is `center`, and on one with a single
    place all are `whole`.
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
    flat = number.flatten()
    return tuple((flat == region).nonzero()[:, 0] for region in flat.unique())


@dataclass(frozen=True)
class LayerStatistic:
    """How the activations of a layer are summarized: one of `STATISTICS`, over the regions of its map.

    `prefix` is how many tokens a transformer puts before those of the map; each of these is a region of its own.
    """

    kind: str
    regions: str
    prefix: int = 0

    def __call__(self, activation: torch.Tensor, view: tuple[int, int]) -> torch.Tensor:
        """Return the statistic (B, C, S) of an activation, (B, C, H, W), (B, tokens, C) or (B, C), of views of
        (height, width)."""
        if activation.ndim == 3:
            activation = activation.mT
        activations = activation.flatten(2) if activation.ndim > 2 else activation[..., None]
        places = activations.shape[-1]
        shape = activation.shape[2:] if activation.ndim == 4 else token_map(places, self.prefix, view)
        prefix = places - math.prod(shape)
        regions = [torch.tensor([place]) for place in range(prefix)]
        regions += [region + prefix for region in map_regions(self.regions, *shape)]
        return STATISTICS[self.kind](activations, [region.to(activation.device) for region in regions])


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
    over channels and places, (B,), and how the statistic is computed, for views of (height, width)."""

    mean: torch.Tensor
    variance: torch.Tensor
    statistic: LayerStatistic
    view: tuple[int, int]

    def distance(self, activation: torch.Tensor) -> torch.Tensor:
        """Return how far the statistic of an activation (B, ...) is from that of the photographs, (B,): the mean
        square, in units of the variance of theirs."""
        squares = (self.statistic(activation, self.view) - self.mean).square().mean(dim=(1, 2))
        return squares / self.variance

    def where(self, chosen: torch.Tensor, other: "LayerReference") -> "LayerReference":
        """Return this reference for the dreams that are chosen, bool (B,), and another one for the rest."""
        mean = torch.where(chosen[:, None, None], self.mean, other.mean)
        return replace(self, mean=mean, variance=torch.where(chosen, self.variance, other.variance))


class References:
    """What a network makes of the photographs of each dream's class, for a batch of dreams."""

    def __init__(self, recipe: Recipe, statistics: Statistics, prefix: int, shape: tuple[int, int]):
        """Take the statistics (B, C, S) that `photograph_statistics` returned, stacked, the transformer's tokens before
        those of the map, and the dreams' (height, width)."""
        statistic, view = (
            LayerStatistic(recipe.match_statistics, recipe.match_regions, prefix),
            view_shape(recipe, shape),
        )
        self.kinds = {
            kind: {
                layer: LayerReference(mean, mean.var(dim=(1, 2), unbiased=False).clamp(min=TINY), statistic, view)
                for layer, mean in layers.items()
            }
            for kind, layers in statistics.items()
        }

    def of(self, whole: Sequence[bool]) -> dict[str, LayerReference]:
        """Return the references of each layer, where it is told which of the dreams are seen whole."""
        crop, entire = self.kinds.get(CROP), self.kinds.get(VIEW_WHOLE)
        if crop is None or entire is None:
            return crop or entire or {}
        if all(whole) or not any(whole):
            return entire if whole[0] else crop
        cropped = ~torch.tensor(whole, device=next(iter(crop.values())).mean.device)
        return {layer: crop[layer].where(cropped, entire[layer]) for layer in crop}


def view_kinds(recipe: Recipe) -> list[str]:
    """Return the kinds of views that a recipe shows: ``crop``, ``whole``, or both."""
    if recipe.crop_area is None or recipe.whole_views == 1:
        return [VIEW_WHOLE]
    return [CROP] if recipe.whole_views == 0 else [CROP, VIEW_WHOLE]


def view_shape(recipe: Recipe, shape: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) at which dreams of a shape are shown, as the photographs are."""
    return evaluation_shape(recipe, shape)


@torch.no_grad()
def photograph_statistics(
    features: FeatureExtractor, photographs: torch.Tensor, recipe: Recipe, precision: str = "float32"
) -> Statistics:
    """Return the mean statistics (C, S) of photographs of one class, by the kind of view and by layer.

    `features` looks at the layers that are matched. The photographs, (N, 3, H, W) in [0, 1] and as large as the dreams,
    are seen as those are: whole, or by `match_views` random crops of each, whose smallest area is the one that the
    recipe ends with; mirrored half the time if the dreams are.
    """
    statistic = LayerStatistic(recipe.match_statistics, recipe.match_regions, features.prefix)
    found: Statistics = {}
    for kind in view_kinds(recipe):
        sums: dict[str, torch.Tensor] = {}
        count = 0
        for views in _photograph_views(photographs, recipe, kind):
            with autocast(precision, views.device):
                seen = features(views.contiguous(memory_format=torch.channels_last))
            for layer, activation in seen.layers.items():
                added = statistic(activation, (views.shape[-2], views.shape[-1])).sum(dim=0)
                sums[layer] = added if layer not in sums else sums[layer] + added
            count += len(views)
        found[kind] = {layer: total / count for layer, total in sums.items()}
    return found


def references_like(
    features: FeatureExtractor, seen: ModelOutputs, recipe: Recipe, view: tuple[int, int]
) -> References:
    """Return references as large as those of photographs would be, from what a network saw in views of (height, width),
    to measure a step's memory without a photograph."""
    statistic = LayerStatistic(recipe.match_statistics, recipe.match_regions, features.prefix)
    matched = make_objective(recipe.objective, features.model).matched
    means = {layer: statistic(seen.layers[layer].detach(), view) for layer in matched}
    return References(recipe, dict.fromkeys(view_kinds(recipe), means), features.prefix, view)


def stack_statistics(statistics: Sequence[Statistics]) -> Statistics:
    """Return the statistics of several classes as those of a batch, (B, C, S)."""
    return {
        kind: {layer: torch.stack([each[kind][layer] for each in statistics]) for layer in layers}
        for kind, layers in statistics[0].items()
    }


def _photograph_views(photographs: torch.Tensor, recipe: Recipe, kind: str) -> Iterator[torch.Tensor]:
    """Yield the views of photographs, some at a time; their chance is the same for every class."""
    shape = view_shape(recipe, (photographs.shape[-2], photographs.shape[-1]))
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

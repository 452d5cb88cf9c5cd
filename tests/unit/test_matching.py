"""Feature matching, compared with plain loops over channels and ranks."""

import math

import numpy as np
import pytest
import torch

from dreambirds.dreaming.matching import (
    LayerStatistic,
    References,
    Regions,
    map_regions,
    moments,
    sorted_activations,
    token_map,
)
from dreambirds.dreaming.objectives import ModelOutputs, Objective
from dreambirds.dreaming.recipe import Recipe
from tests.helpers.matching import distance_by_hand, parts_by_hand, statistic_by_hand
from tests.helpers.small import close, rand

KINDS = ("whole", "center", "thirds")
MAPS = {  # the regions of each shape and kind, one character per region
    (8, 8): {
        "center": ["aaaaaaaa"] * 2 + ["aabbbbaa"] * 4 + ["aaaaaaaa"] * 2,
        "thirds": ["aaabbaaa"] * 3 + ["cccddccc"] * 2 + ["eeeffeee"] * 3,
    },
    (4, 4): {"center": ["aaaa", "abba", "abba", "aaaa"], "thirds": ["abba", "cddc", "cddc", "effe"]},
    (3, 5): {"center": ["aaaaa", "abbba", "aaaaa"], "thirds": ["aaaaa", "abbba", "aaaaa"]},
    (1, 1): {"center": ["a"], "thirds": ["a"]},
}


def as_regions(parts: list[list[int]]) -> Regions:
    """Return regions as a `Regions`."""
    return Regions(torch.tensor([position for part in parts for position in part]), tuple(map(len, parts)))


def parts_of(kind: str, shape: tuple[int, int], prefix: int = 0) -> list[list[int]]:
    """Return the positions of each region of `map_regions`."""
    regions = map_regions(kind, *shape, prefix)
    assert sum(regions.sizes) == len(regions.order)
    return [part.tolist() for part in regions.order.split(regions.sizes)]


@pytest.mark.parametrize("shape", MAPS, ids=str)
def test_the_regions_of_small_maps_match_the_drawings(shape):
    for kind, drawn in MAPS[shape].items():
        characters = "".join(drawn)
        expected = {
            tuple(position for position, at in enumerate(characters) if at == character)
            for character in set(characters)
        }
        assert set(map(tuple, parts_of(kind, shape))) == expected, kind
    assert parts_of("whole", shape) == [list(range(math.prod(shape)))]


@pytest.mark.parametrize("kind", KINDS)
def test_every_position_of_a_map_is_in_one_region_and_regions_are_symmetric(kind):
    for height, width in [*np.ndindex(14, 14), (1, 49), (35, 35), (11, 31)]:
        shape = (height + 1, width + 1)
        regions = parts_of(kind, shape)
        assert sorted(position for region in regions for position in region) == list(range(math.prod(shape))) and all(
            regions
        ), shape
        number = np.empty(shape, int)
        for index, region in enumerate(regions):
            number.flat[region] = index
        assert (number == number[:, ::-1]).all(), shape
        assert kind == "thirds" or (number == number[::-1]).all(), shape


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(8, 8), (6, 10), (11, 11), (4, 7), (2, 9), (7, 1), (35, 34)], ids=str)
def test_regions_match_exact_fractions(kind, shape):
    found = parts_of(kind, shape)
    assert sorted(found) == sorted(parts_by_hand(kind, *shape))
    behind = [[position + 2 for position in part] for part in found]
    assert parts_of(kind, shape, prefix=2) == [[0], [1], *behind], "the prefix before the map"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(5, 6), (3, 5), (1, 1)], ids=str)
def test_activations_are_sorted_by_channel_within_each_region(kind, shape):
    activations, parts = rand(2, 3, math.prod(shape)) - 0.5, parts_by_hand(kind, *shape)
    found = sorted_activations(activations, as_regions(parts))
    for index in range(2):
        assert close(found[index], statistic_by_hand(activations[index].numpy(), parts))
    cheap = moments(activations, as_regions(parts))
    assert cheap.shape == (2, 3, 2 * len(parts))
    for index in range(2):
        assert close(cheap[index], statistic_by_hand(activations[index].numpy(), parts, "moments"), 1e-5)


def reference_of(mean: torch.Tensor, shape: tuple[int, int], kind: str = "sorted", regions: str = "whole", prefix=0):
    """Return the reference for mean statistics (B, C, S)."""
    statistics = {"whole": {"layer": mean}}
    recipe = Recipe(match_statistics=kind, match_regions=regions)
    return References(recipe, statistics, prefix, shape).for_full_images()["layer"]


@pytest.mark.parametrize("regions", KINDS)
@pytest.mark.parametrize("kind", ["sorted", "moments"])
def test_the_distance_equals_a_loop_over_channels_and_ranks(kind, regions):
    shape, parts = (5, 6), parts_by_hand(regions, 5, 6)
    size = 30 if kind == "sorted" else 2 * len(parts)
    activation, mean = rand(2, 3, *shape) - 0.3, rand(4, 3, size)[2:] * 3
    found = reference_of(mean, shape, kind, regions).distance(activation)
    for index in range(2):
        own = statistic_by_hand(activation[index].flatten(1).numpy(), parts, kind)
        assert found[index].item() == pytest.approx(distance_by_hand(own, mean[index].numpy()), rel=1e-6)
    seen = ModelOutputs(layers={"layer": activation}, references={"layer": reference_of(mean, shape, kind, regions)})
    score = Objective({"feature_match:layer": 0.5})(seen, torch.zeros(2, dtype=torch.long))
    assert close(score, -0.5 * found)


@pytest.mark.parametrize("regions", ["whole", "center"])
def test_its_gradient_points_to_the_activation_of_the_same_rank(regions):
    activation, mean = rand(1, 2, 4, 5).requires_grad_(True), rand(1, 2, 20) * 2
    (slope,) = torch.autograd.grad(reference_of(mean, (4, 5), regions=regions).distance(activation).sum(), activation)
    values, spread = activation.detach()[0].flatten(1).numpy(), mean.var(unbiased=False).item()
    for channel in range(2):
        begun = 0
        for part in parts_by_hand(regions, 4, 5):
            for rank, position in enumerate(sorted(part, key=lambda position: values[channel, position])):
                lack = values[channel, position] - mean[0, channel, begun + rank].item()
                assert slope[0, channel].flatten()[position].item() == pytest.approx(2 * lack / 40 / spread)
            begun += len(part)


def test_moments_have_a_finite_gradient_on_constant_activations():
    mean = rand(1, 2, 2)
    for activation in (rand(1, 2, 3, 3), torch.full((1, 2, 3, 3), 0.3, dtype=torch.float64)):
        activation = activation.requires_grad_(True)
        reference = reference_of(mean, (3, 3), "moments")
        (slope,) = torch.autograd.grad(reference.distance(activation).sum(), activation)
        assert slope.isfinite().all() and slope.abs().max() > 0
    assert torch.autograd.gradcheck(lambda given: reference.distance(given), rand(1, 2, 3, 3).requires_grad_(True))


def test_each_tied_activation_takes_one_of_the_tied_ranks():
    """The order of tied activations is undefined, but their total gradient is that of all their ranks."""
    activation = torch.tensor([[[0.0, 0.0, 1.0], [0.0, 2.0, 1.0]]], dtype=torch.float64)[None].requires_grad_(True)
    mean = torch.tensor([[[-1.0, 0.3, 0.5, 1.5, 2.5, 3.5]]], dtype=torch.float64)
    distance = reference_of(mean, (2, 3)).distance(activation)
    spread = mean.var(unbiased=False).item()
    squares = [1, 0.3**2, 0.5**2, 0.5**2, 1.5**2, 1.5**2]  # of 0, 0, 0, 1, 1, 2
    assert distance.item() == pytest.approx(sum(squares) / 6 / spread)
    (slope,) = torch.autograd.grad(distance.sum(), activation)
    drawn = (slope[0, 0] * 6 * spread / -2).flatten().tolist()  # the distances
    assert sorted([drawn[0], drawn[1], drawn[3]]) == pytest.approx([-1.0, 0.3, 0.5])
    assert sorted([drawn[2], drawn[5]]) == pytest.approx([0.5, 1.5]) and drawn[4] == pytest.approx(1.5)


def test_the_distance_is_in_units_of_the_variance_so_a_layer_s_scale_does_not_matter():
    activation, mean = rand(2, 3, 4, 4), rand(2, 3, 16).sort(dim=-1).values
    plain = reference_of(mean, (4, 4)).distance(activation)
    assert close(reference_of(1000 * mean, (4, 4)).distance(1000 * activation), plain)
    shifted = LayerStatistic("sorted", "whole")(activation, (4, 4)) + 0.5
    assert close(reference_of(shifted, (4, 4)).distance(activation), 0.25 / shifted.var(dim=(1, 2), unbiased=False))
    same = torch.full((1, 3, 16), 0.2, dtype=torch.float64)
    assert reference_of(same, (4, 4)).distance(activation[:1]).isfinite().all(), (
        "the photographs' statistics are constant"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_transformer_s_prefix_is_separate_and_its_map_has_the_view_s_aspect_ratio(kind):
    """Tokens are (B, prefix + 3 x 2, C), for a view of 48x32 pixels and patches of 16x16."""
    tokens = rand(2, 2 + 6, 5) - 0.5
    found = LayerStatistic("sorted", kind, prefix=2)(tokens, (48, 32))
    parts = [[0], [1], *([position + 2 for position in part] for part in parts_by_hand(kind, 3, 2))]
    assert found.shape == (2, 5, 8)
    for index in range(2):
        assert close(found[index], statistic_by_hand(tokens[index].T.numpy(), parts))


@pytest.mark.parametrize(
    ("tokens", "view", "grid"),
    [(100, (160, 160), (10, 10)), (15, (48, 80), (3, 5)), (15, (80, 48), (5, 3)), (1, (32, 32), (1, 1))]
    + [(7, (32, 32), (1, 7)), (12, (64, 48), (4, 3)), (2, (16, 32), (1, 2)), (256, (256, 256), (16, 16))],
    ids=str,
)
def test_the_map_of_tokens_has_the_view_s_aspect_ratio(tokens, view, grid):
    assert token_map(tokens, 0, view) == grid
    if grid != (1, tokens) or tokens < 3:
        assert token_map(tokens + 2, 2, view) == grid, "a prefix is not part of it"


@pytest.mark.parametrize("prefix", [0, 1, 2, 5])
def test_a_layer_without_positions_is_compared_by_channel_for_any_prefix(prefix):
    """The output of a head, (B, C), has no class token."""
    pooled = rand(2, 7)
    assert close(LayerStatistic("sorted", "center", prefix)(pooled, (32, 32)), pooled[..., None])


def test_tokens_of_the_map_alone_have_no_prefix():
    """Patch embeddings have no class token yet, and the tokens in CaiT's blocks never do."""
    tokens = rand(1, 16, 3)
    found = LayerStatistic("sorted", "center", prefix=1)(tokens, (64, 64))
    assert close(found[0], statistic_by_hand(tokens[0].T.numpy(), parts_by_hand("center", 4, 4)))

"""Feature matching, against plain loops over channels, ranks and photographs."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import timm
import torch

from dreambirds.dreaming import matching
from dreambirds.dreaming.crops import draw_box, resized_crops
from dreambirds.dreaming.dream import Dreamer
from dreambirds.dreaming.features import FeatureExtractor, auto_layers, find_layers, make_objective
from dreambirds.dreaming.matching import (
    LayerStatistic,
    References,
    Regions,
    map_regions,
    moments,
    photograph_statistics,
    references_like,
    sorted_activations,
    stack_statistics,
    token_map,
    view_kinds,
    view_shape,
)
from dreambirds.dreaming.objectives import ModelOutputs, Objective, needs_photographs, parse
from dreambirds.dreaming.recipe import Recipe
from dreambirds.dreaming.transforms import Transforms
from dreambirds.errors import UserError
from dreambirds.models.inference import prepare_for_inference
from tests.helpers.small import close, network, ramps, rand, settled, streams

KINDS = ("whole", "center", "thirds")
MAPS = {  # of each shape and kind: a letter for each region
    (8, 8): {
        "center": ["aaaaaaaa"] * 2 + ["aabbbbaa"] * 4 + ["aaaaaaaa"] * 2,
        "thirds": ["aaabbaaa"] * 3 + ["cccddccc"] * 2 + ["eeeffeee"] * 3,
    },
    (4, 4): {"center": ["aaaa", "abba", "abba", "aaaa"], "thirds": ["abba", "cddc", "cddc", "effe"]},
    (3, 5): {"center": ["aaaaa", "abbba", "aaaaa"], "thirds": ["aaaaa", "abbba", "aaaaa"]},
    (1, 1): {"center": ["a"], "thirds": ["a"]},
}


def parts_by_hand(kind: str, height: int, width: int) -> list[list[int]]:
    """Return the places of each region of a map, as the documentation defines them, in exact fractions."""
    small, parts = min(height, width) <= 4, {}
    for y, x in np.ndindex(height, width):
        down, across = (
            Fraction(2 * at - (side - 1), side - 1) if side > 1 else Fraction(0)
            for at, side in ((y, height), (x, width))
        )
        if kind == "whole" or height == width == 1:
            part = (0, 0)
        elif kind == "center" or min(height, width) < 4:
            part = (0, int(max(abs(down), abs(across)) > (Fraction(1, 2) if small else Fraction(62, 100))))
        else:
            edge = Fraction(1, 2) if small else Fraction(4, 10)
            part = ((abs(down) > edge) * (1 if down > 0 else -1), int(abs(across) > edge))
        parts.setdefault(part, []).append(y * width + x)
    return [parts[part] for part in sorted(parts)]


def statistic_by_hand(activations: np.ndarray, parts: list[list[int]], kind: str = "sorted") -> np.ndarray:
    """Return the statistic (C, S) of activations (C, P)."""
    rows = []
    for channel in activations:
        values = [[float(channel[place]) for place in part] for part in parts]
        if kind == "sorted":
            rows.append([value for part in values for value in sorted(part)])
        else:
            rows.append([float(np.mean(part)) for part in values] + [float(np.std(part)) for part in values])
    return np.array(rows)


def distance_by_hand(statistic: np.ndarray, mean: np.ndarray) -> float:
    """Return the mean square over channels and ranks, by the variance of what it is compared with."""
    total, middle, spread = 0.0, mean.sum() / mean.size, 0.0
    for channel, rank in np.ndindex(*mean.shape):
        total += (statistic[channel, rank] - mean[channel, rank]) ** 2
        spread += (mean[channel, rank] - middle) ** 2
    return (total / mean.size) / (spread / mean.size)


def as_regions(parts: list[list[int]]) -> Regions:
    """Return regions as the code has them."""
    return Regions(torch.tensor([place for part in parts for place in part]), tuple(map(len, parts)))


def parts_of(kind: str, shape: tuple[int, int], prefix: int = 0) -> list[list[int]]:
    """Return the places of each region, as the code has them."""
    regions = map_regions(kind, *shape, prefix)
    assert sum(regions.sizes) == len(regions.order)
    return [part.tolist() for part in regions.order.split(regions.sizes)]


@pytest.mark.parametrize("shape", MAPS, ids=str)
def test_small_maps_are_parted_as_they_are_drawn_here(shape):
    for kind, drawn in MAPS[shape].items():
        letters = "".join(drawn)
        expected = {tuple(place for place, at in enumerate(letters) if at == letter) for letter in set(letters)}
        assert set(map(tuple, parts_of(kind, shape))) == expected, kind
    assert parts_of("whole", shape) == [list(range(math.prod(shape)))]


@pytest.mark.parametrize("kind", KINDS)
def test_every_place_of_a_map_is_in_one_region_and_left_is_as_right(kind):
    for height, width in [*np.ndindex(14, 14), (1, 49), (35, 35), (11, 31)]:
        shape = (height + 1, width + 1)
        regions = parts_of(kind, shape)
        assert sorted(place for region in regions for place in region) == list(range(math.prod(shape))) and all(
            regions
        ), shape
        number = np.empty(shape, int)
        for place, region in enumerate(regions):
            number.flat[region] = place
        assert (number == number[:, ::-1]).all(), shape
        assert kind == "thirds" or (number == number[::-1]).all(), shape


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(8, 8), (6, 10), (11, 11), (4, 7), (2, 9), (7, 1), (35, 34)], ids=str)
def test_regions_are_those_of_exact_fractions(kind, shape):
    found = parts_of(kind, shape)
    assert sorted(found) == sorted(parts_by_hand(kind, *shape))
    behind = [[place + 2 for place in part] for part in found]
    assert parts_of(kind, shape, prefix=2) == [[0], [1], *behind], "what comes before the map"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(5, 6), (3, 5), (1, 1)], ids=str)
def test_activations_are_sorted_by_channel_within_each_region(kind, shape):
    activations, parts = rand(2, 3, math.prod(shape)) - 0.5, parts_by_hand(kind, *shape)
    found = sorted_activations(activations, as_regions(parts))
    for place in range(2):
        assert close(found[place], statistic_by_hand(activations[place].numpy(), parts))
    cheap = moments(activations, as_regions(parts))
    assert cheap.shape == (2, 3, 2 * len(parts))
    for place in range(2):
        assert close(cheap[place], statistic_by_hand(activations[place].numpy(), parts, "moments"), 1e-5)


def reference_of(mean: torch.Tensor, shape: tuple[int, int], kind: str = "sorted", regions: str = "whole", prefix=0):
    """Return what is compared with the mean statistics (B, C, S)."""
    statistics = {"whole": {"layer": mean}}
    recipe = Recipe(match_statistics=kind, match_regions=regions)
    return References(recipe, statistics, prefix, shape).of_whole()["layer"]


@pytest.mark.parametrize("regions", KINDS)
@pytest.mark.parametrize("kind", ["sorted", "moments"])
def test_the_distance_is_that_of_a_loop_over_channels_and_ranks(kind, regions):
    shape, parts = (5, 6), parts_by_hand(regions, 5, 6)
    size = 30 if kind == "sorted" else 2 * len(parts)
    activation, mean = rand(2, 3, *shape) - 0.3, rand(4, 3, size)[2:] * 3
    found = reference_of(mean, shape, kind, regions).distance(activation)
    for place in range(2):
        own = statistic_by_hand(activation[place].flatten(1).numpy(), parts, kind)
        assert found[place].item() == pytest.approx(distance_by_hand(own, mean[place].numpy()), rel=1e-6)
    seen = ModelOutputs(layers={"layer": activation}, references={"layer": reference_of(mean, shape, kind, regions)})
    score = Objective({"feature_match:layer": 0.5})(seen, torch.zeros(2, dtype=torch.long))
    assert close(score, -0.5 * found)


@pytest.mark.parametrize("regions", ["whole", "center"])
def test_its_gradient_draws_each_place_to_the_activation_of_its_rank(regions):
    activation, mean = rand(1, 2, 4, 5).requires_grad_(True), rand(1, 2, 20) * 2
    (slope,) = torch.autograd.grad(reference_of(mean, (4, 5), regions=regions).distance(activation).sum(), activation)
    values, spread = activation.detach()[0].flatten(1).numpy(), mean.var(unbiased=False).item()
    for channel in range(2):
        begun = 0
        for part in parts_by_hand(regions, 4, 5):
            for rank, place in enumerate(sorted(part, key=lambda place: values[channel, place])):
                lack = values[channel, place] - mean[0, channel, begun + rank].item()
                assert slope[0, channel].flatten()[place].item() == pytest.approx(2 * lack / 40 / spread)
            begun += len(part)


def test_moments_have_a_gradient_even_where_nothing_differs():
    mean = rand(1, 2, 2)
    for activation in (rand(1, 2, 3, 3), torch.full((1, 2, 3, 3), 0.3, dtype=torch.float64)):
        activation = activation.requires_grad_(True)
        reference = reference_of(mean, (3, 3), "moments")
        (slope,) = torch.autograd.grad(reference.distance(activation).sum(), activation)
        assert slope.isfinite().all() and slope.abs().max() > 0
    assert torch.autograd.gradcheck(lambda given: reference.distance(given), rand(1, 2, 3, 3).requires_grad_(True))


def test_of_tied_activations_each_takes_one_of_their_ranks():
    """Which of them takes which is open; together they are drawn to where all their ranks are."""
    activation = torch.tensor([[[0.0, 0.0, 1.0], [0.0, 2.0, 1.0]]], dtype=torch.float64)[None].requires_grad_(True)
    mean = torch.tensor([[[-1.0, 0.3, 0.5, 1.5, 2.5, 3.5]]], dtype=torch.float64)
    distance = reference_of(mean, (2, 3)).distance(activation)
    spread = mean.var(unbiased=False).item()
    squares = [1, 0.3**2, 0.5**2, 0.5**2, 1.5**2, 1.5**2]  # of 0, 0, 0, 1, 1, 2
    assert distance.item() == pytest.approx(sum(squares) / 6 / spread)
    (slope,) = torch.autograd.grad(distance.sum(), activation)
    drawn = (slope[0, 0] * 6 * spread / -2).flatten().tolist()  # to how far away
    assert sorted([drawn[0], drawn[1], drawn[3]]) == pytest.approx([-1.0, 0.3, 0.5])
    assert sorted([drawn[2], drawn[5]]) == pytest.approx([0.5, 1.5]) and drawn[4] == pytest.approx(1.5)


def test_the_unit_is_the_variance_so_that_a_layer_s_scale_does_not_count():
    activation, mean = rand(2, 3, 4, 4), rand(2, 3, 16).sort(dim=-1).values
    plain = reference_of(mean, (4, 4)).distance(activation)
    assert close(reference_of(1000 * mean, (4, 4)).distance(1000 * activation), plain)
    shifted = LayerStatistic("sorted", "whole")(activation, (4, 4)) + 0.5
    assert close(reference_of(shifted, (4, 4)).distance(activation), 0.25 / shifted.var(dim=(1, 2), unbiased=False))
    same = torch.full((1, 3, 16), 0.2, dtype=torch.float64)
    assert reference_of(same, (4, 4)).distance(activation[:1]).isfinite().all(), "nothing differs in the photographs"


@pytest.mark.parametrize("kind", KINDS)
def test_a_transformer_s_prefix_is_apart_and_its_map_is_that_of_the_view(kind):
    """Tokens (B, prefix + 3 x 2, C) of a view of 48x32 pixels, 16 a patch."""
    tokens = rand(2, 2 + 6, 5) - 0.5
    found = LayerStatistic("sorted", kind, prefix=2)(tokens, (48, 32))
    parts = [[0], [1], *([place + 2 for place in part] for part in parts_by_hand(kind, 3, 2))]
    assert found.shape == (2, 5, 8)
    for place in range(2):
        assert close(found[place], statistic_by_hand(tokens[place].T.numpy(), parts))


@pytest.mark.parametrize(
    ("tokens", "view", "grid"),
    [(100, (160, 160), (10, 10)), (15, (48, 80), (3, 5)), (15, (80, 48), (5, 3)), (1, (32, 32), (1, 1))]
    + [(7, (32, 32), (1, 7)), (12, (64, 48), (4, 3)), (2, (16, 32), (1, 2)), (256, (256, 256), (16, 16))],
    ids=str,
)
def test_the_tokens_of_a_map_lie_as_the_view_does(tokens, view, grid):
    assert token_map(tokens, 0, view) == grid
    if grid != (1, tokens) or tokens < 3:
        assert token_map(tokens + 2, 2, view) == grid, "a prefix is no part of it"


@pytest.mark.parametrize("prefix", [0, 1, 2, 5])
def test_a_layer_without_places_is_compared_by_channel_whatever_the_prefix(prefix):
    """What a head makes of a picture, (B, C), has no token of a class any more."""
    pooled = rand(2, 7)
    assert close(LayerStatistic("sorted", "center", prefix)(pooled, (32, 32)), pooled[..., None])


def test_tokens_of_the_map_alone_have_no_prefix():
    """A patch embedding gives them before the token of the class comes in front; in CaiT's blocks it is never there."""
    tokens = rand(1, 16, 3)
    found = LayerStatistic("sorted", "center", prefix=1)(tokens, (64, 64))
    assert close(found[0], statistic_by_hand(tokens[0].T.numpy(), parts_by_hand("center", 4, 4)))


class Watched:
    """Features that see the views themselves, and keep them."""

    prefix = 0

    def __init__(self):
        self.views = []

    def __call__(self, views: torch.Tensor) -> ModelOutputs:
        self.views.append(views)
        return ModelOutputs(layers={"view": views, "half": views[..., ::2]})


def by_kind(photographs: torch.Tensor, recipe: Recipe, views: dict[str, list[torch.Tensor]]) -> None:
    """Assert that the statistics are the means of those of single views."""
    found = photograph_statistics(Watched(), photographs, recipe)
    assert list(found) == list(views) and all(list(layers) == ["view", "half"] for layers in found.values())
    for kind, seen in views.items():
        for layer, shown in (("view", seen), ("half", [view[..., ::2] for view in seen])):
            parts = parts_by_hand(recipe.match_regions, *shown[0].shape[-2:])
            each = [statistic_by_hand(view.flatten(1).numpy(), parts, recipe.match_statistics) for view in shown]
            assert close(found[kind][layer], sum(each) / len(each), 1e-6), (kind, layer)


def crops_by_hand(monkeypatch, photographs: torch.Tensor, recipe: Recipe, side: tuple[int, int]) -> list[torch.Tensor]:
    """Return the crops, one photograph at a time, in the boxes that the code draws; how many, and how large, is
    checked."""
    drawn = []
    monkeypatch.setattr(matching, "draw_box", lambda *given: (drawn.append((given, draw_box(*given))), drawn[-1][1])[1])
    photograph_statistics(Watched(), photographs, recipe)
    monkeypatch.undo()
    assert len(drawn) == len(photographs) * recipe.match_views
    assert all(given[1:] == (0.3, recipe.crop_ratio) for given, _ in drawn), "the area in the end"
    order = [photographs[place % len(photographs)] for place in range(len(drawn))]
    return [resized_crops(each[None], [box], side)[0] for each, (_, box) in zip(order, drawn, strict=True)]


AREA = {"from": 1.0, "to": 0.3, "over": 9}


@pytest.mark.parametrize("regions", ["whole", "center"])
@pytest.mark.parametrize("kind", ["sorted", "moments"])
def test_statistics_are_the_means_of_one_photograph_after_the_other(monkeypatch, kind, regions):
    photographs, names = rand(3, 3, 12, 18), {"match_statistics": kind, "match_regions": regions}
    by_kind(photographs, Recipe(**names), {"whole": list(photographs)})
    small = [resized_crops(each[None], [(0, 0, 1, 1)], (8, 12))[0] for each in photographs]
    shown = {"crop_area": AREA, "crop_output_size": 8, "match_views": 5}
    by_kind(photographs, Recipe(whole_views=1, **shown, **names), {"whole": small})
    crops = crops_by_hand(monkeypatch, photographs, Recipe(**shown, **names), (8, 12))
    by_kind(photographs, Recipe(**shown, **names), {"crop": crops})
    by_kind(photographs, Recipe(whole_views=0.3, **shown, **names), {"crop": crops, "whole": small})


def test_photographs_are_mirrored_half_the_time_if_the_dreams_are():
    photographs = rand(3, 3, 6, 8)
    both = [*photographs, *photographs.flip(-1)]
    by_kind(photographs, Recipe(flip=0.5), {"whole": both})
    watched = Watched()
    recipe = Recipe(crop_area=0.3, crop_ratio=1.0, match_views=200, flip=0.5)
    found = photograph_statistics(watched, ramps(3, 8, 8), recipe)
    views = torch.cat(watched.views)
    assert len(views) == 600
    mirrored = views[:, 0, 4, 5] < views[:, 0, 4, 2]
    assert mirrored.double().mean().item() == pytest.approx(0.5, abs=0.06)
    assert [mirrored[place::3].double().mean().item() for place in range(3)] == pytest.approx([0.5] * 3, abs=0.11)
    assert close(found["crop"]["view"], views.flatten(2).sort(dim=-1).values.mean(dim=0))
    watched = Watched()
    photograph_statistics(watched, ramps(3, 8, 8), replace(recipe, flip=0.0))
    views = torch.cat(watched.views)
    assert not (views[:, 0, 4, 5] < views[:, 0, 4, 2]).any()


def test_chance_is_the_same_for_every_class_and_every_time():
    recipe = Recipe(crop_area=0.3, crop_output_size=16, match_views=2, flip=0.5)
    seen = []
    for photographs in (ramps(4, 8, 8), ramps(4, 8, 8), 2 * ramps(4, 8, 8)):
        watched = Watched()
        photograph_statistics(watched, photographs, recipe)
        seen.append(torch.cat(watched.views))
    assert torch.equal(seen[0], seen[1]) and close(2 * seen[0], seen[2])
    assert not close(seen[0][:4], seen[0][4:], 0.01) and not close(seen[0][0, :2], seen[0][1, :2], 0.01)


def test_many_photographs_are_looked_at_in_parts(monkeypatch):
    photographs = rand(5, 3, 6, 6)
    whole = photograph_statistics(Watched(), photographs, Recipe(flip=0.5))
    monkeypatch.setattr(matching, "PIXELS", 80)
    watched = Watched()
    parts = photograph_statistics(watched, photographs, Recipe(flip=0.5))
    assert {len(views) for views in watched.views} == {1, 2}
    assert close(whole["whole"]["view"], parts["whole"]["view"])


@pytest.mark.parametrize(
    ("recipe", "kinds"),
    [
        (Recipe(), ["whole"]),
        (Recipe(crop_area=0.5), ["crop"]),
        (Recipe(crop_area=0.5, whole_views=0.1), ["crop", "whole"]),
        (Recipe(crop_area=0.5, whole_views=1), ["whole"]),
    ],
    ids=["no crops", "crops", "both", "always whole"],
)
def test_photographs_are_seen_as_the_dreams_are(recipe, kinds):
    assert view_kinds(recipe) == kinds
    given = {kind: {"layer": rand(2, 3, 16) * (1 + place)} for place, kind in enumerate(kinds)}
    references = References(recipe, given, 0, (4, 4))
    for step in range(20):
        wanted = "whole" if "crop" not in kinds or ("whole" in kinds and step in (9, 19)) else "crop"
        assert torch.equal(references.at(step)["layer"].mean, given[wanted]["layer"])
    assert torch.equal(references.of_whole()["layer"].mean, given[kinds[-1]]["layer"])


def test_each_step_is_compared_with_the_kind_of_view_that_it_shows():
    crop, entire = rand(4, 3, 16), 5 * rand(8, 3, 16)[4:]
    references = References(
        Recipe(crop_area=0.5, whole_views=0.5), {"crop": {"x": crop}, "whole": {"x": entire}}, 0, (4, 4)
    )
    activation = rand(4, 3, 4, 4)
    for step, means in enumerate((crop, entire, crop, entire)):
        found = references.at(step)["x"].distance(activation)
        for place, mean in enumerate(means):
            own = statistic_by_hand(activation[place].flatten(1).numpy(), [list(range(16))])
            assert found[place].item() == pytest.approx(distance_by_hand(own, mean.numpy())), (step, place)
    nothing = References(Recipe(), {}, 0, (4, 4))
    assert nothing.at(0) == {} == nothing.of_whole(), "nothing is compared"


@pytest.mark.parametrize("kind", ["sorted", "moments"])
@pytest.mark.parametrize(("shape", "looked_at"), [((34, 37), (17, 18)), ((33, 35), (16, 17))], ids=str)
def test_of_large_maps_every_other_row_and_column_is_compared_and_in_other_phases_the_others(kind, shape, looked_at):
    activation, seen = rand(2, 3, *shape).requires_grad_(True), torch.zeros(shape)
    recipe = Recipe(match_statistics=kind, match_regions="thirds", match_stride=2)
    parts = parts_by_hand("thirds", *looked_at)
    size = math.prod(looked_at) if kind == "sorted" else 2 * len(parts)
    mean = 3 * rand(2, 3, size)
    references = References(recipe, {"whole": {"x": mean}}, 0, shape)
    for step in range(4):
        found = references.at(step)["x"].distance(activation)
        strided = activation.detach()[:, :, step // 2 :: 2, step % 2 :: 2][:, :, : looked_at[0], : looked_at[1]]
        for place in range(2):
            own = statistic_by_hand(strided[place].flatten(1).numpy(), parts, kind)
            assert found[place].item() == pytest.approx(distance_by_hand(own, mean[place].numpy()), rel=1e-6)
        (slope,) = torch.autograd.grad(found.sum(), activation)
        seen += slope.abs().sum(dim=(0, 1)).gt(0)
    assert torch.equal(seen[: 2 * looked_at[0], : 2 * looked_at[1]], torch.ones([2 * side for side in looked_at]))
    assert seen[2 * looked_at[0] :].sum() == 0 == seen[:, 2 * looked_at[1] :].sum()


@pytest.mark.parametrize("shape", [(16, 90), (90, 16), (5, 6)], ids=str)
def test_small_maps_are_compared_whole_whatever_the_stride(shape):
    activation, phases = rand(2, 3, *shape), (0, 1, 3)
    plain = LayerStatistic("sorted", "center")(activation, shape)
    strided = LayerStatistic("sorted", "center", stride=2)
    assert all(torch.equal(strided(activation, shape, phase), plain) for phase in phases)
    tokens = rand(2, 40 * 40, 3)
    assert torch.equal(strided(tokens, (40, 40), 1), LayerStatistic("sorted", "center")(tokens, (40, 40)))


@pytest.mark.parametrize("shape", [(48, 32), (24, 60), (32, 32)], ids=str)
def test_dreams_and_photographs_are_seen_at_one_size(shape):
    recipe = Recipe(crop_area=0.5, crop_output_size=20)
    seen = Transforms(recipe, streams("a"))(rand(1, 3, *shape), 0)
    assert tuple(seen.shape[-2:]) == view_shape(recipe, shape)


def test_a_dream_without_its_references_is_refused():
    with pytest.raises(UserError, match="objective: feature_match compares with photographs of the class"):
        Dreamer(network(), torch.tensor([0]), rand(1, 3, 12, 12), Recipe(objective="feature_match:0"), streams("a"))


def test_objectives_say_whether_they_compare_with_photographs():
    assert needs_photographs({"logit": 1.0, "feature_match": 0.1}) and needs_photographs("feature_match:50%")
    assert not needs_photographs({"logit": 1.0, "layer_l2:layer1": 0.1})
    (term,) = parse("feature_match")
    assert (term.kind, term.layer, term.channel) == ("feature_match", "auto", None)
    both = Objective({"logit": 1.0, "layer_l2:x": 0.5, "feature_match": 2.0, "feature_match:y": 1.0}, auto=["a", "b"])
    assert both.layers == ["x", "a", "b", "y"] and both.matched == {"a", "b", "y"} and both.logits
    for text in ("feature_match:", "feature_match:a:1", "feature_match:a:b"):
        with pytest.raises(UserError, match="must be written feature_match or feature_match:LAYER"):
            parse(text)


SWIN = {"img_size": 32, "window_size": 4, "embed_dim": 8, "depths": (1, 1), "num_heads": (1, 2)}
BLOCKS = [f"blocks.{place}" for place in range(6)]
STAGES = [f"stages.{place}" for place in range(4)]
MODELS = {  # its options, the shape of its pictures, its layers, and how their activations lie
    "test_resnet": ({}, (48, 32), ["act1", "layer1", "layer2", "layer3", "layer4"], "NCHW"),
    "test_efficientnet": ({}, (48, 32), ["conv_stem", *BLOCKS[:5], "conv_head"], "NCHW"),
    "test_convnext": ({}, (64, 96), ["stem.0", *STAGES], "NCHW"),
    "test_vit": ({"img_size": (64, 96)}, (64, 96), ["patch_embed.proj", *BLOCKS], "NLC"),
    "swin_tiny_patch4_window7_224": (SWIN, (32, 32), ["patch_embed.proj", "layers.0", "layers.1"], "NHWC"),
}


@pytest.fixture(params=MODELS, scope="module")
def known(request):
    """Return a small model of each kind in float64, the shape of its pictures, its layers, and how they lie."""
    options, shape, names, layout = MODELS[request.param]
    return settled(3, request.param, options, shape).double().requires_grad_(False), shape, names, layout


def activations_of(model, names: list[str], images: torch.Tensor, layout: str) -> dict[str, list]:
    """Return of each layer, for each image, its activations (C, P), and the shape of its map, by plain hooks."""
    heard = {}
    hooks = [
        model.network.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: heard.setdefault(name, output.clone())
        )
        for name in names
    ]
    model(images)
    for hook in hooks:
        hook.remove()
    found = {}
    for name, output in heard.items():
        if output.ndim == 4 and layout == "NHWC" and name != "patch_embed.proj":
            output = output.movedim(3, 1)
        elif output.ndim == 3:
            output = output.movedim(2, 1)
        shape = output.shape[2:] if output.ndim == 4 else tuple(side // 16 for side in images.shape[2:])
        found[name] = [(image.flatten(1).numpy(), shape) for image in output]
    return found


def test_auto_is_the_stem_the_stages_and_the_last_convolution(known):
    model, shape, names, _ = known
    assert auto_layers(model.network) == names == find_layers(model.network, "auto")
    objective = make_objective({"logit": 1.0, "feature_match": 1.0}, model)
    assert objective.layers == names and objective.matched == set(names)
    frozen = prepare_for_inference(model.float(), shape, torch.device("cpu"), True, set(names))
    model.double()
    assert auto_layers(frozen.network) == names, "whatever was folded"
    assert make_objective("logit", model).layers == []


@pytest.mark.parametrize("regions", ["whole", "center"])
def test_a_model_s_score_is_minus_the_distances_of_its_layers(known, regions):
    model, shape, names, layout = known
    photographs, dreams = rand(3, 3, *shape), rand(5, 3, *shape)[3:]
    recipe = Recipe(objective="feature_match", match_regions=regions)
    features = FeatureExtractor(model, names, logits=False)
    statistics = stack_statistics([photograph_statistics(features, photographs, recipe)] * 2)
    seen = features(dreams)
    seen.references = References(recipe, statistics, features.prefix, shape).at(0)
    found = make_objective("feature_match", model)(seen, torch.tensor([0, 1]))
    real, dreamt = (activations_of(model, names, images, layout) for images in (photographs, dreams))
    for place in range(2):
        total = 0.0
        for name in names:
            own, grid = dreamt[name][place]
            prefix = own.shape[1] - math.prod(grid)
            assert prefix == (1 if name.startswith("blocks") and layout == "NLC" else 0)
            parts = [[0]] * prefix
            parts += [[each + prefix for each in part] for part in parts_by_hand(regions, *grid)]
            each = [statistic_by_hand(activations, parts) for activations, _ in real[name]]
            total += distance_by_hand(statistic_by_hand(own, parts), sum(each) / len(each))
        assert found[place].item() == pytest.approx(-total, rel=1e-6)


def test_a_photograph_compared_with_itself_has_no_distance(known):
    model, shape, names, _ = known
    photograph, recipe = rand(1, 3, *shape), Recipe(objective="feature_match", match_regions="thirds")
    features = FeatureExtractor(model, names, logits=False)
    statistics = stack_statistics([photograph_statistics(features, photograph, recipe)])
    references = References(recipe, statistics, features.prefix, shape).of_whole()
    other = features(rand(2, 3, *shape)[1:]).layers
    for name, activation in features(photograph).layers.items():
        assert references[name].distance(activation).item() < 1e-12
        assert references[name].distance(other[name]).item() > 1e-6
    measured = references_like(features, features(photograph), recipe, shape).of_whole()
    assert {name: each.mean.shape for name, each in measured.items()} == {
        name: each.mean.shape for name, each in references.items()
    }


@pytest.mark.slow
def test_auto_is_known_of_inception():
    model = timm.create_model("inception_v4", num_classes=2).eval().requires_grad_(False)
    expected = ["features.0.conv", *(f"features.{place}" for place in (2, 3, 9, 17, 21))]
    assert auto_layers(model) == expected
    seen = FeatureExtractor(model, expected, logits=False)(torch.rand(1, 3, 96, 96))
    assert list(seen.layers) == expected


def test_the_stem_counts_once():
    """Timm lists the norm and activation of this stem as the first stage, so its convolution is not apart from that."""
    assert auto_layers(timm.create_model("mobilenetv3_small_050", num_classes=2))[:2] == ["bn1", "blocks.0"]


def test_of_cait_s_blocks_no_token_is_a_prefix():
    """Its class's token comes in only behind the blocks, though timm counts it."""
    small = {"img_size": 64, "depth": 1, "embed_dim": 8, "num_heads": 1}
    model = timm.create_model("cait_xxs24_224", num_classes=2, **small).eval().requires_grad_(False)
    features = FeatureExtractor(model, ["blocks.0"], logits=False)
    photographs = rand(2, 3, 64, 64).float()
    found = photograph_statistics(features, photographs, Recipe(match_regions="center"))["whole"]["blocks.0"]
    tokens = model.patch_embed(photographs) + model.pos_embed
    each = [statistic_by_hand(image.T.numpy(), parts_by_hand("center", 4, 4)) for image in model.blocks[0](tokens)]
    assert close(found, sum(each) / 2, 1e-5)


def test_a_model_whose_stages_timm_does_not_know_has_no_auto():
    with pytest.raises(UserError, match="timm lists no stages of this model, so 'auto' means nothing; name layers"):
        auto_layers(network())
    with pytest.raises(UserError, match="timm lists no stages of this model"):
        make_objective("feature_match", network())
    assert make_objective("feature_match:0", network()).layers == ["0"]

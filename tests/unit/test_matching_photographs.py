"""Statistics of photographs, compared with a loop over single views, and the views that are compared."""

import math
from dataclasses import replace

import pytest
import torch

from dreambirds.dreaming import matching
from dreambirds.dreaming.crops import draw_box, resized_crops
from dreambirds.dreaming.dream import Dreamer
from dreambirds.dreaming.matching import (
    LayerStatistic,
    References,
    photograph_statistics,
    view_types,
)
from dreambirds.dreaming.objectives import ModelOutputs, Objective, needs_photographs, parse
from dreambirds.dreaming.octaves import evaluation_shape
from dreambirds.dreaming.recipe import Recipe, turn_of
from dreambirds.dreaming.transforms import Transforms
from dreambirds.errors import UserError
from tests.helpers.matching import distance_by_hand, parts_by_hand, statistic_by_hand
from tests.helpers.small import close, network, ramps, rand, streams


class Watched:
    """A feature extractor whose layers are the views, which it keeps."""

    prefix = 0

    def __init__(self):
        self.views = []

    def __call__(self, views: torch.Tensor) -> ModelOutputs:
        self.views.append(views)
        return ModelOutputs(layers={"view": views, "half": views[..., ::2]})


def by_kind(photographs: torch.Tensor, recipe: Recipe, views: dict[str, list[torch.Tensor]]) -> None:
    """Assert that the statistics are the means over single views."""
    found = photograph_statistics(Watched(), photographs, recipe)
    assert list(found) == list(views) and all(list(layers) == ["view", "half"] for layers in found.values())
    for kind, seen in views.items():
        for layer, shown in (("view", seen), ("half", [view[..., ::2] for view in seen])):
            regions = (kind == "crop" and recipe.match_crop_regions) or recipe.match_regions
            parts = parts_by_hand(regions, *shown[0].shape[-2:])
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
    assert all(given[1:] == (0.3, recipe.crop_ratio) for given, _ in drawn), "the final area"
    order = [photographs[index % len(photographs)] for index in range(len(drawn))]
    return [resized_crops(each[None], [box], side)[0] for each, (_, box) in zip(order, drawn, strict=True)]


AREA = {"from": 1.0, "to": 0.3, "over": 9}


@pytest.mark.parametrize("regions", ["whole", "center"])
@pytest.mark.parametrize("kind", ["sorted", "moments"])
def test_statistics_equal_means_over_photographs_one_at_a_time(monkeypatch, kind, regions):
    photographs, names = rand(3, 3, 12, 18), {"match_statistics": kind, "match_regions": regions}
    by_kind(photographs, Recipe(**names), {"whole": list(photographs)})
    small = [resized_crops(each[None], [(0, 0, 1, 1)], (8, 12))[0] for each in photographs]
    shown = {"crop_area": AREA, "crop_output_size": 8, "match_views": 5}
    by_kind(photographs, Recipe(whole_views=1, **shown, **names), {"whole": small})
    crops = crops_by_hand(monkeypatch, photographs, Recipe(**shown, **names), (8, 12))
    by_kind(photographs, Recipe(**shown, **names), {"crop": crops})
    by_kind(photographs, Recipe(whole_views=0.3, **shown, **names), {"crop": crops, "whole": small})
    by_kind(
        photographs,
        Recipe(whole_views=0.3, match_crop_regions="thirds", **shown, **names),
        {"crop": crops, "whole": small},
    )


def test_photographs_are_flipped_half_the_time_if_dreams_are_flipped():
    photographs = rand(3, 3, 6, 8)
    both = [*photographs, *photographs.flip(-1)]
    by_kind(photographs, Recipe(flip=0.5), {"whole": both})
    watched = Watched()
    recipe = Recipe(crop_area=0.3, crop_ratio=1.0, match_views=200, flip=0.5)
    found = photograph_statistics(watched, ramps(3, 8, 8), recipe)
    views = torch.cat(watched.views)
    assert len(views) == 600
    flipped = views[:, 0, 4, 5] < views[:, 0, 4, 2]
    assert flipped.double().mean().item() == pytest.approx(0.5, abs=0.06)
    assert [flipped[index::3].double().mean().item() for index in range(3)] == pytest.approx([0.5] * 3, abs=0.11)
    assert close(found["crop"]["view"], views.flatten(2).sort(dim=-1).values.mean(dim=0))
    watched = Watched()
    photograph_statistics(watched, ramps(3, 8, 8), replace(recipe, flip=0.0))
    views = torch.cat(watched.views)
    assert not (views[:, 0, 4, 5] < views[:, 0, 4, 2]).any()


def test_random_draws_are_the_same_for_every_class_and_call():
    recipe = Recipe(crop_area=0.3, crop_output_size=16, match_views=2, flip=0.5)
    seen = []
    for photographs in (ramps(4, 8, 8), ramps(4, 8, 8), 2 * ramps(4, 8, 8)):
        watched = Watched()
        photograph_statistics(watched, photographs, recipe)
        seen.append(torch.cat(watched.views))
    assert torch.equal(seen[0], seen[1]) and close(2 * seen[0], seen[2])
    assert not close(seen[0][:4], seen[0][4:], 0.01) and not close(seen[0][0, :2], seen[0][1, :2], 0.01)


def test_many_photographs_are_processed_in_batches(monkeypatch):
    photographs = rand(5, 3, 6, 6)
    whole = photograph_statistics(Watched(), photographs, Recipe(flip=0.5))
    monkeypatch.setattr(matching, "PIXELS", 80)
    watched = Watched()
    parts = photograph_statistics(watched, photographs, Recipe(flip=0.5))
    assert {len(views) for views in watched.views} == {1, 2}
    assert close(whole["whole"]["view"], parts["whole"]["view"])


def test_full_images_of_the_first_steps_need_both_types_of_views():
    assert view_types(Recipe(crop_area=0.5, whole_views=1, whole_steps=3)) == ["crop", "whole"]


@pytest.mark.parametrize(
    ("recipe", "kinds"),
    [
        (Recipe(), ["whole"]),
        (Recipe(crop_area=0.5), ["crop"]),
        (Recipe(crop_area=0.5, whole_views=0.1), ["crop", "whole"]),
        (Recipe(crop_area=0.5, whole_views=1), ["whole"]),
    ],
    ids=["no crops", "crops", "both", "always full"],
)
def test_views_of_photographs_are_those_of_the_dreams(recipe, kinds):
    assert view_types(recipe) == kinds
    given = {kind: {"layer": rand(2, 3, 16) * (1 + index)} for index, kind in enumerate(kinds)}
    references = References(recipe, given, 0, (4, 4))
    for step in range(20):
        kind = "whole" if "crop" not in kinds or ("whole" in kinds and step in (9, 19)) else "crop"
        assert torch.equal(references.at(step, turn_of(recipe, step))["layer"].mean, given[kind]["layer"])
    assert torch.equal(references.for_full_images()["layer"].mean, given[kinds[-1]]["layer"])


def test_each_step_is_compared_with_its_type_of_view():
    crop, entire = rand(4, 3, 16), 5 * rand(8, 3, 16)[4:]
    recipe = Recipe(crop_area=0.5, whole_views=0.5)
    references = References(recipe, {"crop": {"x": crop}, "whole": {"x": entire}}, 0, (4, 4))
    activation = rand(4, 3, 4, 4)
    for step, means in enumerate((crop, entire, crop, entire)):
        found = references.at(step, turn_of(recipe, step))["x"].distance(activation)
        for index, mean in enumerate(means):
            own = statistic_by_hand(activation[index].flatten(1).numpy(), [list(range(16))])
            assert found[index].item() == pytest.approx(distance_by_hand(own, mean.numpy())), (step, index)
    nothing = References(Recipe(), {}, 0, (4, 4))
    assert nothing.at(0, 0) == {} == nothing.for_full_images(), "nothing is compared"


def test_crops_are_compared_in_other_regions_than_full_images():
    means, activation = {"crop": rand(1, 3, 25), "whole": rand(2, 3, 25)[1:]}, rand(1, 3, 5, 5)
    recipe = Recipe(crop_area=0.5, whole_views=0.5, match_regions="thirds", match_crop_regions="center")
    references = References(recipe, {kind: {"x": mean} for kind, mean in means.items()}, 0, (5, 5))
    for step, (kind, regions) in enumerate((("crop", "center"), ("whole", "thirds"))):
        found = references.at(step, turn_of(recipe, step))["x"].distance(activation)
        own = statistic_by_hand(activation[0].flatten(1).numpy(), parts_by_hand(regions, 5, 5))
        assert found.item() == pytest.approx(distance_by_hand(own, means[kind][0].numpy())), kind


@pytest.mark.parametrize("kind", ["sorted", "moments"])
@pytest.mark.parametrize(("shape", "compared"), [((34, 37), (17, 18)), ((33, 35), (16, 17))], ids=str)
def test_every_other_row_and_column_of_a_large_map_is_compared_in_alternating_phases(kind, shape, compared):
    activation, seen = rand(2, 3, *shape).requires_grad_(True), torch.zeros(shape)
    recipe = Recipe(match_statistics=kind, match_regions="thirds", match_stride=2)
    parts = parts_by_hand("thirds", *compared)
    size = math.prod(compared) if kind == "sorted" else 2 * len(parts)
    mean = 3 * rand(2, 3, size)
    references = References(recipe, {"whole": {"x": mean}}, 0, shape)
    for step in range(4):
        found = references.at(step, turn_of(recipe, step))["x"].distance(activation)
        strided = activation.detach()[:, :, step // 2 :: 2, step % 2 :: 2][:, :, : compared[0], : compared[1]]
        for index in range(2):
            own = statistic_by_hand(strided[index].flatten(1).numpy(), parts, kind)
            assert found[index].item() == pytest.approx(distance_by_hand(own, mean[index].numpy()), rel=1e-6)
        (slope,) = torch.autograd.grad(found.sum(), activation)
        seen += slope.abs().sum(dim=(0, 1)).gt(0)
    assert torch.equal(seen[: 2 * compared[0], : 2 * compared[1]], torch.ones([2 * side for side in compared]))
    assert seen[2 * compared[0] :].sum() == 0 == seen[:, 2 * compared[1] :].sum()


@pytest.mark.parametrize("shape", [(16, 90), (90, 16), (5, 6)], ids=str)
def test_small_maps_are_not_subsampled(shape):
    activation, phases = rand(2, 3, *shape), (0, 1, 3)
    plain = LayerStatistic("sorted", "center")(activation, shape)
    strided = LayerStatistic("sorted", "center", stride=2)
    assert all(torch.equal(strided(activation, shape, phase), plain) for phase in phases)
    tokens = rand(2, 40 * 40, 3)
    assert torch.equal(strided(tokens, (40, 40), 1), LayerStatistic("sorted", "center")(tokens, (40, 40)))


@pytest.mark.parametrize("shape", [(48, 32), (24, 60), (32, 32)], ids=str)
def test_views_of_dreams_and_photographs_have_the_same_size(shape):
    recipe = Recipe(crop_area=0.5, crop_output_size=20)
    seen = Transforms(recipe, streams("a"))(rand(1, 3, *shape), 0)
    assert tuple(seen.shape[-2:]) == evaluation_shape(recipe, shape)


def test_a_dream_without_its_references_is_refused():
    with pytest.raises(UserError, match="objective: feature_match needs photographs of the class"):
        Dreamer(network(), torch.tensor([0]), rand(1, 3, 12, 12), Recipe(objective="feature_match:0"), streams("a"))


def test_which_objectives_need_photographs():
    assert needs_photographs({"logit": 1.0, "feature_match": 0.1}) and needs_photographs("feature_match:50%")
    assert not needs_photographs({"logit": 1.0, "layer_l2:layer1": 0.1})
    (term,) = parse("feature_match")
    assert (term.kind, term.layer, term.channel) == ("feature_match", "auto", None)
    both = Objective({"logit": 1.0, "layer_l2:x": 0.5, "feature_match": 2.0, "feature_match:y": 1.0}, auto=["a", "b"])
    assert both.layers == ["x", "a", "b", "y"] and both.matched == {"a", "b", "y"} and both.logits
    for text in ("feature_match:", "feature_match:a:1", "feature_match:a:b"):
        with pytest.raises(UserError, match="must have the form feature_match or feature_match:LAYER"):
            parse(text)

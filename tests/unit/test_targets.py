"""Targets that are not classes: their scores against plain loops, and dreams of them."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from dreambirds.dreaming.dream import dream
from dreambirds.dreaming.network import Member
from dreambirds.dreaming.objectives import ModelOutputs, Objective, scores_target
from dreambirds.dreaming.recipe import Recipe
from dreambirds.dreaming.targets import MIDDLE, Targets, as_targets
from dreambirds.errors import UserError
from tests.helpers.small import FOURIER, RICH, SQUARE, close, network, rand, streams

PLAIN = Recipe("cross_entropy", steps=(5,), step_size=0.5)


def units(indices, weights=None, layer="3", position=None) -> Targets:
    """Return targets with weights of 1, or other ones."""
    given = torch.tensor(indices)
    return Targets(given, torch.ones(given.shape) if weights is None else torch.tensor(weights), layer, position)


def dreamt(targets, recipe=PLAIN, keys="ab", model=None, **more):
    """Dream of targets with the small network, each from its own start image."""
    return dream(model or network(), targets, rand(5, 3, *SQUARE)[: len(keys)], recipe, streams(keys), **more)


def by_hand(activation, row: int, channels: dict[int, float], position=None) -> float:
    """Return the weighted sum over channels of the mean activation, or of that at a position, with plain loops."""
    total = 0.0
    for channel, weight in channels.items():
        values = []
        for y in range(activation.shape[2]):
            for x in range(activation.shape[3]):
                if position in (None, (y, x)):
                    values.append(float(activation[row, channel, y, x]))
        total += weight * sum(values) / len(values)
    return total


@pytest.mark.parametrize(("position", "at"), [(None, None), ((1, 2), (1, 2)), (MIDDLE, (2, 1))])
def test_scores_of_channels_neurons_and_directions_are_those_of_plain_loops(position, at):
    activation = rand(3, 4, 5, 3) - 0.4
    rows = [{0: 1.0, 2: -0.5}, {3: 0.25, 1: 0.75}, {2: 1.0, 0: 0.0}]
    targets = units([list(row) for row in rows], [list(row.values()) for row in rows], position=position)
    own = [by_hand(activation, row, channels, at) for row, channels in enumerate(rows)]
    assert close(targets.score(activation), torch.tensor(own, dtype=torch.float64), 1e-12)
    for row, scores in enumerate(targets.scores_of_all(activation)):
        expected = [by_hand(activation, row, channels, at) for channels in rows]
        assert close(scores, torch.tensor(expected, dtype=torch.float64), 1e-12)


def test_channels_are_the_last_axis_of_tokens_and_of_vectors():
    tokens = rand(2, 7, 4)
    assert close(units([[1], [3]]).score(tokens), torch.stack([tokens[0, :, 1].mean(), tokens[1, :, 3].mean()]), 1e-12)
    assert units([[1], [3]], position=(6,)).score(tokens).tolist() == [tokens[0, 6, 1], tokens[1, 6, 3]]
    vectors = rand(2, 4)
    assert units([[1], [3]]).score(vectors).tolist() == [vectors[0, 1], vectors[1, 3]]


def test_a_channel_or_a_position_that_does_not_exist_is_an_error():
    with pytest.raises(UserError, match="objective: the layer '3' has no channel 4; choose 0 to 3"):
        units([[4]]).score(rand(1, 4, 5, 5))
    with pytest.raises(
        UserError, match=r"the layer '3' has no position \(5, 0\); choose one in its map of shape \(5, 6\)"
    ):
        units([[1]], position=(5, 0)).score(rand(1, 4, 5, 6))
    with pytest.raises(UserError, match=r"has no position \(1, 1\); choose one in its map of shape \(7,\)"):
        units([[1]], position=(1, 1)).score(rand(1, 7, 4))


@pytest.mark.parametrize("kind", ["logit", "cross_entropy", "probability", "margin"])
@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_the_score_between_classes_is_the_weighted_sum_of_theirs(kind, head):
    seen, objective = ModelOutputs(rand(2, 5) * 3), Objective(kind, head=head)
    one, other = (objective(seen, torch.tensor(classes)) for classes in ([0, 3], [4, 1]))
    mixed = Targets(torch.tensor([[0, 4], [3, 1]]), torch.tensor([[0.75, 0.25], [0.5, 0.5]]))
    expected = torch.stack([0.75 * one[0] + 0.25 * other[0], 0.5 * one[1] + 0.5 * other[1]])
    assert close(objective(seen, mixed), expected, 1e-12)


def test_units_replace_the_score_of_a_class_and_no_other_term():
    seen = ModelOutputs(layers={"3": rand(2, 4, 3, 3), "0": rand(2, 6, 3, 3)})
    objective = Objective({"logit": 2.0, "layer_l2:0": 0.5}, target_layer="3")
    assert objective.layers == ["3", "0"] and not objective.logits
    expected = 2 * torch.stack([seen.layers["3"][0, 2].mean(), seen.layers["3"][1, 0].mean()])
    expected += 0.5 * seen.layers["0"].square().flatten(1).mean(dim=1) / 2
    assert close(objective(seen, units([[2], [0]])), expected, 1e-12)
    assert scores_target({"logit": 1.0, "layer_l2:0": 1.0}) and not scores_target("layer_l2:0")
    assert Objective("layer_l2:0", target_layer="3").layers == ["0"], "without the score of a class there is no target"


@pytest.mark.parametrize("recipe", [PLAIN, RICH, FOURIER], ids=["plain", "rich", "fourier"])
def test_a_dream_of_a_channel_is_that_of_the_objective_of_this_channel(recipe):
    """The layer's score takes the place of that of the class; the class of the second dream does not matter."""
    recipe = replace(recipe, objective="logit", steps=(5,))
    for position, objective in ((None, "channel:3:2"), (MIDDLE, "neuron:3:2")):
        target = dreamt(units([[2], [2]], position=position), recipe)
        named = dreamt(torch.tensor([0, 1]), replace(recipe, objective=objective))
        assert torch.equal(target.snapshots[5], named.snapshots[5])
        assert torch.equal(target.trace.loss, named.trace.loss)


def test_the_metrics_of_a_channel_are_its_activation_and_the_predicted_class():
    model, targets = network(), units([[2], [1]])
    result = dreamt(targets, model=model)
    image = result.snapshots[5].double()
    expected = model[:4](image)[range(2), [2, 1]].mean(dim=(1, 2))
    metrics = result.metrics[5]
    assert close(metrics.logit, expected, 1e-5) and close(metrics.loss, -expected, 1e-5)
    assert metrics.probability.isnan().all()
    assert metrics.prediction.tolist() == model(image).argmax(dim=1).tolist()
    assert close(result.trace.logit[:, -1], expected, 1e-5) and (result.trace.logit.diff(dim=1) > 0).all()
    assert result.trace.prediction[:, 0].isnan().all(), "the forward pass stops at the layer"


def test_between_classes_only_the_prediction_is_known_and_the_ends_are_the_classes():
    mixed = Targets(torch.tensor([[0, 4], [0, 4]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    one, ends = dreamt(torch.tensor([0, 4])), dreamt(mixed)
    assert close(ends.snapshots[5], one.snapshots[5], 1e-6) and close(ends.metrics[5].logit, one.metrics[5].logit, 1e-6)
    assert ends.metrics[5].probability.isnan().all() and not ends.metrics[5].prediction.isnan().any()
    assert not one.metrics[5].probability.isnan().any() and as_targets(torch.tensor([0])).are_classes


def test_a_direction_of_several_channels_is_followed_by_its_gradient():
    weights = [[0.6, -0.8, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0]]
    targets = units([[0, 1, 2, 3]] * 2, weights)
    model, images = network(), rand(2, 3, *SQUARE)
    for _ in range(5):
        images = images.detach().requires_grad_(True)
        means = model[:4](images).mean(dim=(2, 3))
        score = sum(means[row, channel] * weights[row][channel] for row in range(2) for channel in range(4))
        (slope,) = torch.autograd.grad(score, images)
        images = (images.detach() + 0.5 * slope).clamp(0, 1)
    assert close(dreamt(targets).snapshots[5], images, 1e-6)


def test_units_of_a_batch_do_not_affect_each_other():
    recipe = replace(RICH, objective="logit", steps=(5,))
    together = dreamt(units([[2], [0]]), recipe)
    alone = dream(network(), units([[0]]), rand(5, 3, *SQUARE)[1:2], recipe, streams("b"))
    assert close(together.snapshots[5][1:], alone.snapshots[5], 1e-6)


def test_views_tiles_and_networks_that_take_turns_know_their_own_units():
    crops = replace(FOURIER, crops=3, crop_size=0.6, crop_output_size=10, objective="logit", steps=(3,))
    result = dreamt(units([[2], [1]]), crops)
    assert result.trace.logit.shape == (2, 4) and not result.trace.logit.isnan().any()
    own, other = units([[2], [1]]), units([[0], [3]], layer="0")
    first = dreamt(own, committee=[Member(network(), other)])
    plain = dreamt(own)
    assert not torch.equal(first.snapshots[5], plain.snapshots[5])
    assert first.trace.logit[:, 1].isnan().all(), "the step of the other network"


def test_a_layer_without_the_channels_fails_before_the_first_step():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).double().eval()
    with pytest.raises(UserError, match="the model has no layer 'none'"):
        dreamt(units([[1], [0]], layer="none"), model=model)
    with pytest.raises(UserError, match="the layer '0' has no channel 4"):
        dreamt(units([[4], [0]], layer="0"), model=model)

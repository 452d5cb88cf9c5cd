"""Dreams of networks that take turns, compared with plain loops."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from dreambirds.dreaming import matching
from dreambirds.dreaming.dream import dream
from dreambirds.dreaming.network import Member
from dreambirds.dreaming.recipe import Recipe
from dreambirds.errors import UserError
from tests.helpers.small import SQUARE, close, network, rand, streams

PLAIN = Recipe("cross_entropy", steps=(6,), step_size=0.5)
MATCH = replace(PLAIN, objective={"logit": 1.0, "feature_match:0": 0.7, "feature_match:2": 0.7}, match_stride=2)
TARGETS = torch.tensor([0, 3])
OWN_METRICS = ("loss", "logit", "probability", "prediction")


def other(head: str = "softmax") -> nn.Module:
    """Return a second network, with other weights and seven classes."""
    torch.manual_seed(5)
    layers = [nn.Conv2d(3, 5, 3, padding=1), nn.Tanh(), nn.Conv2d(5, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(3)]
    built = nn.Sequential(*layers, nn.Flatten(), nn.Linear(36, 7)).double().eval().requires_grad_(False)
    built.head = head
    return built


def statistics(channels: dict[str, int], kinds=("whole",), positions: int = 144) -> matching.Statistics:
    """Return statistics of photographs for layers with so many channels."""
    return {
        kind: {layer: rand(2, count, positions).sort(dim=-1).values * (index + 1) for layer, count in channels.items()}
        for index, kind in enumerate(kinds)
    }


def run(recipe: Recipe, committee=(), references=None, start=None, model=None):
    """Dream of two classes with the small network, and a committee."""
    starts = rand(2, 3, *SQUARE) if start is None else start
    return dream(model or network(), TARGETS, starts, recipe, streams("ab"), references=references, committee=committee)


def by_hand(scores, steps: int, order: list[int]) -> list[torch.Tensor]:
    """Return the images after each step of plain gradient ascent; step s increases the score of ``order[s]``."""
    images = [rand(2, 3, *SQUARE)]
    for step in range(steps):
        image = images[-1].detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(scores[order[step]](image).sum(), image)
        images.append((image.detach() + 0.5 * slope).clamp(0, 1))
    return images


def scores_of(models, targets):
    """Return functions from images to the log probability of each image's class, for a softmax and a sigmoid."""

    def score(model, target):
        def of(images):
            logits = model(images)
            if getattr(model, "head", None) == "sigmoid":
                return logits.sigmoid().log()[range(2), target]
            return logits.softmax(dim=1).log()[range(2), target]

        return of

    return [score(model, target) for model, target in zip(models, targets, strict=True)]


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_networks_with_other_heads_and_orders_of_classes_take_turns_step_by_step(head):
    models, targets = [network(), other(head), other("softmax")], [TARGETS, torch.tensor([6, 2]), torch.tensor([1, 1])]
    committee = [Member(model, target) for model, target in zip(models[1:], targets[1:], strict=True)]
    scores = scores_of(models, targets)
    for count in (1, 2, 3):
        order = [step % count for step in range(6)]
        images, result = by_hand(scores, 6, order), run(PLAIN, committee[: count - 1])
        assert close(result.snapshots[6], images[-1], 1e-6), count
        for step, network_number in enumerate([*order, 0]):
            measured = (network_number == 0) or step == 6
            expected = -scores[0](images[step]) if measured else torch.full((2,), torch.nan)
            assert close(result.trace.loss[:, step], expected, 1e-6), (count, step)
            logits = models[0](images[step])
            for metric, value in (("logit", logits[range(2), TARGETS]), ("prediction", logits.argmax(dim=1))):
                found = getattr(result.trace, metric)[:, step]
                assert close(found, value if measured else torch.full((2,), torch.nan), 1e-6), metric
            change = (images[step] - images[0]).abs().mean(dim=(1, 2, 3))
            assert close(result.trace.mean_abs_change[:, step], change, 1e-6)
        assert close(result.metrics[6].loss, -scores[0](images[-1]), 1e-6), "snapshots are those of the dreamer"


def test_a_committee_of_the_same_network_equals_the_network_alone():
    for recipe in (
        replace(PLAIN, flip=0.5, jitter=2, tv_weight=0.01),
        replace(PLAIN, tile=7, octaves=2, octave_steps=3),
    ):
        alone, together = run(recipe), run(recipe, [Member(network(), TARGETS)] * 2)
        assert torch.equal(alone.snapshots[6], together.snapshots[6])
        own = [step for step in range(7) if step % 3 == 0]
        assert all(
            torch.equal(getattr(alone.trace, each)[:, own], getattr(together.trace, each)[:, own])
            for each in OWN_METRICS
        )


class Turns:
    """The network, step and phase of each step of a dream."""

    def __init__(self, monkeypatch):
        self.seen, at = [], matching.References.at

        def recorded(references, step, phase):
            self.seen.append((references, step, phase))
            return at(references, step, phase)

        monkeypatch.setattr(matching.References, "at", recorded)

    def numbered(self) -> list[tuple[int, int, int]]:
        """Return the number of the network, in order of appearance, the step, and the phase of each step."""
        known: list = []
        for references, _, _ in self.seen:
            known += [references] * (not any(each is references for each in known))
        return [
            (next(n for n, each in enumerate(known) if each is mine), step, phase) for mine, step, phase in self.seen
        ]


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_every_network_sees_both_types_of_views_in_all_phases(monkeypatch, share):
    turns, recipe = Turns(monkeypatch), replace(PLAIN, steps=(24,), crop_area=0.5, whole_views=share)
    run(recipe, [Member(other(), TARGETS)])
    counts = {"whole": 0, "crop": 0}
    for number, step, phase in turns.numbered():
        kind = "whole" if int((step + 1) * share + 1e-9) > int(step * share + 1e-9) else "crop"
        assert (number, phase) == (counts[kind] % 2, counts[kind] // 2), step
        counts[kind] += 1
    seen = {(number, phase % 4) for number, _, phase in turns.numbered()}
    assert len(turns.seen) == 24 and seen == {(number, phase) for number in (0, 1) for phase in range(4)}


def test_the_distance_is_the_mean_over_networks_of_the_sum_over_layers():
    mine, theirs = statistics({"0": 6, "2": 6}), statistics({"0": 5, "2": 4}, positions=100)
    theirs["whole"]["0"] = rand(2, 5, 144).sort(dim=-1).values
    recipe = replace(MATCH, match_stride=1)
    models = (network(), other())
    result = run(recipe, [Member(models[1], torch.tensor([2, 4]), theirs)], mine)
    image, expected = result.snapshots[6].double(), torch.zeros(2, dtype=torch.float64)
    for model, references in zip(models, (mine, theirs), strict=True):
        for layer, means in references["whole"].items():
            activation = model[: int(layer) + 1](image).flatten(2).sort(dim=-1).values
            squares = (activation - means).square().mean(dim=(1, 2))
            expected += squares / means.flatten(1).var(dim=1, unbiased=False) / 2
    assert close(result.metrics[6].distance, expected, 1e-5) and close(result.trace.distance[:, -1], expected, 1e-5)
    assert result.trace.distance[:, :-1].isnan().all()
    alone = run(recipe, (), mine).metrics[6]
    assert alone.distance.isfinite().all() and not close(alone.distance, expected, 0.01)
    assert run(PLAIN, [Member(other(), TARGETS)]).metrics[6].distance.isnan().all(), "nothing is compared"


def test_early_stopping_looks_only_at_the_dreamer():
    confident = other()
    confident[-1].bias[3] = 100.0  # certain of the class of the second dream at every step
    recipe = replace(PLAIN, objective="logit", steps=(9,), stop_confidence=0.999)
    assert run(recipe, [Member(confident, torch.tensor([3, 3]))]).ended.tolist() == [9, 9]
    assert run(recipe, model=confident, committee=[Member(network(), TARGETS)]).ended.tolist() == [9, 0]
    flat = replace(PLAIN, step_size=0.0001, steps=(20,), stop_plateau=3)
    assert run(flat).ended.tolist() == [3, 3]
    assert run(flat, [Member(other(), TARGETS)]).ended.tolist() == [6, 6], (
        "three steps of the dreamer without an increase"
    )


def test_a_member_whose_score_is_infinite_stops_the_dream():
    broken = other()
    broken[-1].weight[2] = torch.inf
    result = run(PLAIN, [Member(broken, torch.tensor([2, 4]))])
    assert result.diverged.tolist()[0] == 2 and result.ended.tolist()[0] == 1
    assert result.snapshots[6].isfinite().all()


def test_a_dream_needs_the_photographs_of_every_network():
    with pytest.raises(UserError, match="feature_match needs photographs of the class"):
        run(replace(MATCH, match_stride=1), [Member(other(), TARGETS)], statistics({"0": 6, "2": 6}))

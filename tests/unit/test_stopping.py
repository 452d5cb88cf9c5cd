"""Early stopping: dreams that become NaN or infinite, are confident, or reach a plateau."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from dreambirds.dreaming.recipe import Recipe
from tests.helpers.small import FOURIER, PLAIN, close, run


class Failing(nn.Module):
    """A model whose logits, or gradients with respect to images, contain a value from the third call on."""

    def __init__(self, network: nn.Module, logits: tuple = (), slopes: tuple = (), value: float = math.nan):
        super().__init__()
        self.network, self.logits, self.slopes, self.value, self.calls = network, logits, slopes, value, 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        images = images * 1
        if self.slopes and self.calls >= 3 and images.requires_grad:
            images.register_hook(lambda slope: slope.index_put(self.slopes, slope.new_tensor(self.value)))
        logits = self.network(images)
        if self.logits and self.calls >= 3:
            broken = torch.zeros_like(logits)
            broken[self.logits] = self.value
            logits = logits + broken
        return logits


HERE = torch.tensor(1)


@pytest.mark.parametrize("recipe", [replace(PLAIN, momentum=0.5), FOURIER], ids=["ascent", "adam"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "where",
    [{"logits": (slice(None), 1)}, {"logits": (1, slice(None))}, {"slopes": (HERE,)}, {"slopes": (HERE,) * 4}],
    ids=["a class", "an image", "its gradient", "one value of its gradient"],
)
def test_a_dream_that_diverges_stops_and_does_not_affect_its_batch(model, recipe, value, where):
    recipe = replace(recipe, steps=(2, 5))
    broken, healthy = run(Failing(model, value=value, **where), recipe), run(model, recipe)
    assert broken.diverged.tolist() == [0, 3, 0] and broken.ended.tolist() == [5, 2, 5]
    for mate in (0, 2):
        assert torch.equal(broken.snapshots[5][mate], healthy.snapshots[5][mate])
    assert torch.equal(broken.snapshots[5][1], healthy.snapshots[2][1]), "it does not change any more"
    assert torch.equal(broken.snapshots[2], healthy.snapshots[2])


def test_each_dream_stops_separately_once_the_model_is_confident(model):
    recipe = Recipe(steps=(60,), step_size=0.03, gradient_normalization="std")
    free = run(model, recipe)
    reached = [int((chance >= 0.3).nonzero()[0]) for chance in free.trace.probability]
    assert len(set(reached)) == 3 and max(reached) < 45, reached
    moments = tuple(sorted(reached))
    free = run(model, replace(recipe, steps=(*moments, 60)))
    counting = Failing(model)
    counting.forward = lambda images: (setattr(counting, "calls", counting.calls + 1), model(images))[1]
    stopped = run(counting, replace(recipe, steps=(*moments, 60), stop_confidence=0.3))
    assert stopped.ended.tolist() == reached and stopped.diverged.tolist() == [0, 0, 0]
    for index, end in enumerate(reached):
        for step in (*moments, 60):
            assert torch.equal(stopped.snapshots[step][index], free.snapshots[min(step, end)][index])
        for measure, values in vars(stopped.trace).items():
            expected = getattr(free.trace, measure)[index, : end + 1]
            assert torch.allclose(values[index, : end + 1], expected, rtol=0, atol=0, equal_nan=True)
    assert counting.calls <= max(reached) + 11, "no step is computed once all have stopped"


class Climb(nn.Module):
    """Three logits: 0, the image's mean, and one that hardly increases."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = images.mean(dim=(1, 2, 3))
        return torch.stack([0 * mean, mean, 100 + 0.1 * mean], dim=1)


def test_each_dream_stops_separately_on_a_plateau():
    recipe = Recipe(steps=(2, 60), step_size=0.05, gradient_normalization="mean_abs", stop_plateau=3)
    starts = torch.full((5, 3, 4, 4), 0.5, dtype=torch.float64)
    result = run(Climb(), recipe, starts=starts)
    assert result.ended.tolist() == [3, 13, 3], "white is reached after ten steps, and three more do not improve it"
    assert close(result.snapshots[60][1], 1, 1e-6) and close(result.snapshots[60][2], 0.65, 1e-6)
    assert torch.equal(result.snapshots[60][0], starts[0].float())


@pytest.mark.parametrize("growing", [{"octaves": 2, "octave_scale": 1.5, "octave_steps": 12}, {"zoom": 1.1}], ids=str)
def test_a_stopped_dream_does_not_change_while_others_continue(model, growing):
    moments = (20, 21, 38, 50)
    recipe = Recipe(steps=moments, step_size=0.03, gradient_normalization="std", **growing)
    early = run(model, recipe).trace.probability[:, 12:21].amax(dim=1)
    first = int(early.argmax())
    confidence = (early[first].item() + early.sort().values[1].item()) / 2
    result = run(model, replace(recipe, stop_confidence=confidence))
    assert 12 <= result.ended[first] <= 20 < result.ended.max(), "one has stopped by then, and another has not"
    for step in moments[1:]:
        assert close(result.snapshots[step][first], result.snapshots[20][first], 1e-6), step

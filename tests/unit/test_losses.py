"""The training loss and adversarial examples, compared with plain loops."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from dreambirds.training import trainer as training
from dreambirds.training.loss import Loss, class_weights, hard_targets, l2_pgd_attack, perturbation_norm
from tests.helpers.chains import BatchList, linear, trainer


def test_balanced_weights_have_the_same_sum_per_class_and_a_mean_of_1_over_images():
    counts = torch.tensor([100, 7, 1, 20])
    weights = class_weights("balanced", counts)
    assert weights.tolist() == pytest.approx([128 / (4 * count) for count in counts.tolist()])
    assert (weights * counts).tolist() == pytest.approx([32.0] * 4)
    assert float((weights * counts).sum() / counts.sum()) == pytest.approx(1)
    assert class_weights("none", counts) is None
    assert class_weights("balanced", torch.tensor([2, 0]))[1] == 0


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("mixed", [False, True])
def test_the_loss_equals_a_plain_loop(smoothing, balanced, mixed):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    targets = torch.tensor([2, 0, 1, 1, 2])
    shares = functional.one_hot(targets, 3).double()
    if mixed:
        shares = 0.7 * shares + 0.3 * shares.roll(1, 0)
    weights = torch.tensor([0.5, 2.0, 1.5], dtype=torch.float64) if balanced else None
    expected = []
    for row in range(5):
        total = math.log(sum(math.exp(value) for value in logits[row].tolist()))
        loss = 0.0
        for label in range(3):
            target = (1 - smoothing) * float(shares[row, label]) + smoothing / 3
            loss += target * (total - float(logits[row, label])) * (float(weights[label]) if balanced else 1)
        expected.append(loss)
    losses, mean = Loss(smoothing, weights)(logits, shares if mixed else targets)
    assert losses.tolist() == pytest.approx(expected) and float(mean) == pytest.approx(sum(expected) / 5)
    assert hard_targets(shares if mixed else targets).tolist() == targets.tolist()


class Linear(nn.Module):
    """A linear model with a known gradient."""

    weight = torch.randn(3, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def forward(self, images):
        return images.flatten(1) @ self.weight.T

    def slope(self, flat, targets):
        """Return the analytic gradient of the cross-entropy."""
        return ((flat @ self.weight.T).softmax(1) - functional.one_hot(targets, 3)) @ self.weight


def test_an_attack_of_one_step_moves_along_the_gradient_by_a_random_length():
    model, targets = Linear(), torch.tensor([2, 0])
    images = torch.full((2, 3, 2, 2), 0.5, dtype=torch.float64)
    torch.manual_seed(3)
    moved = l2_pgd_attack(model, images, targets, 0.4, 1).flatten(1)
    torch.manual_seed(3)
    radius = 0.4 * torch.rand(2, dtype=torch.float64)
    gradient = model.slope(images.flatten(1), targets)
    expected = images.flatten(1) + radius[:, None] * gradient / gradient.norm(dim=1, keepdim=True)
    assert torch.allclose(moved, expected)
    assert not moved.requires_grad and images.eq(0.5).all()


@pytest.mark.parametrize("steps", [2, 3, 7])
def test_an_attack_of_several_steps_equals_a_plain_loop_of_projected_ascent(steps):
    model, targets = Linear(), torch.tensor([2, 0, 1])
    images = 0.4 + 0.2 * torch.rand(3, 3, 2, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    torch.manual_seed(3)
    moved = l2_pgd_attack(model, images, targets, 0.3, steps).flatten(1)
    torch.manual_seed(3)
    radius = (0.3 * torch.rand(3, dtype=torch.float64)).tolist()
    for row in range(3):
        change = torch.zeros(12, dtype=torch.float64)
        for _ in range(steps):
            slope = model.slope((images[row].flatten() + change)[None], targets[row : row + 1])[0]
            change += slope / slope.norm() * radius[row] * 1.5 / steps
            if change.norm() > radius[row]:
                change *= radius[row] / change.norm()
        assert torch.allclose(moved[row], images[row].flatten() + change)


def test_adversarial_examples_stay_in_range_and_a_zero_gradient_changes_nothing():
    images, targets = torch.rand(4, 3, 2, 2, dtype=torch.float64).round(), torch.arange(4) % 3
    moved = l2_pgd_attack(Linear(), images, targets, 5.0, 2)
    assert moved.min() == 0 and moved.max() == 1 and not torch.equal(moved, images)
    flat = l2_pgd_attack(lambda images: images.flatten(1)[:, :3] * 0, images, targets, 5.0, 2)
    assert torch.equal(flat, images)


def test_an_attack_of_several_steps_stays_within_its_radius_and_increases_the_loss():
    model, targets = Linear(), torch.arange(3).repeat(20)
    images = 0.4 + 0.2 * torch.rand(60, 3, 2, 2, dtype=torch.float64)
    loss = {}
    for steps in (1, 5):
        torch.manual_seed(3)
        moved = l2_pgd_attack(model, images, targets, 0.4, steps)
        torch.manual_seed(3)
        radius = 0.4 * torch.rand(60, dtype=torch.float64)
        assert ((moved - images).flatten(1).norm(dim=1) <= radius + 1e-9).all()
        loss[steps] = functional.cross_entropy(model(moved), targets)
    assert loss[5] > loss[1] > functional.cross_entropy(model(images), targets)


def test_the_adversarial_length_grows_during_the_warm_up(run):
    settings = run(adversarial={"epsilon": 4.0, "warmup_epochs": 2})["adversarial"]
    assert [perturbation_norm(settings, epoch) for epoch in (0, 0.5, 1, 2, 9)] == [0, 1, 2, 4, 4]
    assert perturbation_norm({**settings, "warmup_epochs": 0}, 0) == 4.0


def test_training_uses_adversarial_examples_that_are_computed_in_eval_mode(monkeypatch):
    lengths, seen = [], []
    classifier = linear()

    def attack(forward, images, targets, length, steps, head):
        lengths.append((length, steps, classifier.training, forward(images).shape))
        return images * 0 + length / 100

    monkeypatch.setattr(training, "l2_pgd_attack", attack)
    taught = trainer(classifier, per_epoch=2, adversarial={"epsilon": 40.0, "warmup_epochs": 2, "steps": 3})
    images, targets = torch.ones(3, 3, 2, 2), torch.arange(3)
    classifier.register_forward_pre_hook(lambda module, inputs: seen.append((module.training, inputs[0].mean().item())))
    for epoch, first in itertools.product((1, 2), (0, 1)):
        taught.train(BatchList([(images, targets)] * 2), epoch, first, first + 1)
    assert lengths == [(length, 3, False, (3, 3)) for length in (10.0, 20.0, 30.0)]
    learnt = [mean for training, mean in seen if training]
    assert learnt == pytest.approx([1.0, 0.1, 0.2, 0.3])

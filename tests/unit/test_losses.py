"""What training makes small and what makes its pictures harder, against plain loops."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from dreambirds.training import trainer as training
from dreambirds.training.loss import Loss, adversarial_length, class_weights, hard_targets, l2_pgd_attack
from tests.helpers.chains import Lessons, linear, trainer


def test_balanced_weights_give_every_class_the_same_sum_and_the_pictures_a_mean_of_1():
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
def test_the_loss_is_a_plain_loop(smoothing, balanced, mixed):
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
        for place in range(3):
            wanted = (1 - smoothing) * float(shares[row, place]) + smoothing / 3
            loss += wanted * (total - float(logits[row, place])) * (float(weights[place]) if balanced else 1)
        expected.append(loss)
    losses, mean = Loss(smoothing, weights)(logits, shares if mixed else targets)
    assert losses.tolist() == pytest.approx(expected) and float(mean) == pytest.approx(sum(expected) / 5)
    assert hard_targets(shares if mixed else targets).tolist() == targets.tolist()


class Linear(nn.Module):
    """A model whose gradient is known."""

    weight = torch.randn(3, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def forward(self, images):
        return images.flatten(1) @ self.weight.T

    def slope(self, flat, targets):
        """Return the cross-entropy's gradient, by hand."""
        return ((flat @ self.weight.T).softmax(1) - functional.one_hot(targets, 3)) @ self.weight


def test_hardening_moves_along_the_gradient_by_a_random_length():
    model, targets = Linear(), torch.tensor([2, 0])
    images = torch.full((2, 3, 2, 2), 0.5, dtype=torch.float64)
    torch.manual_seed(3)
    moved = l2_pgd_attack(model, images, targets, 0.4, 1).flatten(1)
    torch.manual_seed(3)
    reach = 0.4 * torch.rand(2, dtype=torch.float64)
    gradient = model.slope(images.flatten(1), targets)
    expected = images.flatten(1) + reach[:, None] * gradient / gradient.norm(dim=1, keepdim=True)
    assert torch.allclose(moved, expected)
    assert not moved.requires_grad and images.eq(0.5).all()


@pytest.mark.parametrize("steps", [2, 3, 7])
def test_several_hardening_steps_are_a_plain_loop_of_projected_ascent(steps):
    model, targets = Linear(), torch.tensor([2, 0, 1])
    images = 0.4 + 0.2 * torch.rand(3, 3, 2, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    torch.manual_seed(3)
    moved = l2_pgd_attack(model, images, targets, 0.3, steps).flatten(1)
    torch.manual_seed(3)
    reach = (0.3 * torch.rand(3, dtype=torch.float64)).tolist()
    for row in range(3):
        change = torch.zeros(12, dtype=torch.float64)
        for _ in range(steps):
            slope = model.slope((images[row].flatten() + change)[None], targets[row : row + 1])[0]
            change += slope / slope.norm() * reach[row] * 1.5 / steps
            if change.norm() > reach[row]:
                change *= reach[row] / change.norm()
        assert torch.allclose(moved[row], images[row].flatten() + change)


def test_a_hardened_picture_stays_a_picture_and_no_gradient_leaves_it_where_it_is():
    images, targets = torch.rand(4, 3, 2, 2, dtype=torch.float64).round(), torch.arange(4) % 3
    moved = l2_pgd_attack(Linear(), images, targets, 5.0, 2)
    assert moved.min() == 0 and moved.max() == 1 and not torch.equal(moved, images)
    flat = l2_pgd_attack(lambda images: images.flatten(1)[:, :3] * 0, images, targets, 5.0, 2)
    assert torch.equal(flat, images)


def test_several_hardening_steps_stay_within_the_length_and_find_a_larger_loss():
    model, targets = Linear(), torch.arange(3).repeat(20)
    images = 0.4 + 0.2 * torch.rand(60, 3, 2, 2, dtype=torch.float64)
    loss = {}
    for steps in (1, 5):
        torch.manual_seed(3)
        moved = l2_pgd_attack(model, images, targets, 0.4, steps)
        torch.manual_seed(3)
        reach = 0.4 * torch.rand(60, dtype=torch.float64)
        assert ((moved - images).flatten(1).norm(dim=1) <= reach + 1e-9).all()
        loss[steps] = functional.cross_entropy(model(moved), targets)
    assert loss[5] > loss[1] > functional.cross_entropy(model(images), targets)


def test_the_adversarial_length_grows_over_its_ramp(run):
    settings = run(adversarial={"epsilon": 4.0, "warmup_epochs": 2})["adversarial"]
    assert [adversarial_length(settings, epoch) for epoch in (0, 0.5, 1, 2, 9)] == [0, 1, 2, 4, 4]
    assert adversarial_length({**settings, "warmup_epochs": 0}, 0) == 4.0


def test_the_model_learns_from_the_hardened_pictures_and_looks_at_them_in_eval_mode(monkeypatch):
    lengths, seen = [], []
    classifier = linear()

    def harden_more(see, images, targets, length, steps):
        lengths.append((length, steps, classifier.training, see(images).shape))
        return images * 0 + length / 100

    monkeypatch.setattr(training, "l2_pgd_attack", harden_more)
    taught = trainer(classifier, per_epoch=2, adversarial={"epsilon": 40.0, "warmup_epochs": 2, "steps": 3})
    images, targets = torch.ones(3, 3, 2, 2), torch.arange(3)
    classifier.register_forward_pre_hook(lambda module, inputs: seen.append((module.training, inputs[0].mean().item())))
    for epoch, first in itertools.product((1, 2), (0, 1)):
        taught.train(Lessons([(images, targets)] * 2), epoch, first, first + 1)
    assert lengths == [(length, 3, False, (3, 3)) for length in (10.0, 20.0, 30.0)]
    learnt = [mean for training, mean in seen if training]
    assert learnt == pytest.approx([1.0, 0.1, 0.2, 0.3])

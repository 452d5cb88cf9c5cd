"""Training is a chain whose links may be cut anywhere, bit for bit."""

import math

import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional

from dreambirds.errors import StudyError
from dreambirds.models.build import Classifier, build
from dreambirds.models.checkpoint import load_checkpoint
from dreambirds.training import epochs, optimisation
from dreambirds.training.augment import augmentation
from dreambirds.training.epochs import adversarial_length, harden, set_training_mode, train_epoch
from dreambirds.training.segment import HISTORY, Files, train_segment

CPU = torch.device("cpu")


def train(folder, dataset, run, epochs) -> Files:
    """Train through the kept epochs, one link each, and return the last checkpoint's files."""
    before = None
    for epoch in epochs:
        stem = folder / f"{'-'.join(map(str, epochs))}.{epoch}"
        to = Files(stem.with_suffix(f".{epoch}.w"), stem.with_suffix(f".{epoch}.s"), stem.with_suffix(f".{epoch}.csv"))
        train_segment("a", run, dataset, epoch, before, to, CPU)
        before = to
    return before


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "sgd", "schedule": "step", "schedule_epochs": 2},
        {"optimizer": "lamb"},
        {"optimizer": "adan"},
        {"optimizer": "adopt", "adversarial": {"length": 0.5, "ramp_epochs": 3}},
    ],
    ids=["adamw cosine", "sgd step", "lamb", "adan", "adversarial"],
)
def test_a_chain_cut_in_three_gives_the_bits_of_one_run(tmp_path, dataset, run, changes):
    whole = train(tmp_path, dataset, run(**changes), [4])
    cut = train(tmp_path, dataset, run(**changes), [0, 1, 3, 4])
    assert whole.state.read_bytes() == cut.state.read_bytes()
    (one, _), (other, _) = load_checkpoint(whole.weights), load_checkpoint(cut.weights)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    rows = pd.read_csv(whole.history)
    assert list(rows.columns) == HISTORY and list(rows["epoch"]) == [0, 1, 2, 3, 4]
    assert list(pd.read_csv(cut.history)["epoch"]) == [4]
    last = pd.read_csv(cut.history).iloc[-1][["train_loss", "validation_accuracy", "learning_rate"]]
    assert list(rows.iloc[-1][["train_loss", "validation_accuracy", "learning_rate"]]) == list(last)


def test_epoch_0_is_the_model_before_training(tmp_path, dataset, run):
    files = train(tmp_path, dataset, run(seed=5), [0])
    classifier, card = load_checkpoint(files.weights)
    torch.manual_seed(5)
    fresh = build("test_resnet", 2, {})
    assert card.epoch == 0 and card.labels == ["northern_cardinal", "blue_jay"] and card.image_size == 32
    for name, tensor in fresh.network.state_dict().items():
        assert torch.equal(classifier.network.state_dict()[name], tensor), name


def test_training_learns_two_birds(tmp_path, dataset, run):
    files = train(tmp_path, dataset, run(learning_rate=0.01), [12])
    rows = pd.read_csv(files.history)
    assert rows["train_loss"].iloc[-1] < 0.6 * rows["train_loss"].iloc[1]
    assert rows["learning_rate"].iloc[-1] == pytest.approx(rates(run(learning_rate=0.01), 12, updates=2)[-1], rel=1e-4)
    assert rows["images_per_second"].iloc[-1] == pytest.approx(16 / rows["seconds"].iloc[-1], rel=1e-3)


def rates(run_section, epochs, updates=5) -> list[float]:
    """Return the learning rate before every update."""
    optimizer = optimisation.make_optimizer(run_section, nn.Linear(2, 2))
    schedule = optimisation.make_schedule(run_section, optimizer, updates)
    result = []
    for number in range(epochs * updates):
        schedule.step_update(number)
        result.append(optimizer.param_groups[0]["lr"])
    return result


def test_the_schedule_is_a_closed_form_that_ignores_the_last_epoch(run):
    settings = run(learning_rate=0.1, schedule_epochs=4, warmup_epochs=1)
    expected = []
    for update in range(8 * 5):
        if update < 5:
            expected.append(0.001 + update * (0.1 - 0.001) / 5)
        elif update < 20:
            expected.append(0.001 + 0.5 * (0.1 - 0.001) * (1 + math.cos(math.pi * update / 20)))
        else:
            expected.append(0.001)
    assert rates(settings, 8) == pytest.approx(expected)
    assert rates(settings, 3) == rates(settings, 8)[:15]
    dropping = rates(run(learning_rate=0.1, schedule="step", schedule_epochs=2, warmup_epochs=0), 5)
    assert dropping == pytest.approx([0.1] * 10 + [0.01] * 10 + [0.001] * 5)
    assert rates(run(learning_rate=0.1, schedule="constant", warmup_epochs=0), 3) == pytest.approx([0.1] * 15)


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
    moved = harden(model, images, targets, 0.4, 1).flatten(1)
    torch.manual_seed(3)
    reach = 0.4 * torch.rand(2, dtype=torch.float64)
    gradient = model.slope(images.flatten(1), targets)
    expected = images.flatten(1) + reach[:, None] * gradient / gradient.norm(dim=1, keepdim=True)
    assert torch.allclose(moved, expected)


def test_the_model_learns_from_the_hardened_pictures(run, monkeypatch):
    seen = []

    class Watched(Classifier):
        def forward(self, images):
            seen.append(images.detach().clone())
            return super().forward(images).mean((2, 3))

    monkeypatch.setattr(epochs, "harden", lambda _, images, targets, length, steps: images * 0 + length / 100)
    classifier = Watched(nn.Sequential(nn.Conv2d(3, 2, 1)))
    for length in (0.0, 25.0):
        settings = run(adversarial={"length": length})
        optimizer = optimisation.make_optimizer(settings, classifier.network)
        schedule = optimisation.make_schedule(settings, optimizer, 1)
        train_epoch(classifier, settings, [(torch.ones(2, 3, 4, 4), torch.tensor([0, 1]))], optimizer, schedule, 1)
    assert [images.mean().item() for images in seen] == [1.0, 0.25]


def test_the_adversarial_length_grows_over_its_ramp(run):
    settings = run(adversarial={"length": 4.0, "ramp_epochs": 2})["adversarial"]
    assert [adversarial_length(settings, epoch) for epoch in (0, 0.5, 1, 2, 9)] == [0, 1, 2, 4, 4]
    assert adversarial_length({**settings, "ramp_epochs": 0}, 0) == 4.0


def test_several_hardening_steps_stay_within_the_length_and_find_a_larger_loss():
    model, targets = Linear(), torch.arange(3).repeat(20)
    images = 0.4 + 0.2 * torch.rand(60, 3, 2, 2, dtype=torch.float64)
    loss = {}
    for steps in (1, 5):
        torch.manual_seed(3)
        moved = harden(model, images, targets, 0.4, steps)
        torch.manual_seed(3)
        reach = 0.4 * torch.rand(60, dtype=torch.float64)
        assert ((moved - images).flatten(1).norm(dim=1) <= reach + 1e-9).all()
        loss[steps] = functional.cross_entropy(model(moved), targets)
    assert loss[5] > loss[1] > functional.cross_entropy(model(images), targets)


def test_head_only_training_changes_nothing_else(tmp_path, dataset, run):
    before, _ = load_checkpoint(train(tmp_path, dataset, run(trainable="head"), [0]).weights)
    after, _ = load_checkpoint(train(tmp_path, dataset, run(trainable="head"), [2]).weights)
    pairs = zip(before.network.state_dict().items(), after.network.state_dict().values(), strict=True)
    changed = {name for (name, a), b in pairs if not torch.equal(a, b)}
    assert changed == {"fc.weight", "fc.bias"}


def test_frozen_batch_norms_keep_their_statistics_but_learn_their_scale(run):
    classifier = Classifier(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)))
    set_training_mode(classifier, run(freeze_batch_norm=True))
    classifier.network(torch.rand(2, 3, 4, 4))
    assert torch.equal(classifier.network[1].running_mean, torch.zeros(4))
    assert classifier.network[0].training and classifier.network[1].weight.requires_grad


def test_a_loss_that_is_no_number_names_the_rate_and_the_epoch(dataset, run):
    class Broken(Classifier):
        def forward(self, images):
            return super().forward(images).mean((2, 3)) * math.nan

    settings = run(learning_rate=0.25)
    classifier = Broken(nn.Sequential(nn.Conv2d(3, 2, 1)))
    optimizer = optimisation.make_optimizer(settings, classifier.network)
    loader = [(torch.rand(2, 3, 8, 8), torch.tensor([0, 1]))]
    with pytest.raises(StudyError, match=r"the loss became nan in epoch 3 at learning rate 0\.25"):
        train_epoch(classifier, settings, loader, optimizer, optimisation.make_schedule(settings, optimizer, 1), 3)


def test_augmentation_keeps_size_and_range_and_is_the_identity_when_nothing_is_asked(run):
    picture = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    still = augmentation({"crop_padding": 0, "flip": 0.0, "colour": 0.0}, 32)(picture)
    assert torch.allclose(still, picture / 255, atol=1e-6)
    moved = augmentation(run()["augmentation"], 32)(picture)
    assert moved.shape == (3, 32, 32) and moved.min() >= 0 and moved.max() <= 1

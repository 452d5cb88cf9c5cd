"""Sigmoid heads, networks of one channel, and judges with several heads, compared with plain implementations."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from dreambirds.dreaming.objectives import ModelOutputs, Objective
from dreambirds.dreaming.recipe import Recipe
from dreambirds.evaluation.judge import Judge
from dreambirds.evaluation.metrics import classification_metrics
from dreambirds.models.classifier import Classifier, build
from dreambirds.models.heads import head_modules
from dreambirds.training.loss import Loss, l2_pgd_attack
from tests.helpers.chains import BatchList, trainer
from tests.helpers.small import FOURIER, MACO, PLAIN, RICH, SIZE, close, network, rand, run, settled

LOGITS, TARGETS = [[0.3, -1.2, 2.0], [1.5, 40.1, -0.4]], [2, 1]


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def wrapped(channels: int = 3, head: str = "softmax") -> Classifier:
    """Return the small network as a classifier in float64."""
    small = network()
    if channels == 1:
        torch.manual_seed(1)
        small[0] = nn.Conv2d(1, 6, 3, padding=1).double().requires_grad_(False)
    return Classifier(small, channels, head, {"mean": 0.5, "std": 0.25}).double().eval()


@pytest.mark.parametrize("kind", ["logit", "cross_entropy", "probability", "margin"])
def test_class_scores_of_a_sigmoid_head_and_their_gradients_equal_closed_forms(kind):
    logits = torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True)
    score = Objective(kind, head="sigmoid")(ModelOutputs(logits), torch.tensor(TARGETS))
    score.sum().backward()
    for row, target, value, slope in zip(LOGITS, TARGETS, score, logits.grad, strict=True):
        own, rest = row[target], (sum(row) - row[target]) / 2
        chance, missing = sigmoid(own), sigmoid(-own)
        values = {
            "logit": (own, 1.0),
            "cross_entropy": (-math.log1p(math.exp(-own)), missing),
            "probability": (chance, chance * missing),
            "margin": (own - rest, 1.0),
        }
        assert value.item() == pytest.approx(values[kind][0], rel=1e-12, abs=0)
        smallest = 1e-15 if kind == "probability" else 0  # a log-probability's gradient is exact where it is almost 1
        assert slope[target].item() == pytest.approx(values[kind][1], rel=1e-9, abs=smallest)
        others = [-0.5 if kind == "margin" else 0.0] * 2
        assert [each for index, each in enumerate(slope.tolist()) if index != target] == others


def test_metrics_of_a_sigmoid_head_have_its_probability_and_the_rank_of_the_logit():
    found = classification_metrics(torch.tensor(LOGITS), torch.tensor([0, 1]), "sigmoid")
    assert found["probability"].tolist() == pytest.approx([sigmoid(0.3), sigmoid(40.1)], rel=1e-6)
    assert found["rank"].tolist() == [2, 1] and found["first"].tolist() == [2, 1]


def test_a_dream_of_a_sigmoid_head_equals_a_plain_loop():
    model, image = wrapped(head="sigmoid"), rand(5, 3, SIZE, SIZE)[:1]
    recipe = Recipe(steps=(4,), step_size=0.05, objective="cross_entropy", gradient_normalization="std")
    expected = []
    for _ in range(4):
        image = image.detach().requires_grad_(True)
        chance = 1 / (1 + (-model(image)[0, 0]).exp())
        expected.append(chance.item())
        (slope,) = torch.autograd.grad(chance.log(), image)
        image = (image + 0.05 * slope / slope.std()).clamp(0, 1)
    result = run(model, recipe, "a")
    assert close(result.snapshots[4], image.detach(), 1e-5)
    assert close(result.trace.probability[0, :4], expected, 1e-6)
    assert result.trace.probability[0, -1].item() == pytest.approx(torch.sigmoid(model(image)[0, 0]).item(), abs=1e-6)
    early = run(model, replace(recipe, steps=(50,), stop_confidence=(chance + 0.01).item()), "a")
    assert early.ended[0] < 50


@pytest.mark.parametrize(
    "recipe",
    [PLAIN, RICH, FOURIER, MACO, Recipe(steps=(6,), parameterization="pyramid", optimizer="adam", step_size=0.1)],
    ids=["plain", "everything", "fourier", "maco", "pyramid"],
)
def test_dreams_of_a_network_of_one_channel_are_grey(recipe):
    model = wrapped(1)
    result = run(model, recipe, "ab", film_every=2)
    step = max(recipe.steps)
    for images in [*result.snapshots.values(), *result.frames]:
        assert torch.equal(images[:, 0], images[:, 1]) and torch.equal(images[:, 0], images[:, 2])
    assert result.snapshots[step].std() > 0.01
    assert recipe.crops or close(result.metrics[step].logit[0], model(result.snapshots[step][:1].double())[0, 0], 2e-2)


def test_a_grey_dream_equals_gradient_ascent_on_one_channel():
    model, color = wrapped(1), rand(5, 3, SIZE, SIZE)[:1]
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64).view(1, 3, 1, 1)
    grey = (color * weights).sum(dim=1, keepdim=True)
    start = grey
    for _ in range(5):
        grey = grey.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(model.network((grey - 0.5) / 0.25)[0, 0], grey)
        grey = (grey + 0.05 * slope / slope.std(correction=0)).clamp(0, 1)
    result = run(model, Recipe(steps=(5,), step_size=0.05, gradient_normalization="std"), "a")
    # the standard deviation of three equal channels differs from that of one by the correction of its estimate
    assert close(result.snapshots[5], grey.detach().expand(-1, 3, -1, -1), 2e-3)
    change = result.metrics[5].mean_abs_change[0].item()
    assert change == pytest.approx((grey - start).abs().mean().item(), abs=1e-3)


def test_a_network_that_sees_gray_ignores_color():
    model = wrapped(1)
    images = rand(2, 3, SIZE, SIZE)
    shifted = images + torch.tensor([0.587, -0.299, 0.0], dtype=torch.float64).view(1, 3, 1, 1) * 0.1
    assert torch.allclose(model(images), model(shifted))
    by_hand = torch.stack([0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2] for image in images])[:, None]
    assert torch.allclose(model(images), model.network((by_hand - 0.5) / 0.25))


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("balanced", [False, True])
def test_binary_cross_entropy_equals_a_plain_loop(mixed, smoothing, balanced):
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    targets = torch.tensor([2, 0, 1, 1])
    shares = torch.eye(3, dtype=torch.float64)[targets]
    shares = 0.7 * shares + 0.3 * shares.roll(1, 0) if mixed else shares
    weights = torch.tensor([0.5, 2.0, 1.5], dtype=torch.float64)
    expected = []
    for row in range(4):
        loss = 0.0
        for label in range(3):
            target = (1 - smoothing) * float(shares[row, label]) + smoothing / 3
            chance = sigmoid(float(logits[row, label]))
            loss -= (target * math.log(chance) + (1 - target) * math.log(1 - chance)) / 3
        weight = sum(float(shares[row, label] * weights[label]) for label in range(3))
        expected.append(loss * (weight if balanced else 1))
    loss = Loss(smoothing, weights if balanced else None, "sigmoid")
    losses, mean = loss(logits, shares if mixed else targets)
    assert losses.tolist() == pytest.approx(expected) and float(mean) == pytest.approx(sum(expected) / 4)


def test_an_attack_on_a_sigmoid_head_increases_its_own_loss():
    matrix = torch.randn(3, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    image, target = torch.full((1, 3, 2, 2), 0.5, dtype=torch.float64), torch.tensor([1])
    torch.manual_seed(0)
    moved = l2_pgd_attack(lambda images: images.flatten(1) @ matrix.T, image, target, 0.1, 1, "sigmoid")
    chance = (image.flatten(1) @ matrix.T).sigmoid()
    slope = (chance - torch.eye(3, dtype=torch.float64)[target]) @ matrix
    change = (moved - image).flatten(1)
    assert torch.allclose(change / change.norm(), slope / slope.norm())


@pytest.mark.parametrize(
    ("channels", "head", "changes"),
    [(3, "sigmoid", {"label_smoothing": 0.1}), (1, "softmax", {}), (1, "sigmoid", {"mixup": 0.5})],
)
def test_heads_and_channels_are_trained(channels, head, changes):
    torch.manual_seed(0)
    options = {"in_chans": channels} if channels == 1 else {}
    taught = trainer(build("test_resnet", 2, options, head=head), (4, 4), per_epoch=1, learning_rate=0.02, **changes)
    images = torch.cat([torch.full((4, 3, 32, 32), 0.2), torch.full((4, 3, 32, 32), 0.8)]) + 0.1 * torch.rand(
        8, 3, 32, 32
    )
    loader = BatchList([(images, torch.tensor([0] * 4 + [1] * 4))])
    before = taught.evaluate(loader, 0).means[0]
    for epoch in range(1, 9):
        taught.train(loader, epoch, 0, 1)
    loss, _ = taught.evaluate(loader, 8).means
    start = math.log(2)
    assert loss < before and loss < start


@pytest.mark.parametrize(
    ("name", "options", "side"),
    [
        ("deit_tiny_distilled_patch16_224", {"img_size": 32, "depth": 2, "embed_dim": 24, "num_heads": 2}, 32),
        ("efficientformer_l1", {"depths": (1, 1, 1, 1), "embed_dims": (8, 8, 8, 16), "num_vit": 1}, 224),
        ("test_resnet", {"in_chans": 1}, 32),
    ],
    ids=["deit", "efficientformer", "grey"],
)
def test_a_judge_with_any_head_returns_the_features_before_it(name, options, side):
    classifier = settled(3, name, options, (side, side))
    judge = Judge("j", classifier, (side, side), list("abc"), {})
    images = torch.randint(0, 256, (3, 3, side, side), dtype=torch.uint8)
    logits, features = judge.predict(iter([images[:2], images[2:]]))
    heads = head_modules(classifier.network)
    assert judge.architecture == name and judge.batch(10**9) > 1
    parts = features.chunk(len(heads), dim=1)
    with torch.inference_mode():
        by_hand = [head(part) for head, part in zip(heads, parts, strict=True)]
        assert torch.allclose(sum(by_hand) / len(heads), logits, atol=1e-5)
        assert torch.allclose(classifier(images / 255), logits, atol=1e-5)


def test_dreams_of_a_distilled_transformer_and_of_timm_in_grey_run():
    options = {"img_size": 32, "depth": 2, "embed_dim": 24, "num_heads": 2}
    for name, more in (("deit_tiny_distilled_patch16_224", options), ("test_vit", {"img_size": 32, "in_chans": 1})):
        model = settled(3, name, more).requires_grad_(False)
        result = run(model, Recipe(steps=(3,), step_size=0.05), "ab", shape=(32, 32), starts=torch.rand(5, 3, 32, 32))
        assert (result.trace.logit[:, -1] > result.trace.logit[:, 0]).all()

"""Training options: trained parameters, initial weights, precision, and single updates."""

import math

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from dreambirds.errors import UserError
from dreambirds.models import MODEL_FILE
from dreambirds.models.classifier import build, head_parameters, options_for
from dreambirds.plan.paths import HISTORY_FILE
from dreambirds.training import trainer as training
from dreambirds.training.trainer import DivergenceError, Trainer, resolve_dtype, set_training_mode
from tests.helpers.chains import CPU, BatchList, changed, linear, train, trainer, weights
from tests.helpers.sections import section

PLAIN = {"augmentation": {"crop_padding": 0, "flip": 0.0, "color": 0.0}, "label_smoothing": 0.0}


def batch(number: int, size: int = 4, side: int = 2, classes: int = 3):
    """Return images (B, 3, side, side) in [0, 1] and targets (B,)."""
    generator = torch.Generator().manual_seed(number)
    return torch.rand(size, 3, side, side, generator=generator), torch.arange(size) % classes


def tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of a module's state."""
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def slope(classifier, images, targets, clip=None, weight=None):
    """Return the analytic gradient of the mean cross-entropy: weights (C, 12) and biases (C,), float64, clipped."""
    flat = images.flatten(1).double()
    layer = classifier.network[1]
    shares = (flat @ layer.weight.detach().double().T + layer.bias.detach().double()).softmax(1)
    wrong = shares - nn.functional.one_hot(targets, shares.shape[1])
    wrong = wrong * (1 if weight is None else weight[targets].double()[:, None]) / len(targets)
    gradients = wrong.T @ flat, wrong.sum(0)
    length = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
    return [gradient * min(1, clip / length if clip else 1) for gradient in gradients]


@pytest.mark.parametrize(
    ("clip", "precision"), [(None, "float32"), (0.01, "float32"), (100.0, "float32"), (0.01, "float16")]
)
def test_an_sgd_update_with_global_clipping_matches_the_one_computed_by_hand(clip, precision):
    classifier = linear()
    images, targets = batch(1)
    layer = classifier.network[1]
    slopes = slope(classifier, images, targets, clip)
    before = layer.weight.detach().double(), layer.bias.detach().double()
    trainer(classifier, gradient_clip=clip, precision=precision).train(BatchList([(images, targets)]), 1, 0, 1)
    allowed = 1e-7 if precision == "float32" else 2e-5
    assert torch.allclose(layer.weight.double(), before[0] - 0.5 * slopes[0], rtol=0, atol=allowed)
    assert torch.allclose(layer.bias.double(), before[1] - 0.5 * slopes[1], rtol=0, atol=allowed)
    assert slopes[1].abs().max() > 0.001, "more than the tolerance"


def test_float16_scales_the_loss_so_that_tiny_gradients_reach_the_weights():
    classifier = linear()
    layer = classifier.network[1]
    layer.weight.data.zero_()
    layer.bias.data[:] = torch.tensor([18.0, 0.0, 0.0])
    images = batch(1)[0]
    taught = trainer(classifier, learning_rate=100.0, precision="float16")
    taught.train(BatchList([(images, torch.zeros(4, dtype=torch.long))]), 1, 0, 1)
    assert layer.bias[1:].tolist() == pytest.approx([-100 * math.exp(-18)] * 2, rel=0.1), "too small for float16"


def test_balanced_classes_have_the_same_weight_in_an_update():
    classifier, counts = linear(), (12, 3, 1)
    images, targets = batch(1, size=6)
    layer = classifier.network[1]
    weight = torch.tensor([16 / (3 * count) for count in counts])
    expected = layer.weight.detach().double() - 0.5 * slope(classifier, images, targets, weight=weight)[0]
    trainer(classifier, counts, class_weights="balanced").train(BatchList([(images, targets)]), 1, 0, 1)
    assert torch.allclose(layer.weight.double(), expected, atol=1e-7)


def test_metrics_are_those_of_the_augmented_images():
    classifier = linear()
    with torch.no_grad():
        logits = [classifier(batch(number)[0]).double() for number in (1, 2)]
    losses = [float(-logit.log_softmax(1)[i, t]) for logit in logits for i, t in enumerate(batch(1)[1])]
    hits = [int(logit[i].argmax() == t) for logit in logits for i, t in enumerate(batch(1)[1])]
    still = trainer(classifier, learning_rate=1e-30)
    tally = still.train(BatchList([batch(1), batch(2)]), 3, 0, 2)
    assert tally.means == pytest.approx((sum(losses) / 8, sum(hits) / 8)) and tally.count == 8
    assert tally.rate == 1e-30 and tally.seconds > 0
    assert still.evaluate([batch(1), batch(2)], 3).means == pytest.approx((sum(losses) / 8, sum(hits) / 8))
    assert all(math.isnan(mean) for mean in still.evaluate([], 3).means)


@pytest.mark.parametrize(
    "name", ["test_resnet", "efficientvit_b0", "levit_128s", "deit_tiny_distilled_patch16_224", "test_vit"]
)
def test_training_the_head_changes_nothing_else(name):
    torch.manual_seed(0)
    classifier = build(name, 3, options_for(name, {}, (32, 32)))
    head = {id(parameter) for parameter in head_parameters(classifier.network)}
    names = {name for name, parameter in classifier.network.named_parameters() if id(parameter) in head}
    assert names and all("head" in name or "fc" in name for name in names) and len(names) < 9
    before = tensors(classifier.network)
    tuned = trainer(classifier, trainable="head", optimizer="adamw", learning_rate=0.01, weight_decay=0.05)
    tuned.train(BatchList([batch(number, side=32) for number in range(2)]), 1, 0, 2)
    assert changed(before, classifier.network.state_dict()) == names


def test_frozen_batch_norms_keep_their_statistics_but_learn_their_scale():
    for frozen in (True, False):
        classifier = build("test_efficientnet", 3, {})
        before = tensors(classifier.network)
        trainer(classifier, freeze_batch_norm=frozen).train(BatchList([batch(1, side=32)]), 1, 0, 1)
        names = changed(before, classifier.network.state_dict())
        statistics = {name for name in names if name.endswith(("running_mean", "running_var", "tracked"))}
        assert bool(statistics) != frozen
        assert {name for name in before if "bn" in name and name.endswith("weight")} <= names
    set_training_mode(classifier, section(freeze_batch_norm=True))
    kinds = {isinstance(module, nn.BatchNorm2d): module.training for module in classifier.modules()}
    assert kinds == {True: False, False: True}


@pytest.mark.slow
def test_without_augmentation_it_memorizes_the_images(tmp_path, dataset, run):
    rows = pd.read_csv(
        train(tmp_path, dataset, run(learning_rate=0.01, schedule_epochs=20, **PLAIN), [14]) / HISTORY_FILE
    )
    assert rows["train_accuracy"].iloc[-1] == 1.0 and rows["train_loss"].iloc[-1] < 0.1
    assert rows["images_per_second"].iloc[-1] == pytest.approx(16 / rows["seconds"].iloc[-1], rel=1e-3)


@pytest.mark.slow
def test_a_pretrained_backbone_learns_faster_than_a_random_one(tmp_path, dataset, run):
    donor = train(tmp_path / "donor", dataset, run(learning_rate=0.01, **PLAIN), [8])
    state = {name: tensor for name, tensor in load_file(donor / MODEL_FILE).items() if not name.startswith("fc.")}
    head = {"fc.weight": torch.zeros(5, weights(donor)["fc.weight"].shape[1]), "fc.bias": torch.zeros(5)}
    save_file(state | head, tmp_path / "donor.safetensors")
    losses = {}
    for start in (None, str(tmp_path / "donor.safetensors")):
        settings = run(learning_rate=0.003, warmup_epochs=0, weights=start, seed=3, **PLAIN)
        rows = pd.read_csv(train(tmp_path / str(start is None), dataset, settings, [1]) / HISTORY_FILE)
        losses[start] = rows["train_loss"].iloc[-1]
    known, unknown = losses.pop(str(tmp_path / "donor.safetensors")), losses[None]
    assert known < 0.85 * unknown


def test_mixup_equals_a_plain_loop_and_is_off_by_default(monkeypatch):
    seen, (images, targets) = [], batch(1, size=5)
    for mixup in (0.0, 0.7):
        classifier = linear()
        taught = trainer(classifier, mixup=mixup)
        taught.network = lambda images, classifier=classifier: seen.append(images.clone()) or classifier(images)
        tally = taught.train(BatchList([(images, targets)]), 2, 0, 1)
    assert torch.equal(seen[0], images)
    training.seed_update(CPU, "update", 0, 2, 0)
    share = float(torch.distributions.Beta(torch.tensor([0.7]), torch.tensor([0.7])).sample())
    assert 0.01 < share < 0.99
    classifier, losses = linear(), []
    for number in range(5):
        mixed = share * images[number] + (1 - share) * images[number - 1]
        assert torch.allclose(seen[1][number], mixed, atol=1e-6)
        logs = classifier(mixed[None]).double().log_softmax(1)[0]
        losses.append(-share * float(logs[targets[number]]) - (1 - share) * float(logs[targets[number - 1]]))
    assert tally.means[0] == pytest.approx(sum(losses) / 5, rel=1e-5)
    assert section()["mixup"] == 0 and trainer(linear(), mixup=0.0).mixup is None


def test_the_default_precision_on_a_cpu_is_float32(tmp_path, dataset, run):
    expected = {"auto": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
    assert {name: resolve_dtype(name, CPU) for name in expected} == expected
    seen = {}
    for name in expected:
        classifier = linear()
        classifier.network[1].register_forward_hook(lambda *parts, name=name: seen.update({name: parts[2].dtype}))
        assert trainer(classifier, precision=name).forward(batch(1)[0]).dtype == torch.float32
    assert seen == expected
    auto, full = (train(tmp_path / kind, dataset, run(precision=kind), [1]) for kind in ("auto", "float32"))
    assert (auto / MODEL_FILE).read_bytes() == (full / MODEL_FILE).read_bytes()
    half = train(tmp_path / "half", dataset, run(precision="bfloat16"), [1])
    assert {tensor.dtype for tensor in weights(half).values()} == {torch.float32, torch.int64}
    assert changed(weights(auto), weights(half))


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_compiled_network_trains_like_a_plain_one():
    losses = []
    for compiled in (False, True):
        taught = trainer(linear())
        if compiled:
            taught.compile((2, 2))
            assert taught.network is not taught.classifier
        losses.append([taught.train(BatchList([batch(1)]), 1, 0, 1).means[0] for _ in range(4)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4) and losses[0][-1] < 0.95 * losses[0][0]


def test_compiling_does_not_change_weights_or_statistics(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda network: network)
    taught = trainer(build("test_resnet", 3, {}))
    before = tensors(taught.classifier)
    taught.compile((32, 32))
    assert not changed(before, taught.classifier.state_dict())


def test_a_failing_compiler_is_an_error(monkeypatch, tmp_path, dataset, run):
    def compile_nothing(_):
        def fail(_):
            raise RuntimeError("no C++ compiler\nmuch more")

        return fail

    monkeypatch.setattr(torch, "compile", compile_nothing)
    with pytest.raises(
        UserError, match=r"^runs\.a\.compile: the compiler failed \(no C\+\+ compiler\); set it to false$"
    ):
        train(tmp_path, dataset, run(compile=True), [0])


def test_an_infinite_weight_under_a_finite_loss_is_an_error():
    classifier = linear()
    classifier.network.register_buffer("seen", torch.tensor([math.inf]))
    with pytest.raises(DivergenceError, match=r"a weight became NaN or infinite in epoch 3 at learning rate 0\.5"):
        trainer(classifier).train(BatchList([batch(1)]), 3, 0, 1)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_loss_that_is_nan_is_detected_before_the_epoch_ends(wrong):
    classifier, passes = linear(), []
    classifier.network.register_forward_hook(lambda *parts: passes.append(1) or parts[2] * wrong)
    with pytest.raises(DivergenceError, match=r"the loss became (nan|inf) in epoch 2 at learning rate 0\.5"):
        trainer(classifier, per_epoch=90).train(BatchList([batch(1)] * 90), 2, 0, 90)
    assert len(passes) <= 16
    with pytest.raises(DivergenceError, match=r"the loss became (nan|inf) in epoch 2\.5"):
        Trainer(classifier, section(), torch.tensor([1, 1, 1]), 1).evaluate([batch(1)], 2.5)

"""Models from timm, and the frozen copy for dreaming."""

import pickle

import pytest
import torch
from torch import nn

from dreambirds.errors import UserError, error_context
from dreambirds.models.classifier import build, head_parameters, options_for, probe
from dreambirds.models.inference import prepare_for_inference
from tests.helpers.small import settled

pytestmark = pytest.mark.slow


def test_every_model_has_its_own_normalization():
    inception, resnet = build("inception_v4", 2, {}), build("resnet10t", 2, {})
    assert inception.mean.flatten().tolist() == [0.5] * 3 and inception.std.flatten().tolist() == [0.5] * 3
    assert resnet.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    images = torch.rand(1, 3, 64, 64)
    resnet.eval()
    by_hand = resnet.network((images - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / resnet.std)
    assert torch.allclose(resnet(images), by_hand)


def test_unknown_model_options_are_an_error():
    sentence = r"^model_options: the model 'test_resnet' cannot be built with the options {'pad_typo': 'same'} \(.*\); "
    with pytest.raises(UserError, match=sentence + "change or remove them$"):
        build("test_resnet", 2, {"pad_typo": "same"})


@pytest.mark.parametrize(
    ("name", "options", "shape", "sentence"),
    [
        (
            "vit_tiny_patch16_224",
            {},
            (96, 64),
            r"does not accept images of 96x64 pixels \(.*\); change dataset\.image_size$",
        ),
        ("test_resnet", {"in_chans": 4}, (32, 32), "in_chans must be 1 or 3, not 4"),
        ("test_resnet", {"features_only": True}, (32, 32), r"cannot be built|returns \(1, 32"),
        ("test_resnet", {"global_pool": "", "num_classes": 0}, (32, 32), "cannot be built with the options|returns"),
        ("inception_v4", {}, (16, 16), "the model 'inception_v4' does not accept images of 16x16 pixels"),
    ],
)
def test_a_model_that_does_not_accept_the_images_is_an_error(name, options, shape, sentence):
    with pytest.raises(UserError, match=sentence):
        probe(build(name, 3, options), shape, 3)


def test_the_error_names_the_options_if_the_model_fits_without_them():
    def error_of(name: str, options: dict, shape: tuple[int, int]) -> str:
        with pytest.raises(UserError) as error:
            probe(build(name, 3, options), shape, 3, options)
        return str(error.value)

    wrong = "with {'drop_rate': 2}, the model 'test_resnet' does not accept images of 32x32 pixels (dropout"
    assert error_of("test_resnet", {"drop_rate": 2}, (32, 32)).startswith(f"model_options: {wrong}")
    narrow = error_of("vit_tiny_patch16_224", {"img_size": 64}, (48, 48))
    assert narrow.startswith("model_options: with {'img_size': 64}, the model")
    assert narrow.endswith("; change or remove 'model_options', or change dataset.image_size")
    small = error_of("inception_v4", {"drop_rate": 0.1}, (16, 16))
    assert small.startswith("the model 'inception_v4'") and small.endswith("; change dataset.image_size")


def test_an_error_with_a_key_follows_the_path_of_its_section():
    for key, expected in ((None, "runs.a: wrong"), ("b.c", "runs.a.b.c: wrong")):
        with pytest.raises(UserError) as error, error_context("runs"), error_context("a"):
            raise UserError("wrong", key)
        assert str(error.value) == expected and str(pickle.loads(pickle.dumps(error.value))) == expected


def test_a_model_without_one_logit_per_class_is_an_error():
    with pytest.raises(UserError, match=r"returns \(1, 4\) instead of logits for 3 classes; choose another model, or "):
        probe(build("test_resnet", 4, {}), (32, 32), 3)


@pytest.mark.parametrize("training", [True, False])
def test_probing_does_not_change_the_model(training):
    classifier = build("test_resnet", 3, {}).train(training)
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    probe(classifier, (32, 48), 3)
    assert classifier.training == classifier.network.bn1.training == training
    assert all(torch.equal(before[name], tensor) for name, tensor in classifier.state_dict().items())


def test_only_transformers_get_the_image_size_as_an_option():
    assert options_for("test_vit", {}, (96, 64)) == {"img_size": [96, 64]}
    assert options_for("test_vit", {"drop_rate": 0.1}, (64, 64)) == {"drop_rate": 0.1, "img_size": 64}
    assert options_for("test_vit", {"img_size": 32}, (96, 64)) == {"img_size": 32}
    assert options_for("test_vit", {}, (160, 160)) == {}
    assert options_for("test_resnet", {"a": 1}, (96, 64)) == {"a": 1} and options_for("inception_v4", {}, (9, 9)) == {}
    probe(build("test_vit", 3, options_for("test_vit", {}, (96, 64))), (96, 64), 3)


@pytest.mark.parametrize(
    "ask", [lambda name: build(name, 3, {}), lambda name: build(name, 3, options_for(name, {}, (32, 32)))]
)
def test_an_unknown_tag_is_an_error(ask):
    with pytest.raises(UserError, match=r"'test_resnet\.nosuchtag'"):
        ask("test_resnet.nosuchtag")


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit"])
def test_the_frozen_copy_computes_the_same_and_needs_no_gradient(name):
    torch.manual_seed(0)
    classifier = build(name, 3, {}).eval()
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    size = classifier.network.pretrained_cfg["input_size"][-1]
    frozen = prepare_for_inference(classifier, size, torch.device("cpu"))
    images = torch.rand(2, 3, size, size)
    assert torch.allclose(frozen(images), classifier(images), atol=1e-4)
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    assert all(parameter.requires_grad for parameter in classifier.parameters()), "the original does not change"
    assert not any(isinstance(module, nn.BatchNorm2d) for module in frozen.modules()), "also timm's with an activation"


def test_a_convolution_whose_output_is_recorded_keeps_its_batch_norm():
    classifier = settled()
    frozen = prepare_for_inference(classifier, 32, torch.device("cpu"), hooked=["layer1.0.conv1"])
    outputs = []
    for model in (classifier, frozen):
        conv = model.network.layer1[0].conv1
        with torch.no_grad():
            conv.register_forward_hook(lambda _module, _inputs, output: outputs.append(output.clone()))
            model(torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert torch.allclose(*outputs, atol=1e-5)
    assert isinstance(frozen.network.layer1[0].bn1, nn.BatchNorm2d)
    unfolded = prepare_for_inference(classifier, 32, torch.device("cpu"), fold=False)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in unfolded.modules()) == 15


@pytest.mark.parametrize("seen", ["conv1", "bn1", "layer1.0.conv1", "layer2"])
def test_recorded_outputs_are_the_same_after_folding(seen):
    outputs = []
    for model in (classifier := settled(), prepare_for_inference(classifier, 32, torch.device("cpu"), hooked=[seen])):
        note = lambda _module, _inputs, output: outputs.append(output.clone())  # noqa: E731
        model.network.get_submodule(seen).register_forward_hook(note)
        model(torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert torch.allclose(*outputs, atol=1e-5)


def test_folding_keeps_the_names_of_activations():
    classifier = settled(name="test_efficientnet")
    names = {name for name, _ in classifier.network.named_modules() if name.endswith(".act")}
    kept = {name for name, _ in prepare_for_inference(classifier, 32, torch.device("cpu")).network.named_modules()}
    assert names and names <= kept


def test_batch_norms_that_cannot_be_folded_stay_and_the_logits_do_not_change():
    class Twice(nn.Module):
        """A network that uses a convolution's output twice: in its batch norm and directly."""

        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 3)
            self.norm.running_mean.uniform_(-0.5, 0.5)

        def forward(self, images):
            features = self.conv(images)
            return self.head((self.norm(features) * features).mean(dim=(2, 3)))

    torch.manual_seed(0)
    classifier = settled()
    classifier.network = Twice().eval()
    frozen = prepare_for_inference(classifier, 32, torch.device("cpu"))
    assert isinstance(frozen.network.norm, nn.BatchNorm2d)
    images = torch.rand(2, 3, 32, 32)
    assert torch.allclose(frozen(images), classifier(images), atol=1e-6)


def test_the_head_is_the_last_layer():
    network = build("test_resnet", 5, {}).network
    assert [tuple(parameter.shape) for parameter in head_parameters(network)] == [(5, network.num_features), (5,)]
    two = build("deit_tiny_distilled_patch16_224", 5, {}).network
    assert list(map(id, head_parameters(two))) == [
        id(p) for head in (two.head, two.head_dist) for p in head.parameters()
    ]

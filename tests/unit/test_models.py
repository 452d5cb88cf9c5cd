"""Models from timm, their checkpoints, and the frozen copy that dreams."""

import pickle

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from dreambirds.errors import StudyError
from dreambirds.models.build import build, head_parameters, probe
from dreambirds.models.checkpoint import Card, load_checkpoint, save_checkpoint
from dreambirds.models.frozen import freeze

CARD = Card("test_resnet", {}, ["a", "b", "c"], "run", 3, 32)


def settled(classes: int = 3, name: str = "test_resnet"):
    """Return a classifier whose batch norms have seen something."""
    torch.manual_seed(0)
    classifier = build(name, classes, {})
    with torch.no_grad():
        for _ in range(3):
            classifier(torch.rand(4, 3, 32, 32))
    return classifier.eval()


def test_every_model_brings_its_own_normalisation():
    inception, resnet = build("inception_v4", 2, {}), build("resnet10t", 2, {})
    assert inception.mean.flatten().tolist() == [0.5] * 3 and inception.std.flatten().tolist() == [0.5] * 3
    assert resnet.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    images = torch.rand(1, 3, 64, 64)
    resnet.eval()
    by_hand = resnet.network((images - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / resnet.std)
    assert torch.allclose(resnet(images), by_hand)


def test_a_checkpoint_comes_back_as_it_was_and_the_same_weights_give_the_same_bytes(tmp_path):
    classifier = settled()
    save_checkpoint(tmp_path / "a", classifier, CARD)
    save_checkpoint(tmp_path / "b", classifier, CARD)
    again, card = load_checkpoint(tmp_path / "a")
    images = torch.rand(2, 3, 32, 32)
    assert card == CARD and not again.training
    assert torch.equal(again(images), classifier(images))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_checkpoint_that_is_cut_or_a_pickle_or_another_file_is_refused(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("went off").touch, ())

    save_checkpoint(tmp_path / "good", settled(), CARD)
    whole = (tmp_path / "good").read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "pickle").write_bytes(pickle.dumps(Bomb()))
    save_file({"x": torch.zeros(1)}, tmp_path / "foreign")
    save_checkpoint(tmp_path / "other", settled(2), CARD)
    for name, sentence in [
        ("cut", "no whole"),
        ("pickle", "no whole"),
        ("foreign", "no whole"),
        ("other", "weights of"),
    ]:
        with pytest.raises(StudyError, match=sentence):
            load_checkpoint(tmp_path / name)
    assert not (tmp_path / "went off").exists()


def test_weights_from_a_file_keep_the_backbone_and_replace_a_head_of_another_size(tmp_path):
    torch.manual_seed(1)
    donor = timm.create_model("test_resnet", num_classes=7)
    save_file(
        {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in donor.state_dict().items()},
        tmp_path / "donor.safetensors",
    )
    built = build("test_resnet", 2, {}, str(tmp_path / "donor.safetensors")).network
    assert built.fc.weight.shape == (2, donor.fc.weight.shape[1])
    kept, given = built.state_dict(), donor.state_dict()
    backbone = [name for name in given if not name.startswith("fc.") and given[name].is_floating_point()]
    assert all(torch.equal(kept[name], given[name].half().float()) for name in backbone)
    same = build("test_resnet", 7, {}, str(tmp_path / "donor.safetensors")).network
    assert torch.equal(same.fc.bias, donor.fc.bias.half().float())
    with pytest.raises(StudyError, match="does not fit the model"):
        build("resnet10t", 2, {}, str(tmp_path / "donor.safetensors"))
    (tmp_path / "x").write_text("no weights")
    with pytest.raises(StudyError, match="not a safetensors file"):
        build("test_resnet", 2, {}, str(tmp_path / "x"))


def test_options_that_a_model_does_not_know_are_named():
    with pytest.raises(StudyError, match=r"model_options {'pad_typo': 'same'} do not fit the model 'test_resnet'"):
        build("test_resnet", 2, {"pad_typo": "same"})


@pytest.mark.parametrize(
    ("name", "options", "size", "sentence"),
    [
        ("vit_tiny_patch16_224", {}, 96, r"does not take pictures of 96x96 pixels .* model_options: {img_size: 96}"),
        ("test_resnet", {"in_chans": 1}, 32, "does not take pictures of 32x32"),
        ("test_resnet", {"features_only": True}, 32, "can't be built|gives list"),
    ],
)
def test_a_model_that_does_not_fit_the_pictures_is_named(name, options, size, sentence):
    with pytest.raises(StudyError, match=sentence):
        probe(build(name, 3, options), size, 3)
    probe(build("vit_tiny_patch16_224", 3, {"img_size": 96}), 96, 3)


def test_an_unknown_tag_is_a_sentence():
    with pytest.raises(StudyError, match=r"the model 'test_resnet\.nosuchtag' can't be built"):
        build("test_resnet.nosuchtag", 3, {})


def test_a_hub_that_cannot_be_reached_says_how_to_go_on(monkeypatch):
    def unreachable(*_, **__):
        raise OSError("no route to host\nmore")

    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(
        StudyError, match=r"can't be had from the hub \(no route to host\); set weights to a safetensors file"
    ):
        build("test_resnet", 2, {}, "hub")


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit"])
def test_the_frozen_copy_computes_the_same_and_needs_no_gradient(name):
    torch.manual_seed(0)
    classifier = build(name, 3, {}).eval()
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    size = classifier.network.pretrained_cfg["input_size"][-1]
    frozen = freeze(classifier, size, torch.device("cpu"))
    images = torch.rand(2, 3, size, size)
    assert torch.allclose(frozen(images), classifier(images), atol=1e-4)
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    assert all(parameter.requires_grad for parameter in classifier.parameters()), "the original is left alone"
    assert not any(isinstance(module, nn.BatchNorm2d) for module in frozen.modules()), "also timm's with an activation"


def test_a_convolution_that_is_looked_at_keeps_its_batch_norm_apart():
    classifier = settled()
    frozen = freeze(classifier, 32, torch.device("cpu"), seen=["layer1.0.conv1"])
    outputs = []
    for model in (classifier, frozen):
        conv = model.network.layer1[0].conv1
        with torch.no_grad():
            conv.register_forward_hook(lambda _module, _inputs, output: outputs.append(output.clone()))
            model(torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert torch.allclose(*outputs, atol=1e-5)
    assert isinstance(frozen.network.layer1[0].bn1, nn.BatchNorm2d)
    whole = freeze(classifier, 32, torch.device("cpu"), fold=False)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in whole.modules()) == 15


@pytest.mark.parametrize("seen", ["conv1", "bn1", "layer1.0.conv1", "layer2"])
def test_what_is_looked_at_is_the_same_after_folding_also_in_a_block_that_ends_in_a_convolution(seen):
    outputs = []
    for model in (classifier := settled(), freeze(classifier, 32, torch.device("cpu"), seen=[seen])):
        note = lambda _module, _inputs, output: outputs.append(output.clone())  # noqa: E731
        model.network.get_submodule(seen).register_forward_hook(note)
        model(torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert torch.allclose(*outputs, atol=1e-5)


def test_folding_keeps_the_names_of_activations():
    classifier = settled(name="test_efficientnet")
    names = {name for name, _ in classifier.network.named_modules() if name.endswith(".act")}
    kept = {name for name, _ in freeze(classifier, 32, torch.device("cpu")).network.named_modules()}
    assert names and names <= kept


def test_batch_norms_that_can_not_be_folded_stay_and_the_logits_with_them():
    class Twice(nn.Module):
        """A convolution whose output is used once more beside its batch norm."""

        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 3)
            self.norm.running_mean.uniform_(-0.5, 0.5)

        def forward(self, images):
            made = self.conv(images)
            return self.head((self.norm(made) * made).mean(dim=(2, 3)))

    torch.manual_seed(0)
    classifier = settled()
    classifier.network = Twice().eval()
    frozen = freeze(classifier, 32, torch.device("cpu"))
    assert isinstance(frozen.network.norm, nn.BatchNorm2d)
    images = torch.rand(2, 3, 32, 32)
    assert torch.allclose(frozen(images), classifier(images), atol=1e-6)


def test_the_head_is_the_last_layer():
    network = build("test_resnet", 5, {}).network
    assert [tuple(parameter.shape) for parameter in head_parameters(network)] == [(5, network.num_features), (5,)]

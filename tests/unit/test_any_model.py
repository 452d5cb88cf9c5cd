"""Networks from timm under older names, from folders, and from torchvision; heads of every kind; grey images."""

import copy
import shutil

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torchvision.transforms import v2

from dreambirds.config.runs import check_model, check_options, native_input_size
from dreambirds.dreaming.features import FeatureExtractor, auto_layers, find_layer
from dreambirds.dreaming.stages import find_stages
from dreambirds.errors import UserError
from dreambirds.models import torchvision_models
from dreambirds.models.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from dreambirds.models.classifier import Classifier, build, head_parameters, options_for, probe
from dreambirds.models.heads import head_modules, head_names, logits_of
from dreambirds.models.inference import prepare_for_inference
from dreambirds.models.names import model_files

CPU = torch.device("cpu")
DEIT = ("deit_tiny_distilled_patch16_224", {"img_size": 32, "depth": 2, "embed_dim": 24, "num_heads": 2})
LEVIT = ("levit_128s", {"img_size": 64, "embed_dim": (16, 24, 32), "num_heads": (2, 2, 2), "depth": (1, 1, 1)})


@pytest.mark.parametrize("name", ["tf_efficientnet_b0_ns", "vit_base_patch16_224_in21k", "tv_resnext50_32x4d"])
def test_older_names_of_timm_have_the_size_and_normalization_of_the_current_ones(name):
    check_model(name, "model")
    current = timm.models._registry.get_deprecated_models()[name]
    config = timm.get_pretrained_cfg(current)
    assert native_input_size({"a": {"model": name, "model_options": {}}}) == config.input_size[-1]
    options = {"depth": 1, "embed_dim": 24, "num_heads": 2} if "vit" in name else {}
    assert options_for(name, options, (32, 32)) == ({**options, "img_size": 32} if options else {})
    with torch.device("meta"):
        network = timm.create_model(current, num_classes=2, **options)
    classifier = build(name, 2, options)
    assert classifier.network.state_dict().keys() == network.state_dict().keys()
    assert classifier.mean.flatten().tolist() == pytest.approx(config.mean)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("user/model", r"m: 'user/model' is not a name of timm; use hf-hub:user/model or local-dir:user/model"),
        ("swin_t", r"m: timm has no model 'swin_t'; did you mean 'torchvision:swin_t'\?"),
        ("torchvision:resnet5O", r"m: torchvision has no classifier 'resnet5O'; did you mean 'resnet50'\?"),
        ("torchvision:fcn_resnet50", r"m: torchvision has no classifier 'fcn_resnet50'; "),
        ("hf-hub:model", r"m: 'model' is not a repository of the Hugging Face hub; use hf-hub:user/name"),
        ("local-dir:nowhere", r"m: 'nowhere/config\.json' does not exist; set local-dir: to a folder that contains"),
    ],
)
def test_names_that_no_model_has_are_refused_with_what_to_write(name, sentence):
    with pytest.raises(UserError, match=sentence):
        check_model(name, "m")


def test_a_number_of_channels_is_one_or_three():
    check_options({"in_chans": 1, "pad_type": "same"}, "o")
    for wrong in (2, 4, "1", True, [1]):
        with pytest.raises(UserError, match=r"^o\.in_chans: must be 3, or 1 for a model of grey images, not "):
            check_options({"in_chans": wrong}, "o")


@pytest.fixture
def local(tmp_path, monkeypatch):
    """Return the name of a folder in timm's layout, with one channel and its own normalization and size."""
    monkeypatch.setenv("MODELS", str(tmp_path))
    network = timm.create_model("test_vit", num_classes=3, in_chans=1, img_size=48, embed_dim=16, num_heads=2).eval()
    network.pretrained_cfg |= {"mean": (0.25,), "std": (0.5,)}
    timm.models.save_for_hf(network, tmp_path / "net", {"label_names": ["a", "b", "c"]}, safe_serialization=True)
    return "local-dir:$MODELS/net", network


def test_a_folder_brings_its_weights_size_channels_and_normalization(local, tmp_path):
    name, network = local
    check_model(name, "model")
    assert [path.name for path in model_files(name)] == ["model.safetensors", "config.json"]
    assert all(path.is_relative_to(tmp_path) for path in model_files(name))
    assert native_input_size({"a": {"model": name, "model_options": {}}}) == 48
    classifier = build(name, 3, {}, "hub", new_head=False).eval()
    assert classifier.channels == 1 and classifier.architecture == "test_vit"
    images = torch.rand(2, 3, 48, 48)
    grey = v2.functional.rgb_to_grayscale(images)
    assert torch.allclose(classifier(images), network((grey - 0.25) / 0.5), atol=2e-3)
    fresh = build(name, 5, options_for(name, {}, (32, 32)), "hub")
    probe(fresh, (32, 32), 5)
    assert torch.equal(fresh.network.blocks[0].attn.qkv.weight, network.blocks[0].attn.qkv.weight)
    assert not torch.equal(build(name, 3, {}).network.head.weight, network.head.weight), "random without 'hub'"


def test_a_checkpoint_of_a_folder_needs_the_folder_no_more(local, tmp_path):
    name, _ = local
    classifier = build(name, 3, {}, "hub").eval()
    save_checkpoint(tmp_path / "run", classifier, CheckpointInfo(name, {}, ["a", "b", "c"], "r", 1, 48))
    shutil.rmtree(tmp_path / "net")
    again, info = load_checkpoint(tmp_path / "run")
    images = torch.rand(2, 3, 48, 48)
    assert info.model == name and info.architecture == "test_vit" and again.channels == 1
    assert torch.allclose(again(images), classifier(images), atol=1e-6)
    save_checkpoint(tmp_path / "next", again, CheckpointInfo(name, info.model_options, info.labels, "r", 2, 48))
    assert torch.allclose(load_checkpoint(tmp_path / "next")[0](images), classifier(images), atol=1e-6)
    opened = timm.create_model(f"local-dir:{tmp_path / 'run'}", pretrained=True).eval()
    grey = v2.functional.rgb_to_grayscale(images)
    assert opened.pretrained_cfg["mean"] == [0.25]
    assert torch.allclose(opened((grey - 0.25) / 0.5), classifier(images), atol=2e-3)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v3_small"])
def test_a_classifier_of_torchvision_is_built_prepared_and_stored(tmp_path, name, channels):
    options = {} if channels == 3 else {"in_chans": 1}
    classifier = build(f"torchvision:{name}", 4, options)
    probe(classifier, (64, 64), 4, options)
    (head,) = head_modules(classifier.network)
    assert 4 in (getattr(head, "out_features", 0), getattr(head, "out_channels", 0))
    assert classifier.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406] if channels == 3 else [0.449])
    expected = torchvision.models.get_model(name, num_classes=4).state_dict()
    found = classifier.network.state_dict()
    first = next(key for key in expected if key.endswith("weight"))
    assert [key for key in expected if expected[key].shape != found[key].shape] == ([] if channels == 3 else [first])
    images = torch.rand(2, 3, 64, 64)
    frozen = prepare_for_inference(classifier.eval(), 64, CPU)
    assert torch.allclose(frozen(images), classifier(images), atol=1e-4)
    info = CheckpointInfo(f"torchvision:{name}", options, list("abcd"), "r", 1, 64)
    save_checkpoint(tmp_path, classifier, info)
    again, read = load_checkpoint(tmp_path)
    assert read == info and torch.equal(again(images), classifier(images))


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """Return torchvision's weights of SqueezeNet, which are random, as if they had been downloaded."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    state = torchvision.models.squeezenet1_1().state_dict()
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    url = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.url
    torch.save(state, tmp_path / "hub" / "checkpoints" / url.rpartition("/")[2])
    return state


def test_the_weights_of_torchvision_are_loaded_below_a_new_head(cached):
    network = build("torchvision:squeezenet1_1", 4, {}, "hub").network
    names = head_names(network)
    assert names == ["classifier.1"]
    assert all(torch.equal(each, cached[key]) for key, each in network.state_dict().items() if names[0] not in key)
    whole = build("torchvision:squeezenet1_1", 1000, {}, "hub", new_head=False)
    grey = build("torchvision:squeezenet1_1", 1000, {"in_chans": 1}, "hub", new_head=False)
    grey.mean.fill_(0), grey.std.fill_(1), whole.mean.fill_(0), whole.std.fill_(1)
    image = torch.rand(1, 1, 64, 64).repeat(1, 3, 1, 1)
    assert torch.allclose(grey.eval()(image), whole.eval()(image), atol=1e-4), "the sum of the filters, as in timm"


def test_weights_of_torchvision_that_cannot_be_downloaded_are_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.value
    monkeypatch.setattr(weights, "url", "http://127.0.0.1:9/squeezenet1_1-b8a52dc0.pth")
    monkeypatch.setattr(torchvision_models, "HUB_TIMEOUT", 1)
    sentence = (
        r"^weights: cannot download the weights of 'torchvision:squeezenet1_1' from 'http://127\.0\.0\.1:9/.*refused"
    )
    with pytest.raises(UserError, match=sentence):
        build("torchvision:squeezenet1_1", 4, {}, "hub")


def test_inception_of_torchvision_takes_its_files_and_trains_without_auxiliary_heads(tmp_path):
    given = torchvision.models.inception_v3(num_classes=7, init_weights=False).eval()
    given.transform_input = True
    save_file(given.state_dict(), tmp_path / "given.safetensors")
    classifier = build("torchvision:inception_v3", 7, {}, str(tmp_path / "given.safetensors"), new_head=False).eval()
    images = torch.rand(2, 3, 80, 80)
    normalized = v2.functional.normalize(images, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert torch.allclose(classifier(images), given(normalized), atol=1e-4)
    fresh = build("torchvision:inception_v3", 3, {}, str(tmp_path / "given.safetensors"))
    assert fresh.train()(images).shape == (2, 3) and head_names(fresh.network) == ["fc"]
    assert not [name for name in fresh.network.state_dict() if name.startswith("Aux")]


@pytest.mark.parametrize(("name", "options"), [DEIT, LEVIT], ids=["deit", "levit"])
def test_a_network_with_two_heads_returns_their_mean(name, options):
    classifier = build(name, 3, options).eval()
    heads, inputs = head_modules(classifier.network), []
    assert len(heads) == 2 and len(head_parameters(classifier.network)) >= 4
    hooks = [head.register_forward_hook(lambda *parts: inputs.append(parts[2])) for head in heads]
    logits = classifier(torch.rand(2, 3, 64, 64) if "levit" in name else torch.rand(2, 3, 32, 32))
    for hook in hooks:
        hook.remove()
    assert torch.allclose(logits, (inputs[0] + inputs[1]) / 2, atol=1e-6)


def test_logits_are_found_among_other_outputs():
    class Output:
        logits = torch.ones(2, 3)

    one, two, features = torch.zeros(2, 3), torch.full((2, 3), 4.0), torch.rand(2, 9)
    assert logits_of(one) is one and logits_of(Output()) is Output.logits
    assert logits_of((two, features)) is two and logits_of({"out": two, "aux": one}) is two
    assert logits_of({"features": features, "logits": one}) is one
    assert torch.equal(logits_of([one, two]), torch.full((2, 3), 2.0)) and logits_of(None) is None


def test_a_normalization_has_one_number_or_one_per_channel():
    class Head(nn.Module):
        def forward(self, images):
            return images.flatten(1)

    image = torch.tensor([0.2, 0.4, 0.8]).view(1, 3, 1, 1)
    color = Classifier(Head(), normalization={"mean": [0.1, 0.2, 0.3], "std": 0.5})
    assert torch.allclose(color(image), torch.tensor([[0.2, 0.4, 1.0]]))
    grey = Classifier(Head(), 1, normalization={"mean": [0.1, 0.2, 0.3], "std": [0.5]})
    value = 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.8
    assert torch.allclose(grey(image), torch.tensor([[(value - 0.2) / 0.5]]))
    with pytest.raises(UserError, match=r"^normalization: must have one number, or one for each of 3 channels, not"):
        Classifier(Head(), normalization={"mean": [1, 2], "std": 1})
    with pytest.raises(UserError, match="normalization: the std must be positive, not 0"):
        Classifier(Head(), normalization={"mean": 0.5, "std": 0})


def test_feature_stages_end_where_a_resolution_ends():
    class Residual(nn.Module):
        def __init__(self, inner: int, outer: int, stride: int):
            super().__init__()
            self.conv, self.act = nn.Conv2d(inner, outer, 3, stride, 1), nn.ReLU()

        def forward(self, images):
            return self.act(self.conv(images))

    first = nn.Sequential(Residual(3, 4, 2), Residual(4, 4, 1))
    network = nn.Sequential(first, Residual(4, 6, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2)).train()
    network[1].eval()
    assert find_stages(network) == ["0", "1"] and network.training and not network[1].training
    assert [find_layer(network, depth) for depth in ("0%", "100%")] == ["0", "1"] and auto_layers(network) == ["0", "1"]
    network[0].register_forward_pre_hook(lambda *_: pytest.fail("searched again"))
    assert find_stages(network) == ["0", "1"] and find_stages(copy.deepcopy(network)[1]) == ["act"]


def test_stages_of_a_transformer_are_its_blocks():
    network = torchvision.models.VisionTransformer(32, 16, 3, 2, 8, 16, num_classes=2).eval()
    blocks = [f"encoder.layers.encoder_layer_{index}" for index in range(3)]
    assert find_stages(network) == blocks and auto_layers(network) == ["conv_proj", *blocks]
    outputs = FeatureExtractor(network, ["50%"], logits=False)(torch.rand(2, 3, 32, 32))
    assert outputs.layers["50%"].shape == (2, 5, 8)

"""Feature matching with models of several types, and the layers of `auto`."""

import math

import pytest
import timm
import torch
from torch import nn

from dreambirds.dreaming.features import FeatureExtractor, auto_layers, find_layers, make_objective
from dreambirds.dreaming.matching import (
    References,
    photograph_statistics,
    references_like,
    stack_statistics,
)
from dreambirds.dreaming.recipe import Recipe
from dreambirds.errors import UserError
from dreambirds.models.inference import prepare_for_inference
from tests.helpers.matching import distance_by_hand, parts_by_hand, statistic_by_hand
from tests.helpers.small import close, network, rand, settled

SWIN = {"img_size": 32, "window_size": 4, "embed_dim": 8, "depths": (1, 1), "num_heads": (1, 2)}
BLOCKS = [f"blocks.{index}" for index in range(6)]
STAGES = [f"stages.{index}" for index in range(4)]
MODELS = {  # options, image shape, layers, and the layout of their activations
    "test_resnet": ({}, (48, 32), ["act1", "layer1", "layer2", "layer3", "layer4"], "NCHW"),
    "test_efficientnet": ({}, (48, 32), ["conv_stem", *BLOCKS[:5], "conv_head"], "NCHW"),
    "test_convnext": ({}, (64, 96), ["stem.0", *STAGES], "NCHW"),
    "test_vit": ({"img_size": (64, 96)}, (64, 96), ["patch_embed.proj", *BLOCKS], "NLC"),
    "swin_tiny_patch4_window7_224": (SWIN, (32, 32), ["patch_embed.proj", "layers.0", "layers.1"], "NHWC"),
}


@pytest.fixture(params=MODELS, scope="module")
def known(request):
    """Return a small model of each type in float64, its image shape, its layers, and their layout."""
    options, shape, names, layout = MODELS[request.param]
    return settled(3, request.param, options, shape).double().requires_grad_(False), shape, names, layout


def activations_of(model, names: list[str], images: torch.Tensor, layout: str) -> dict[str, list]:
    """Return the activations (C, P) of each layer and image, and the shape of its map, from plain hooks."""
    heard = {}
    hooks = [
        model.network.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: heard.setdefault(name, output.clone())
        )
        for name in names
    ]
    model(images)
    for hook in hooks:
        hook.remove()
    found = {}
    for name, output in heard.items():
        if output.ndim == 4 and layout == "NHWC" and name != "patch_embed.proj":
            output = output.movedim(3, 1)
        elif output.ndim == 3:
            output = output.movedim(2, 1)
        shape = output.shape[2:] if output.ndim == 4 else tuple(side // 16 for side in images.shape[2:])
        found[name] = [(image.flatten(1).numpy(), shape) for image in output]
    return found


def test_auto_is_the_stem_the_stages_and_the_last_convolution(known):
    model, shape, names, _ = known
    assert auto_layers(model.network) == names == find_layers(model.network, "auto")
    objective = make_objective({"logit": 1.0, "feature_match": 1.0}, model)
    assert objective.layers == names and objective.matched == set(names)
    frozen = prepare_for_inference(model.float(), shape, torch.device("cpu"), True, set(names))
    model.double()
    assert auto_layers(frozen.network) == names, "with folded batch norms"
    assert make_objective("logit", model).layers == []


@pytest.mark.parametrize("regions", ["whole", "center"])
def test_a_model_s_score_is_minus_the_distances_of_its_layers(known, regions):
    model, shape, names, layout = known
    photographs, dreams = rand(3, 3, *shape), rand(5, 3, *shape)[3:]
    recipe = Recipe(objective="feature_match", match_regions=regions)
    features = FeatureExtractor(model, names, logits=False)
    statistics = stack_statistics([photograph_statistics(features, photographs, recipe)] * 2)
    seen = features(dreams)
    seen.references = References(recipe, statistics, features.prefix, shape).at(0, 0)
    found = make_objective("feature_match", model)(seen, torch.tensor([0, 1]))
    real, dreamt = (activations_of(model, names, images, layout) for images in (photographs, dreams))
    for index in range(2):
        total = 0.0
        for name in names:
            own, grid = dreamt[name][index]
            prefix = own.shape[1] - math.prod(grid)
            assert prefix == (1 if name.startswith("blocks") and layout == "NLC" else 0)
            parts = [[0]] * prefix
            parts += [[each + prefix for each in part] for part in parts_by_hand(regions, *grid)]
            each = [statistic_by_hand(activations, parts) for activations, _ in real[name]]
            total += distance_by_hand(statistic_by_hand(own, parts), sum(each) / len(each))
        assert found[index].item() == pytest.approx(-total, rel=1e-6)


def test_a_photograph_compared_with_itself_has_no_distance(known):
    model, shape, names, _ = known
    photograph, recipe = rand(1, 3, *shape), Recipe(objective="feature_match", match_regions="thirds")
    features = FeatureExtractor(model, names, logits=False)
    statistics = stack_statistics([photograph_statistics(features, photograph, recipe)])
    references = References(recipe, statistics, features.prefix, shape).for_full_images()
    other = features(rand(2, 3, *shape)[1:]).layers
    for name, activation in features(photograph).layers.items():
        assert references[name].distance(activation).item() < 1e-12
        assert references[name].distance(other[name]).item() > 1e-6
    measured = references_like(features, features(photograph), recipe, shape).for_full_images()
    assert {name: each.mean.shape for name, each in measured.items()} == {
        name: each.mean.shape for name, each in references.items()
    }


@pytest.mark.slow
def test_auto_of_inception():
    model = timm.create_model("inception_v4", num_classes=2).eval().requires_grad_(False)
    expected = ["features.0.conv", *(f"features.{index}" for index in (2, 3, 9, 17, 21))]
    assert auto_layers(model) == expected
    seen = FeatureExtractor(model, expected, logits=False)(torch.rand(1, 3, 96, 96))
    assert list(seen.layers) == expected


def test_the_stem_is_listed_once():
    """Timm lists the norm and activation of this stem as the first stage, so its convolution is excluded."""
    assert auto_layers(timm.create_model("mobilenetv3_small_050", num_classes=2))[:2] == ["bn1", "blocks.0"]


def test_cait_s_blocks_have_no_prefix_token():
    """CaiT adds its class token after the blocks, although timm counts it as a prefix."""
    small = {"img_size": 64, "depth": 1, "embed_dim": 8, "num_heads": 1}
    model = timm.create_model("cait_xxs24_224", num_classes=2, **small).eval().requires_grad_(False)
    features = FeatureExtractor(model, ["blocks.0"], logits=False)
    photographs = rand(2, 3, 64, 64).float()
    found = photograph_statistics(features, photographs, Recipe(match_regions="center"))["whole"]["blocks.0"]
    tokens = model.patch_embed(photographs) + model.pos_embed
    each = [statistic_by_hand(image.T.numpy(), parts_by_hand("center", 4, 4)) for image in model.blocks[0](tokens)]
    assert close(found, sum(each) / 2, 1e-5)


def test_auto_is_an_error_for_a_model_without_feature_stages():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
    for ask in (auto_layers, lambda model: make_objective("feature_match", model)):
        with pytest.raises(UserError, match="no feature stages were found in this model, so 'auto' is undefined; name"):
            ask(flat)
    assert auto_layers(network()) == ["2", "3", "4"], "where maps of a size end, and the last convolution"
    assert make_objective("feature_match:0", network()).layers == ["0"]

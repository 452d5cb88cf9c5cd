"""Prepare a classifier for dreaming.

It is frozen, its batch norms are folded into convolutions, and its memory format is channels-last.
"""

import copy
import logging
from collections import OrderedDict
from collections.abc import Collection, Iterator

import torch
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dreambirds.models.classifier import Classifier
from dreambirds.shapes import shape_of

TOLERANCE = 1e-4  # of the largest logit, or of 1 if that is larger
log = logging.getLogger(__name__)


def prepare_for_inference(
    classifier: Classifier,
    size: int | list[int] | tuple[int, int],
    device: torch.device,
    fold: bool = True,
    hooked: Collection[str] = (),
) -> Classifier:
    """Return a frozen copy that computes the same logits faster.

    Its parameters need no gradient. `size` is the side of its square images or their (height, width), in pixels. With
    `fold`, batch norms are folded into the convolutions before them; none is folded if that would change the logits by
    more than 1e-4 of their scale. `hooked` names the modules whose outputs are recorded: a convolution that computes
    one of these keeps its batch norm.
    """
    frozen = copy.deepcopy(classifier).eval()
    if fold:
        frozen.network = _folded(frozen, shape_of(size), set(hooked))
    return frozen.to(device, memory_format=torch.channels_last).requires_grad_(False)


def _folded(classifier: Classifier, shape: tuple[int, int], hooked: set[str]) -> nn.Module:
    probe = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    trial = copy.deepcopy(classifier)
    network = trial.network
    with torch.no_grad():
        pairs, expected = _pairs(trial, probe, hooked)
        names = {module: name for name, module in network.named_modules()}
        for conv, norm in pairs:
            _replace(network, names[conv], fuse_conv_bn_eval(conv, norm))
            _replace(network, names[norm], _without_normalization(norm))
        folded = trial(probe)
    if (expected - folded).abs().max() > TOLERANCE * expected.abs().max().clamp(min=1):
        log.info(
            "batch norms are not folded into convolutions, because that would change the logits "
            "(only speed is affected)"
        )
        return classifier.network
    return network


def _pairs(
    classifier: Classifier, images: torch.Tensor, hooked: set[str]
) -> tuple[list[tuple[nn.Conv2d, nn.BatchNorm2d]], torch.Tensor]:
    """Return the pairs of a convolution and its batch norm, and the logits (B, C).

    The batch norm's input is the convolution's output. Pairs are found by a forward pass with hooks. No graph is
    traced, so this works for any model. If something else uses a convolution's output too, the caller notices it in the
    logits after folding. A convolution is excluded if its output is recorded, under its own name or that of a block
    that ends in it.
    """
    network = classifier.network
    outputs: dict[int, tuple[nn.Module, torch.Tensor]] = {}
    pairs: dict[nn.Module, tuple[nn.Module, torch.Tensor]] = {}
    recorded: dict[int, torch.Tensor] = {}

    def record_convolution(module, _, output):
        outputs[id(output)] = (module, output)

    def match_norm(module, inputs):
        convolution = outputs.get(id(inputs[0]))
        if convolution is not None:
            pairs[module] = convolution

    def record_hooked(_module, _inputs, output):
        recorded[id(output)] = output

    hooks = [
        module.register_forward_hook(record_convolution) for module in network.modules() if type(module) is nn.Conv2d
    ]
    hooks += [norm.register_forward_pre_hook(match_norm) for norm in _foldable(network)]
    hooks += [network.get_submodule(name).register_forward_hook(record_hooked) for name in hooked]
    logits = classifier(images)
    for hook in hooks:
        hook.remove()
    return [(conv, norm) for norm, (conv, output) in pairs.items() if id(output) not in recorded], logits


def _foldable(network: nn.Module) -> Iterator[nn.Module]:
    return (
        module
        for module in network.modules()
        if type(module) in (nn.BatchNorm2d, BatchNormAct2d) and module.track_running_stats and module.affine
    )


def _without_normalization(norm: nn.Module) -> nn.Module:
    """Return the rest of a batch norm: timm's may apply dropout and an activation."""
    if type(norm) is BatchNormAct2d:
        return nn.Sequential(OrderedDict(drop=norm.drop, act=norm.act))
    return nn.Identity()


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)

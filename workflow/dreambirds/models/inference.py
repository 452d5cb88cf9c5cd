"""Make a classifier ready to dream: frozen, its batch norms folded into convolutions, laid out for the processor."""

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

TOLERANCE = 1e-4
log = logging.getLogger(__name__)


def prepare_for_inference(
    classifier: Classifier,
    size: int | list[int] | tuple[int, int],
    device: torch.device,
    fold: bool = True,
    seen: Collection[str] = (),
) -> Classifier:
    """Return a copy for images of `size` that computes the same logits faster, and no gradient of its own.

    `size` is the side of squares or (height, width), in pixels. With `fold`, batch norms are folded into the
    convolutions before them; all stay where they are if that would move the logits by more than 1e-4 of their scale.
    `seen` names modules whose outputs are looked at: a convolution that makes one of these keeps its batch norm apart.
    """
    frozen = copy.deepcopy(classifier).eval()
    if fold:
        frozen.network = _folded(frozen, shape_of(size), set(seen))
    return frozen.to(device, memory_format=torch.channels_last).requires_grad_(False)


def _folded(classifier: Classifier, shape: tuple[int, int], seen: set[str]) -> nn.Module:
    probe = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    normalized = (probe - classifier.mean) / classifier.std
    network = copy.deepcopy(classifier.network)
    with torch.no_grad():
        pairs, expected = _pairs(network, normalized, seen)
        names = {module: name for name, module in network.named_modules()}
        for conv, norm in pairs:
            _replace(network, names[conv], fuse_conv_bn_eval(conv, norm))
            _replace(network, names[norm], _what_remains(norm))
        got = network(normalized)
    if (expected - got).abs().max() > TOLERANCE * expected.abs().max().clamp(min=1):
        log.info("batch norms stay apart: folding them would change the logits")
        return classifier.network
    return network


def _pairs(
    network: nn.Module, images: torch.Tensor, seen: set[str]
) -> tuple[list[tuple[nn.Conv2d, nn.BatchNorm2d]], torch.Tensor]:
    """Return each convolution with the batch norm that took its output, found by running the network, and the logits.

    No graph is traced, so that any model will do. That nothing else took the output shows in the folded logits. An
    output that is looked at, under the convolution's name or that of a block that ends in it, makes no pair.
    """
    made: dict[int, tuple[nn.Module, torch.Tensor]] = {}
    pairs: dict[nn.Module, nn.Module] = {}
    looked_at: dict[int, torch.Tensor] = {}

    def note_output(module, _, output):
        made[id(output)] = (module, output)

    def note_input(module, inputs):
        maker = made.get(id(inputs[0]))
        if maker is not None:
            pairs[module] = maker

    def note_look(_module, _inputs, output):
        looked_at[id(output)] = output

    hooks = [module.register_forward_hook(note_output) for module in network.modules() if type(module) is nn.Conv2d]
    hooks += [norm.register_forward_pre_hook(note_input) for norm in _foldable(network)]
    hooks += [network.get_submodule(name).register_forward_hook(note_look) for name in seen]
    logits = network(images)
    for hook in hooks:
        hook.remove()
    return [(conv, norm) for norm, (conv, output) in pairs.items() if id(output) not in looked_at], logits


def _foldable(network: nn.Module) -> Iterator[nn.Module]:
    return (
        module
        for module in network.modules()
        if type(module) in (nn.BatchNorm2d, BatchNormAct2d) and module.track_running_stats and module.affine
    )


def _what_remains(norm: nn.Module) -> nn.Module:
    """Return what a batch norm did beside normalising: timm's may drop and activate too."""
    if type(norm) is BatchNormAct2d:
        return nn.Sequential(OrderedDict(drop=norm.drop, act=norm.act))
    return nn.Identity()


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)

"""Build torchvision's classifiers, and load its pretrained weights."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torchvision import models

from dreambirds.errors import UserError, first_line
from dreambirds.models.heads import AUXILIARY, describe
from dreambirds.models.weights import HUB_TIMEOUT

WITH_AUXILIARY = ("googlenet", "inception_v3")
REMEDY = "change or remove 'model_options', or set 'weights' to null"


def build_torchvision(name: str, classes: int, options: dict) -> nn.Module:
    """Return a classifier of torchvision with random weights.

    `options` may contain ``in_chans``, 1 or 3, and ``img_size`` for transformers. Inception v3 and GoogLeNet convert
    ImageNet's normalization to their own, as with torchvision's weights; their auxiliary heads are those of the files,
    and `without_auxiliary_heads` removes them.
    """
    arguments = dict(options)
    channels, size = arguments.pop("in_chans", 3), arguments.pop("img_size", None)
    if name in WITH_AUXILIARY:
        arguments = {"transform_input": channels == 3, "init_weights": True, **arguments}
    if size is not None:
        arguments["image_size"] = size
    network = models.get_model(name, weights=None, num_classes=classes, **arguments)
    if channels != 3:
        first, convolution = first_convolution(network)
        parent, _, child = first.rpartition(".")
        setattr(network.get_submodule(parent), child, _with_channels(convolution, channels))
    if isinstance(network, models.VisionTransformer):
        network.num_prefix_tokens = 1  # as timm calls the class token
    if isinstance(network, models.SwinTransformer):
        network.output_fmt = "NHWC"
    transforms = default_transforms(name)
    shape = (channels, *(network.image_size,) * 2) if size else (channels, *transforms.crop_size * 2)
    describe(network, f"torchvision:{name}", classes, shape, mean=transforms.mean, std=transforms.std)
    return network


def default_transforms(name: str):
    """Return the preprocessing of a model's default weights, with ``crop_size`` [side], ``mean`` and ``std``."""
    return models.get_model_weights(name).DEFAULT.transforms()


def first_convolution(network: nn.Module) -> tuple[str, nn.Conv2d] | tuple[None, None]:
    """Return the name of a network's first convolution, and the convolution itself."""
    found = ((name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d))
    return next(found, (None, None))


def _with_channels(convolution: nn.Conv2d, channels: int) -> nn.Conv2d:
    """Return a new convolution for images with another number of channels."""
    keys = ("out_channels", "kernel_size", "stride", "padding", "dilation", "padding_mode")
    same = {key: getattr(convolution, key) for key in keys}
    return nn.Conv2d(channels, bias=convolution.bias is not None, **same)


def without_auxiliary_heads(network: nn.Module) -> None:
    """Remove the auxiliary heads of Inception v3 and GoogLeNet, which need large images and only help training."""
    for name in {name.partition(".")[0] for name in AUXILIARY}:
        if hasattr(network, name):
            setattr(network, name, None)
            network.aux_logits = False
    names = network.pretrained_cfg["classifier"]
    network.pretrained_cfg["classifier"] = [name for name in names if name not in AUXILIARY]


def pretrained_state(name: str, network: nn.Module) -> dict[str, torch.Tensor]:
    """Return torchvision's default weights of a model, downloaded once into torch's cache.

    The weights of the first convolution are summed over its channels if the network takes one channel, as timm does.
    Raises UserError if they cannot be downloaded.
    """
    weights = models.get_model_weights(name).DEFAULT
    try:
        with _socket_timeout(HUB_TIMEOUT):
            state = dict(weights.get_state_dict(progress=False, check_hash=True))
    except Exception as error:  # urllib and torch raise many types
        raise UserError(
            f"cannot download the weights of 'torchvision:{name}' from '{weights.url}' ({first_line(error)}); set "
            "'weights' to a file, or put that file into the folder 'hub/checkpoints' of torch's cache (TORCH_HOME)"
        ) from error
    first, convolution = first_convolution(network)
    if convolution is not None and convolution.in_channels == 1:
        state[f"{first}.weight"] = state[f"{first}.weight"].sum(dim=1, keepdim=True)
    return state


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(previous)

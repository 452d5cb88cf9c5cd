"""Build networks of every kind of name that a config's `model` may have, and tell their input size."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import timm
from timm.models import load_model_config_from_hf
from timm.models._hub import load_model_config_from_path  # what `timm.create_model` calls for "local-dir:"
from torch import nn

from dreambirds.errors import UserError, first_line
from dreambirds.io import expand
from dreambirds.models.heads import describe, is_like_timm
from dreambirds.models.names import HUB, LOCAL, OWN, TIMM, TORCHVISION, current_name, split_name
from dreambirds.models.own_code import build_own
from dreambirds.models.torchvision_models import build_torchvision, default_transforms, first_convolution
from dreambirds.models.weights import hub_timeout

SIDE = 224  # of the images that a network without a description is described for, as in timm
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InputConfig:
    """The default input (height, width) of a model; `fixed` if another one has to be an option."""

    shape: tuple[int, int]
    fixed: bool


def create_network(name: str, classes: int, options: dict, pretrained: bool = False) -> nn.Module:
    """Return a network for a number of classes, with random weights from torch's global generator.

    With `pretrained` it has the weights that timm downloads, which exist only for names of timm and the hub. Raises
    what the network's code raises, and UserError for a user's own code.
    """
    kind, rest = split_name(name)
    if kind == TORCHVISION:
        return build_torchvision(rest, classes, options)
    if kind == OWN:
        network = build_own(name, classes, options)
        if not is_like_timm(network):
            if "mean" not in getattr(network, "pretrained_cfg", {}):
                log.info("'%s' has no 'pretrained_cfg' with a mean and std: ImageNet's are the default", name)
            describe(network, name, classes, (count_channels(network, options), SIDE, SIDE))
        return network
    with _without_deprecations():
        return timm.create_model(timm_name(name), pretrained=pretrained, num_classes=classes, **options)


def timm_name(name: str) -> str:
    """Return the name for `timm.create_model`: older names become current, and paths are expanded."""
    kind, rest = split_name(name)
    if kind == LOCAL:
        return f"local-dir:{expand(rest)}"
    return current_name(name) if kind == TIMM else f"hf-hub:{rest}"


@contextmanager
def _without_deprecations() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mapping deprecated model name")
        yield


def count_channels(network: nn.Module, options: dict) -> int:
    """Return the number of channels of a network's images.

    It is the option ``in_chans``, or else that of the first convolution if this is 1, or else 3.
    """
    if "in_chans" in options:
        return options["in_chans"]
    _, convolution = first_convolution(network)
    return 1 if convolution is not None and convolution.in_channels == 1 else 3


def own_options(network: nn.Module) -> dict:
    """Return the options with which timm built a network, except the number of classes."""
    return {key: value for key, value in network._model_args.items() if key != "num_classes"}


def input_config(name: str) -> InputConfig | None:
    """Return the default input of a model, or None if it has none.

    It is None for a user's own code, and for models without pretrained weights in timm. Raises UserError if timm has no
    such tag, or if the config of a repository or folder cannot be read.
    """
    kind, rest = split_name(name)
    if kind == OWN:
        return None
    if kind == TORCHVISION:
        (side,) = default_transforms(rest).crop_size
        return InputConfig((side, side), fixed=rest.startswith("vit_"))
    if kind == TIMM:
        try:
            config = timm.get_pretrained_cfg(current_name(name))
        except RuntimeError as error:  # it has no such tag
            raise UserError(f"timm rejects '{name}' ({first_line(error)}); choose another model", "model") from error
        return config and InputConfig(tuple(config.input_size[1:]), config.fixed_input_size)
    config, architecture, options = _stored_config(kind, rest)
    default = timm.get_pretrained_cfg(architecture)
    size = options.get("img_size") or config.get("input_size", default.input_size if default else (3, SIDE, SIDE))[1:]
    shape = (size, size) if isinstance(size, int) else tuple(size)
    return InputConfig(shape, bool(config.get("fixed_input_size", default and default.fixed_input_size)))


def stored_class_names(name: str) -> list[str] | None:
    """Return the class names in the config of a model on the hub, None if it has none."""
    kind, rest = split_name(name)
    if kind != HUB:
        return None
    names = _stored_config(kind, rest)[0].get("label_names")
    return list(names) if names else None


def _stored_config(kind: str, rest: str) -> tuple[dict, str, dict]:
    """Return timm's config, architecture and options in a repository or a folder."""
    try:
        if kind == LOCAL:
            return load_model_config_from_path(expand(rest))
        with hub_timeout():
            return load_model_config_from_hf(rest)
    except Exception as error:  # the hub's client and JSON raise many types
        raise UserError(f"{_no_config(kind, rest)} ({first_line(error)}); choose another model", "model") from error


def _no_config(kind: str, rest: str) -> str:
    """Return what failed if the config of a repository or folder cannot be read."""
    if kind == HUB:
        return f"cannot download 'config.json' of 'hf-hub:{rest}'"
    return f"'{expand(rest) / 'config.json'}' is not timm's config of a model"

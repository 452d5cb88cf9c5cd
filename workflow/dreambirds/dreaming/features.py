"""Look at a model's layers by their names, and stop it at the last one that is wanted."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress

import torch
from torch import nn

from dreambirds.device import to_float32
from dreambirds.dreaming.objectives import AUTO, ModelOutputs, Objective, layers
from dreambirds.dreaming.regularizers import FIRST_NORM_WEIGHT, norm_layers, statistics_distance
from dreambirds.errors import UserError, did_you_mean


def find_layer(network: nn.Module, name: str) -> str:
    """Return the name of a module of a timm model; `name` may be a depth such as ``50%`` of timm's feature stages.

    Raises UserError, with the nearest name, if there is no such module.
    """
    if name.endswith("%"):
        return _at_depth(network, name)
    modules = [known for known, _ in network.named_modules() if known]
    if name not in modules:
        raise UserError(f"objective: the model has no layer '{name}'; {did_you_mean(name, modules)}")
    return name


def find_layers(network: nn.Module, name: str) -> list[str]:
    """Return the names of the modules that a layer of an objective stands for: `auto_layers`, or one.

    Raises UserError as `find_layer` does.
    """
    return auto_layers(network) if name == AUTO else [find_layer(network, name)]


def auto_layers(network: nn.Module) -> list[str]:
    """Return the stem of a timm model, its feature stages, and its last convolution, if these are apart.

    Raises UserError if timm lists no stages of the model.
    """
    modules: dict[str, nn.Module] = dict(network.named_modules())
    stages = [stage["module"] for stage in getattr(network, "feature_info", []) if stage["module"] in modules]
    if not stages:
        raise UserError("objective: timm lists no stages of this model, so 'auto' means nothing; name layers")
    convolutions = [name for name, module in modules.items() if isinstance(module, nn.Conv2d)]
    heads: str | Sequence[str] = getattr(network, "pretrained_cfg", {}).get("classifier") or ()
    heads = [heads] if isinstance(heads, str) else heads
    # else the first stage is the norm or the activation of the stem itself
    begins_behind_stem = any(parameter.ndim > 1 for parameter in modules[stages[0]].parameters())
    apart = convolutions[:1] * begins_behind_stem + [name for name in convolutions[-1:] if name not in heads]
    inside = tuple(f"{stage}." for stage in stages)
    chosen = {*stages, *(name for name in apart if not name.startswith(inside))}
    return [name for name in modules if name in chosen]


def make_objective(objective: str | Mapping[str, float], model: nn.Module) -> Objective:
    """Return an objective for a model, the layers that it names as `auto` filled in.

    Raises UserError if a term is unknown, or timm lists no stages of a model that should have some.
    """
    network = getattr(model, "network", model)
    return Objective(objective, auto_layers(network) if AUTO in layers(objective) else ())


def _at_depth(network: nn.Module, depth: str) -> str:
    try:
        share = float(depth[:-1]) / 100
    except ValueError:
        share = -1
    if not 0 <= share <= 1:
        raise UserError(f"objective: '{depth}' is no depth; it must be 0% to 100%, or a layer's name")
    stages = [stage["module"] for stage in getattr(network, "feature_info", [])]
    if not stages:
        raise UserError(f"objective: timm lists no stages of this model, so '{depth}' means nothing; name a layer")
    name: str = stages[round(share * (len(stages) - 1))]
    if name not in dict(network.named_modules()):
        raise UserError(f"objective: '{depth}' would be '{name}', which this model has not; name a layer")
    return name


class _EnoughError(Exception):
    """Every layer that was wanted has been seen."""


class FeatureExtractor:
    """A classifier that tells what it sees: logits, layers, and its batch norms' distance from their training."""

    def __init__(self, model: nn.Module, layers: Sequence[str] = (), logits: bool = True, statistics: bool = False):
        """Watch `layers` of ``model.network``, or of the model itself; without `logits` nothing runs beyond them."""
        network = getattr(model, "network", model)
        self.model, self.logits = model, logits or statistics
        self.layers = {name: network.get_submodule(find_layer(network, name)) for name in layers}
        self.channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"  # timm's word, of Swin and its kin
        self.prefix = int(getattr(network, "num_prefix_tokens", 0))  # of a transformer, before the tokens of the map
        self.norms = norm_layers(network) if statistics else []
        if statistics and not self.norms:
            raise UserError("batch_norm_prior: the model has no batch norm whose statistics could be compared")

    def __call__(self, images: torch.Tensor) -> ModelOutputs:
        """Return what the model sees in images (B, 3, H, W) in [0, 1]."""
        seen = ModelOutputs()
        if not self.layers and not self.norms:
            seen.logits = to_float32(self.model(images))
            return seen
        with ExitStack() as hooks:
            for name, module in self.layers.items():
                hooks.enter_context(module.register_forward_hook(self._note(seen, name, len(images))))
            for place, norm in enumerate(self.norms):
                hooks.enter_context(norm.register_forward_pre_hook(_compare(seen, place)))
            hooks.enter_context(suppress(_EnoughError))
            seen.logits = to_float32(self.model(images))
        for name in self.layers.keys() - seen.layers.keys():
            raise UserError(f"objective: the model has a layer '{name}' but never runs it; name another")
        return seen

    def _ends_with_channels(self, module: nn.Module) -> bool:
        """Tell whether a module's (B, H, W, C) ends with the channels, as in all of Swin, and in parts of ConvNeXt."""
        return type(module) in (nn.Linear, nn.LayerNorm) or (self.channels_last and not isinstance(module, nn.Conv2d))

    def _note(
        self, seen: ModelOutputs, name: str, count: int
    ) -> Callable[[nn.Module, tuple[object, ...], object], None]:
        def hook(module: nn.Module, _inputs: tuple[object, ...], output: object) -> None:
            if not isinstance(output, torch.Tensor) or len(output) != count:
                raise UserError(f"objective: the layer '{name}' gives no activation for each picture; name another")
            if output.ndim == 4 and self._ends_with_channels(module):
                output = output.permute(0, 3, 1, 2)
            # an activation in place may follow, hence the copy
            seen.layers.setdefault(name, to_float32(output).clone(memory_format=torch.contiguous_format))
            if not self.logits and len(seen.layers) == len(self.layers):
                raise _EnoughError

        return hook


def _compare(seen: ModelOutputs, place: int) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
    def hook(norm: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        distance = statistics_distance(norm, inputs[0]) * (FIRST_NORM_WEIGHT if place == 0 else 1.0)
        seen.statistics = distance if seen.statistics is None else seen.statistics + distance

    return hook

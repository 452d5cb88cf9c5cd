"""Record activations of a model's layers, and stop the forward pass when it can."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress

import torch
from torch import nn

from dreambirds.device import to_float32
from dreambirds.dreaming.objectives import AUTO, SIGMOID, SOFTMAX, ModelOutputs, Objective, layers
from dreambirds.dreaming.recipe import Recipe
from dreambirds.dreaming.regularizers import FIRST_NORM_WEIGHT, norm_layers, statistics_distance
from dreambirds.dreaming.stages import find_stages
from dreambirds.errors import UserError, did_you_mean, renamed_key


def find_layer(network: nn.Module, name: str) -> str:
    """Return the name of a module of a model.

    `name` is the module's name, or a depth in the list of the model's feature stages, such as ``50%``. Raises
    UserError, with the closest name, if there is no such module.
    """
    if name.endswith("%"):
        return _at_depth(network, name)
    modules = [module for module, _ in network.named_modules() if module]
    if name not in modules:
        raise UserError(f"the model has no layer '{name}'; {did_you_mean(name, modules, 'available')}", "objective")
    return name


def find_layers(network: nn.Module, name: str) -> list[str]:
    """Return the names of the modules for a layer name of an objective.

    `AUTO` stands for `auto_layers`, and other names for one module. Raises UserError as `find_layer` does.
    """
    return auto_layers(network) if name == AUTO else [find_layer(network, name)]


def auto_layers(network: nn.Module) -> list[str]:
    """Return the names of a model's stem, feature stages and last convolution.

    The stem is the first convolution. The first and the last convolution are skipped if they are inside a stage. Raises
    UserError if the model has no feature stages.
    """
    modules: dict[str, nn.Module] = dict(network.named_modules())
    stages = _stages(network, AUTO)
    convolutions = [name for name, module in modules.items() if isinstance(module, nn.Conv2d)]
    heads: str | Sequence[str] = getattr(network, "pretrained_cfg", {}).get("classifier") or ()
    heads = [heads] if isinstance(heads, str) else heads
    # a first stage without weight matrices is the norm or the activation of the stem itself
    begins_after_stem = any(parameter.ndim > 1 for parameter in modules[stages[0]].parameters())
    ends = convolutions[:1] * begins_after_stem + [name for name in convolutions[-1:] if name not in heads]
    inside = tuple(f"{stage}." for stage in stages)
    selected = {*stages, *(name for name in ends if not name.startswith(inside))}
    return [name for name in modules if name in selected]


def _stages(network: nn.Module, name: str) -> list[str]:
    """Return the names of a model's feature stages, those that timm lists or those that `find_stages` finds.

    Raises UserError, which contains the `name` of a layer, if it has none.
    """
    listed = [stage["module"] for stage in getattr(network, "feature_info", [])]
    modules = dict(network.named_modules())
    stages = [stage for stage in listed if stage in modules] if name == AUTO else listed
    stages = stages or find_stages(network)
    if not stages:
        raise UserError(
            f"no feature stages were found in this model, so '{name}' is undefined; name a layer", "objective"
        )
    return stages


def make_objective(
    objective: str | Mapping[str, float], model: nn.Module, target_layer: str | None = None
) -> Objective:
    """Return an objective for a model and its head, with `AUTO` resolved to the model's layers.

    `target_layer` is that of the targets, None for classes. Raises UserError if a term is unknown, or as `auto_layers`
    does.
    """
    network = getattr(model, "network", model)
    head = SIGMOID if getattr(model, "head", None) == SIGMOID else SOFTMAX  # a model may have a layer with this name
    return Objective(objective, auto_layers(network) if AUTO in layers(objective) else (), head, target_layer)


def diversity_layers(recipe: Recipe, model: nn.Module) -> list[str]:
    """Return the name of the module in which a recipe compares the variants of a target, in a list; else an empty list.

    Raises UserError as `find_layer` does.
    """
    with renamed_key("objective", "diversity_layer"):
        return [find_layer(getattr(model, "network", model), recipe.diversity_layer)] if recipe.diverse else []


def _at_depth(network: nn.Module, depth: str) -> str:
    try:
        share = float(depth[:-1]) / 100
    except ValueError:
        share = -1
    if not 0 <= share <= 1:
        raise UserError(f"'{depth}' is not a depth; use 0% to 100%, or name a layer", "objective")
    stages = _stages(network, depth)
    name: str = stages[round(share * (len(stages) - 1))]
    if name not in dict(network.named_modules()):
        raise UserError(f"'{depth}' stands for '{name}', which this model does not have; name a layer", "objective")
    return name


class _StopForwardError(Exception):
    """Raised in a hook to stop the forward pass when all layers are recorded."""


class FeatureExtractor:
    """A classifier that returns logits, activations and batch-norm statistics."""

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str] = (),
        logits: bool = True,
        statistics: bool = False,
        relative: bool = False,
    ):
        """Take a model, names or depths of layers, and what else to compute.

        Layers are those of ``model.network``, or of the model itself. Without `logits` and `statistics` the forward
        pass stops after the last layer. `statistics` are the distances of batch-norm statistics from those of training,
        summed over batch norms; the first has a weight of 10. `relative` distances are averaged over batch norms
        instead. Raises UserError if a layer does not exist, or if `statistics` is set and the model lacks batch norms
        with running statistics.
        """
        network = getattr(model, "network", model)
        self.model, self.logits = model, logits or statistics
        self.layers = {name: network.get_submodule(find_layer(network, name)) for name in layers}
        self.channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"  # as for Swin
        self.prefix = int(getattr(network, "num_prefix_tokens", 0))  # of a transformer, before the tokens of the map
        self.norms, self.relative = norm_layers(network) if statistics else [], relative
        if statistics and not self.norms:
            raise UserError("the model has no batch norm with running statistics; set it to 0", "batch_norm_prior")

    def __call__(self, images: torch.Tensor) -> ModelOutputs:
        """Return the model's outputs for images (B, 3, H, W) in [0, 1].

        Raises UserError if a layer is not run, or does not return one activation per image.
        """
        outputs = ModelOutputs()
        if not self.layers and not self.norms:
            outputs.logits = to_float32(self.model(images))
            return outputs
        with ExitStack() as hooks:
            for name, module in self.layers.items():
                hooks.enter_context(module.register_forward_hook(self._record(outputs, name, len(images))))
            for index, norm in enumerate(self.norms):
                hooks.enter_context(
                    norm.register_forward_pre_hook(_add_distance(outputs, index, len(self.norms), self.relative))
                )
            hooks.enter_context(suppress(_StopForwardError))
            outputs.logits = to_float32(self.model(images))
        for name in self.layers.keys() - outputs.layers.keys():
            raise UserError(f"the model has the layer '{name}' but does not run it; name another layer", "objective")
        return outputs

    def _ends_with_channels(self, module: nn.Module) -> bool:
        """Return whether a module returns (B, H, W, C).

        All modules of Swin do, and some of ConvNeXt.
        """
        return type(module) in (nn.Linear, nn.LayerNorm) or (self.channels_last and not isinstance(module, nn.Conv2d))

    def _record(
        self, outputs: ModelOutputs, name: str, count: int
    ) -> Callable[[nn.Module, tuple[object, ...], object], None]:
        def hook(module: nn.Module, _inputs: tuple[object, ...], output: object) -> None:
            if not isinstance(output, torch.Tensor) or len(output) != count:
                raise UserError(
                    f"the layer '{name}' does not return one activation per image; name another layer", "objective"
                )
            if output.ndim == 4 and self._ends_with_channels(module):
                output = output.permute(0, 3, 1, 2)
            # copied, because an in-place activation may follow
            outputs.layers.setdefault(name, to_float32(output).clone(memory_format=torch.contiguous_format))
            if not self.logits and len(outputs.layers) == len(self.layers):
                raise _StopForwardError

        return hook


def _add_distance(outputs: ModelOutputs, index: int, count: int, relative: bool) -> Callable[..., None]:
    """Return a hook that adds the distance of batch norm `index` of `count` to the outputs' `statistics`."""
    weight = 1 / count if relative else FIRST_NORM_WEIGHT if index == 0 else 1.0

    def hook(norm: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        distance = weight * statistics_distance(norm, inputs[0], relative)
        outputs.statistics = distance if outputs.statistics is None else outputs.statistics + distance

    return hook

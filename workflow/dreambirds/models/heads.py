"""The last layers of a network: timm's models list theirs, and those of other networks are found by their size.

Networks that timm does not know get timm's description, the attribute ``pretrained_cfg``.
"""

from collections.abc import Iterator

import torch
from torch import nn

AUXILIARY = ("AuxLogits.fc", "aux1.fc2", "aux2.fc2")  # of torchvision's inception_v3 and googlenet, for training
TRIAL_SIDES = (64, 128, 224, 299, 32, 28)  # of images, in pixels


def is_like_timm(network: nn.Module) -> bool:
    """Return whether a network has the methods and attributes of timm's models."""
    return all(
        hasattr(network, each) for each in ("pretrained_cfg", "num_classes", "get_classifier", "reset_classifier")
    )


def describe(network: nn.Module, name: str, classes: int, shape: tuple[int, int, int], **more: object) -> None:
    """Add the description ``pretrained_cfg`` to a network that timm does not know, or complete its own.

    It contains the name, the number of classes, the input (C, H, W), and the names of the last layers.
    """
    config = {"input_size": shape, **more, **getattr(network, "pretrained_cfg", {})}
    config |= {"architecture": name, "num_classes": classes}
    network.pretrained_cfg = config
    network.pretrained_cfg["classifier"] = find_heads(network, classes)


def find_heads(network: nn.Module, classes: int) -> list[str]:
    """Return the names of the last layers of a network: linear or convolutional layers with one output per class.

    If several have as many outputs, it is the one that runs last, for the first size of image that the network accepts.
    Auxiliary heads of torchvision's networks follow.
    """
    sizes = {name: _outputs(module) for name, module in network.named_modules()}
    found = [name for name, size in sizes.items() if size == classes and name not in AUXILIARY]
    last = _runs_last(network, found) if len(found) > 1 else found
    return [*last, *(name for name in AUXILIARY if sizes.get(name) == classes)]


def _outputs(module: nn.Module) -> int | None:
    if isinstance(module, nn.Linear):
        return module.out_features
    return module.out_channels if isinstance(module, nn.Conv2d) else None


def _runs_last(network: nn.Module, names: list[str]) -> list[str]:
    ran: list[str] = []
    hooks = [
        network.get_submodule(name).register_forward_hook(lambda *_, name=name: ran.append(name)) for name in names
    ]
    modes = {module: module.training for module in network.modules()}
    channels = network.pretrained_cfg["input_size"][0]
    try:
        network.eval()
        for side in TRIAL_SIDES:
            ran.clear()
            try:
                with torch.no_grad(), torch.random.fork_rng(devices=[]):
                    outputs = network(torch.zeros(1, channels, side, side))
            except Exception:  # anyone's code raises anything for a size that it does not accept
                continue
            return list(dict.fromkeys(ran))[-len(_several(outputs)) :]
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    return names[-1:]


def _several(outputs: object) -> list[torch.Tensor]:
    """Return the tensors of a tuple or list whose entries all have the same shape, else the first tensor."""
    if isinstance(outputs, (tuple, list)) and outputs and isinstance(outputs[0], torch.Tensor):
        same = all(isinstance(each, torch.Tensor) and each.shape == outputs[0].shape for each in outputs)
        return list(outputs) if same else [outputs[0]]
    return [outputs]


def logits_of(outputs: object) -> object:
    """Return the logits (B, C) among the outputs of a network.

    These are a tensor, the ``logits`` of an object or a mapping, or the mean of several heads in a tuple or list, as
    timm does for distilled transformers. Of a tuple of other tensors, the first counts. Anything else is returned as it
    is.
    """
    if isinstance(outputs, torch.Tensor):
        return outputs
    if hasattr(outputs, "logits"):
        return outputs.logits
    if isinstance(outputs, dict) and outputs:
        return outputs.get("logits", next(iter(outputs.values())))
    heads = _several(outputs)
    return torch.stack(heads).mean(dim=0) if len(heads) > 1 else heads[0]


def head_modules(network: nn.Module) -> list[nn.Module]:
    """Return the last layers of a network, without auxiliary ones."""
    if hasattr(network, "get_classifier"):
        return list(_flatten(network.get_classifier()))
    return [network.get_submodule(name) for name in head_names(network) if name not in AUXILIARY]


def last_layers(network: nn.Module) -> list[nn.Module]:
    """Return the layers that compute the logits, without pooling or hidden layers before them.

    These are `head_modules`, or the named layers within them.
    """
    named = [network.get_submodule(name) for name in head_names(network)]
    heads = [(head, list(head.modules())) for head in head_modules(network)]
    within = [[layer for layer in named if any(layer is each for each in inner)] or [head] for head, inner in heads]
    return [layer for layers in within for layer in layers]


def _flatten(heads: object) -> Iterator[nn.Module]:
    """Yield the modules of what timm's ``get_classifier`` returns: one module, or several in a container."""
    if isinstance(heads, (tuple, list, nn.ModuleList)):
        for head in heads:
            yield from _flatten(head)
    else:
        yield heads


def head_names(network: nn.Module) -> list[str]:
    """Return the names of the last layers of a network, with auxiliary ones, whose weights a new head replaces.

    These are what its description names, else what timm's ``get_classifier`` returns, else the last linear or
    convolutional layer.
    """
    modules = dict(network.named_modules())
    described = getattr(network, "pretrained_cfg", {}).get("classifier") or ()
    described = [described] if isinstance(described, str) else list(described)
    if described and all(name in modules for name in described):
        return described
    if is_like_timm(network):
        heads = list(_flatten(network.get_classifier()))
        return [name for name, module in modules.items() if any(module is head for head in heads)]
    return [name for name, module in modules.items() if _outputs(module)][-1:]


def reset_head(network: nn.Module) -> None:
    """Initialize the last layers of a network again, for the same number of classes."""
    if is_like_timm(network):
        network.reset_classifier(network.num_classes)
        return
    for name in head_names(network):
        for module in network.get_submodule(name).modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()

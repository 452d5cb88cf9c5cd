"""Find the feature stages of networks for which timm lists none, from one forward pass."""

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from torch import nn

SIDES = (128, 224, 299, 64, 32, 28)  # pixels; the first that the network accepts is used
BATCH = 2  # so that tables of positions, which are the same for all images, are not taken for maps
_found: WeakKeyDictionary[nn.Module, list[str]] = WeakKeyDictionary()


def find_stages(network: nn.Module) -> list[str]:
    """Return the names of a network's feature stages, from the first to the last, or an empty list.

    A stage is the outermost module that ends at a resolution, and the last one if there are several: its output
    (B, C, H, W) is the last of that height and width. If the network has at most one resolution, as a transformer of
    tokens, its stages are the blocks of the longest sequence of modules that return tokens (B, N, D). The result is
    kept, because finding it takes a forward pass.
    """
    if network not in _found:
        _found[network] = _search(network)
    return list(_found[network])


def _search(network: nn.Module) -> list[str]:
    modules = {name: module for name, module in network.named_modules() if name}
    names = {module: name for name, module in modules.items()}
    for side in SIDES:
        outputs: list[tuple[nn.Module, tuple[int, ...]]] = []
        if _run(network, side, outputs):
            known = [(names[module], shape) for module, shape in outputs if module in names and _is_feature(module)]
            stages = _ends_of_resolutions(known, getattr(network, "output_fmt", "NCHW") == "NHWC")
            if len(stages) > 1:
                return stages
            tokens = [name for name, shape in known if len(shape) == 3]
            return _blocks(tokens, modules) if tokens else stages
    return []


def _is_feature(module: nn.Module) -> bool:
    return not isinstance(module, (nn.Flatten, nn.Dropout, nn.AvgPool2d, nn.AdaptiveAvgPool2d))


def _ends_of_resolutions(outputs: list[tuple[str, tuple[int, ...]]], channels_last: bool) -> list[str]:
    """Return the names of the modules where the maps of each resolution end.

    Images are square, so outputs of another proportion do not count. Maps that are larger than one before them are
    ignored, and resolutions that occur only far inside of a module.
    """
    ends: dict[int, str] = {}
    for name, shape in outputs:
        side, other = (shape[1:3] if channels_last else shape[2:]) if len(shape) == 4 else (0, 0)
        if 1 < side == other <= min(ends, default=side) and _depth(name) <= _depth(ends.get(side, name)):
            ends[side] = name
    outermost = min(map(_depth, ends.values()), default=0)
    return [name for name in ends.values() if _depth(name) <= outermost + 2]


def _depth(name: str) -> int:
    return name.count(".")


def _blocks(tokens: list[str], modules: dict[str, nn.Module]) -> list[str]:
    """Return the longest sequence of modules of one type that return tokens, in the order in which they run."""
    sequences: dict[tuple[str, type], list[str]] = {}
    for name in dict.fromkeys(tokens):
        parent = name.rpartition(".")[0]
        if isinstance(modules.get(parent), (nn.Sequential, nn.ModuleList)):
            sequences.setdefault((parent, type(modules[name])), []).append(name)
    return max(sequences.values(), key=len, default=[])


def _run(network: nn.Module, side: int, outputs: list[tuple[nn.Module, tuple[int, ...]]]) -> bool:
    """Run a network on `BATCH` square images; return whether it accepts their size.

    Each module whose output has one entry per image is added to `outputs`, with the shape.
    """

    def hook(module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, torch.Tensor) and output.shape[:1] == (BATCH,):
            outputs.append((module, tuple(output.shape)))

    first = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    parameter = next(network.parameters(), torch.zeros(0))
    images = torch.zeros(BATCH, first.in_channels if first else 3, side, side).to(parameter)
    hooks = [module.register_forward_hook(hook) for module in network.modules()]
    try:
        with _evaluating(network), torch.no_grad(), torch.random.fork_rng(devices=[]):
            network(images)
    except Exception:  # own code raises anything for a size that it does not accept
        return False
    finally:
        for handle in hooks:
            handle.remove()
    return True


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Set eval mode inside, and restore the mode of each module."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode

"""Compare the tensors of a file with those of a network, and say what differs."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from dreambirds.errors import UserError, counted
from dreambirds.models import HeadRows

COUNTERS = {"num_batches_tracked", "total_ops", "total_params", "n_averaged"}  # of torch, of thop, and of averages
COMPUTED = {"relative_position_index", "relative_coords_table", "attn_mask", "position_ids", "attention_bias_idxs"}
_ADAPTER = re.compile(r"(^|\.)(lora_|base_layer\.)")
_FILTERS_RAISE = (KeyError, IndexError, RuntimeError, TypeError, ValueError, AttributeError, AssertionError)


@dataclass(frozen=True)
class Fit:
    """How the tensors of a file fit a network.

    `state` contains the file's tensors under the network's names. `wrong` lists the names that only one side contains
    or whose shapes differ, except for those in `head`: tensors of the head that are missing or have another shape.
    `matching` counts the tensors that agree.
    """

    state: dict[str, torch.Tensor]
    wrong: list[str]
    head: list[str]
    matching: int


def fit_of(
    state: dict[str, torch.Tensor],
    network: nn.Module,
    heads: Sequence[str],
    rows: HeadRows | None = None,
) -> Fit:
    """Return how tensors fit a network whose last layers are `heads`.

    Counters and what the network computes itself may be missing or too many. Weights of another layout are adapted by
    the architecture's filter in timm, such as position embeddings for another image size. `rows` are the rows of the
    file's head to take.
    """
    expected = network.state_dict()
    begins = tuple(f"{name}." for name in heads)
    state = _completed(state, expected, network)
    if _body(_unfit(state, expected), begins):
        adapted = _completed(_adapted(state, network), expected, network)
        if len(_body(_unfit(adapted, expected), begins)) < len(_body(_unfit(state, expected), begins)):
            state = adapted
    if rows is not None:
        state = _with_rows(state, expected, begins, rows)
    unfit = _unfit(state, expected)
    wrong = [name for name in unfit if name not in expected or not name.startswith(begins)]
    head = [name for name in unfit if name not in wrong]
    return Fit(state, wrong, head, len(expected) - sum(name in expected for name in unfit))


def _body(unfit: list[str], begins: tuple[str, ...]) -> list[str]:
    return [name for name in unfit if not name.startswith(begins)]


def _unfit(state: dict, expected: dict) -> list[str]:
    """Return the names that only one side contains, or whose shapes differ: the network's in order, then others."""
    others = [name for name in state if name not in expected]
    return [name for name in expected if name not in state or state[name].shape != expected[name].shape] + others


def _completed(state: dict, expected: dict, network: nn.Module) -> dict:
    """Return weights without tensors that the network computes itself, and with those counters that are missing.

    A tensor that the network shares under several names may be stored under one of them.
    """
    own = {name for name, _ in network.named_buffers(remove_duplicate=False)} - expected.keys()
    kept = {name: t for name, t in state.items() if name in expected or not (name in own or _is_computed(name, t))}
    stored = {tensor.data_ptr(): kept[name] for name, tensor in expected.items() if name in kept and tensor.data_ptr()}
    for name, tensor in expected.items():
        if _is_counter(name, tensor) and (name not in kept or kept[name].shape != tensor.shape):
            kept[name] = kept[name].reshape(tensor.shape) if name in kept and kept[name].numel() == 1 else tensor
        elif name not in kept and _is_computed(name, tensor):
            kept[name] = tensor
        elif name not in kept and tensor.data_ptr() in stored and stored[tensor.data_ptr()].shape == tensor.shape:
            kept[name] = stored[tensor.data_ptr()]
    return kept


def _is_counter(name: str, tensor: torch.Tensor) -> bool:
    """Return whether a tensor only counts something: by its name, or because it is one integer."""
    one_integer = tensor.numel() == 1 and not tensor.is_floating_point() and not tensor.is_complex()
    return name.rpartition(".")[2] in COUNTERS or (one_integer and tensor.dtype != torch.bool)


def _is_computed(name: str, tensor: torch.Tensor) -> bool:
    """Return whether a tensor is a counter, or a table that depends only on the architecture."""
    return name.rpartition(".")[2] in COMPUTED or _is_counter(name, tensor)


def _adapted(state: dict, network: nn.Module) -> dict:
    """Return weights converted by the architecture's filter in timm; unchanged if there is none or it fails."""
    adapt = getattr(sys.modules.get(type(network).__module__), "checkpoint_filter_fn", None)
    try:
        adapted = adapt(dict(state), network) if adapt else state
        return adapted if all(isinstance(tensor, torch.Tensor) for tensor in adapted.values()) else state
    except _FILTERS_RAISE:
        return state


def _with_rows(state: dict, expected: dict, begins: tuple[str, ...], rows: HeadRows) -> dict:
    """Return weights with the given rows of each tensor of the head that has one row per class.

    An output without a row keeps that of the network in `expected`. If no output has one, the head is left out.
    """
    head = {name: tensor for name, tensor in state.items() if name.startswith(begins) and tensor.ndim}
    known = {output: row for output, row in enumerate(rows.rows) if row is not None}
    if not known:
        return {name: tensor for name, tensor in state.items() if name not in head}
    outputs = next((tensor.shape[0] for name, tensor in head.items() if name.endswith("weight")), rows.count)
    if outputs != rows.count:
        raise UserError(
            f"the head of the file has {counted(outputs, 'output')}, but {counted(rows.count, 'class name')} are "
            f"listed; set 'labels' to a file with {counted(outputs, 'class name')} in the order of the outputs"
        )
    chosen = {}
    for name, tensor in head.items():
        if tensor.shape[0] == outputs and name in expected and expected[name].shape[1:] == tensor.shape[1:]:
            chosen[name] = expected[name].detach().to(tensor.dtype).clone()
            chosen[name][list(known)] = tensor[list(known.values())]
    return state | chosen


def misfit(fit: Fit, expected: dict[str, torch.Tensor], what: str, remedy: str, model: str = "") -> str:
    """Return the message for weights that do not fit, which names tensors, shapes and what to do.

    `model` is the architecture that the file records, if it is another one.
    """
    others = [name for name in fit.wrong if name not in expected]
    if any(_ADAPTER.search(name) for name in others):
        merge = "torch.save(model.merge_and_unload().state_dict(), 'weights.pth')"
        return f"{what} contains an adapter (LoRA), not only a network; merge both, and save the result: `{merge}`"
    if any(name.endswith(".scale") and f"{name.removesuffix('scale')}weight" in fit.wrong for name in others):
        return f"{what} contains a quantized network; save the weights of the network before it is quantized"
    shapes = {name: _shapes(name, fit.state, expected) for name in fit.wrong}
    both = [name for name in fit.wrong if name in fit.state and name in expected]
    channels = {_channels(fit.state[name], expected[name]) for name in both}
    if len(both) == len(fit.wrong) and len(channels) == 1 and None not in channels:
        number = channels.pop()
        known = f"set 'model_options: {{in_chans: {number}}}'" if number in (1, 3) else "choose another file"
        return f"{what} is for images of {counted(number, 'channel')} ('{both[0]}' is {shapes[both[0]]}); {known}"
    counts = [
        f"{counted(len(fit.wrong), 'tensor')} {'differs' if len(fit.wrong) == 1 else 'differ'}",
        f"the first is '{fit.wrong[0]}': {shapes[fit.wrong[0]]}",
    ]
    for side, other, text in ((fit.state, expected, "only in the file"), (expected, fit.state, "only in the model")):
        names = [name for name in fit.wrong if name in side and name not in other]
        if names and len(fit.wrong) > 1:
            counts.append(f"{len(names)} {text}, such as '{names[0]}'")
    hint = f"the file says that it is '{model}': set 'model' to that, or " if model else ""
    remedy = f"{hint}choose another file" if hint else remedy
    return f"{what} does not fit the model ({', '.join(counts)}); {remedy}"


def head_misfit(fit: Fit, expected: dict[str, torch.Tensor], what: str, aside: Sequence[str] = ()) -> str:
    """Return the message for weights whose head has another number of classes, or is missing.

    `aside` are the names of tensors that were not used, among which a head under another name may be.
    """
    name = fit.head[0]
    if name in fit.state:
        number = fit.state[name].shape[0] if fit.state[name].ndim else 0
        return (
            f"{what} has a head for {counted(number, 'class')}, not {expected[name].shape[0]} ('{name}' is "
            f"{_shapes(name, fit.state, expected)}); set 'labels' to a file with its {counted(number, 'class name')}"
        )
    other = f", its other tensors are {', '.join(map(repr, aside[:4]))}" if aside else ""
    own = "set 'model' to your own function that builds the network with its head, or " if aside else ""
    return f"{what} does not contain the head of the model ('{name}' is missing{other}); {own}choose another file"


def _channels(tensor: torch.Tensor, expected: torch.Tensor) -> int | None:
    """Return the input channels of a convolution that differs in nothing else, else None."""
    same = tensor.ndim == 4 == expected.ndim and tensor.shape[:1] + tensor.shape[2:] == (
        expected.shape[:1] + expected.shape[2:]
    )
    return tensor.shape[1] if same and (tensor.shape[1] in (1, 3, 4) or expected.shape[1] in (1, 3)) else None


def _shapes(name: str, state: dict, expected: dict) -> str:
    if name in state and name in expected:
        return f"{tuple(state[name].shape)} in the file, {tuple(expected[name].shape)} in the model"
    return "only in the file" if name in state else "only in the model"

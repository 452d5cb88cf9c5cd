"""Load weights into networks: from files, as tensors, and from the Hugging Face hub."""

import logging
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
import torch
from huggingface_hub import constants
from safetensors import SafetensorError
from timm.models import load_state_dict
from torch import nn

from dreambirds.errors import UserError, first_line, is_out_of_memory

PATIENCE = 20  # seconds for an answer
log = logging.getLogger(__name__)
_UNREADABLE = (OSError, EOFError, SafetensorError, RuntimeError, LookupError, ValueError, TypeError, AttributeError)
_UNREADABLE += (AssertionError,)


@contextmanager
def hub_timeout(patience: float = PATIENCE) -> Iterator[None]:
    """Give each answer of a server `patience` seconds; a hub that gives none is left alone, and its cache serves."""
    timeout, offline = socket.getdefaulttimeout(), constants.HF_HUB_OFFLINE
    socket.setdefaulttimeout(patience)
    if not offline and hub_unreachable(patience):
        log.warning("'%s' is silent for %g s; only what its cache has is used", constants.ENDPOINT, patience)
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        socket.setdefaulttimeout(timeout)
        constants.HF_HUB_OFFLINE = offline


def hub_unreachable(patience: float) -> bool:
    """Tell whether the hub takes a question and gives no answer; one that can't be reached says so at once."""
    try:
        requests.head(constants.ENDPOINT, timeout=patience)
    except requests.Timeout:
        return True
    except requests.RequestException:
        return False
    return False


def load_weights(network: nn.Module, path: Path, new_head: bool = True) -> None:
    """Give a network a file's weights, as `set_weights` does. Raises UserError if it can't be read or doesn't fit."""
    set_weights(network, read_weights(path), f"'{path}'", new_head)


def set_weights(network: nn.Module, state: dict[str, torch.Tensor], what: str, new_head: bool = True) -> None:
    """Give a network weights; its head begins anew where theirs has another number of classes, unless there may be no
    `new_head`.

    What the architecture's own filter in timm can adapt, such as the position embeddings of a transformer at another
    size, is adapted. Raises UserError, which calls the weights `what`, if they don't fit.
    """
    expected = network.state_dict()
    check_finite(state, what, "name another file")
    heads = tuple(f"{name}." for name in _head_names(network))
    unfit = _unfit(state, expected)
    if any(not name.startswith(heads) for name in unfit):
        state = _adapted(state, network)
        unfit = _unfit(state, expected)
    wrong = sorted(name for name in unfit if not name.startswith(heads) or name not in expected)
    if wrong:
        raise UserError(f"{what} does not fit the model: {len(wrong)} tensors differ, first {wrong[0]}")
    if unfit and not new_head:
        raise UserError(f"{what} holds no last layer for {network.num_classes} classes, as many as there are labels")
    replaced = {name: tensor for name, tensor in expected.items() if unfit and name.startswith(heads)}
    network.load_state_dict({**state, **replaced})
    # what a file says in more digits may be too large for the model's
    check_finite(network.state_dict(), what, "name another file")
    if unfit:  # some architectures begin with a head so large that it drowns what the backbone knows
        network.reset_classifier(network.num_classes)


def check_finite(tensors: dict[str, torch.Tensor], what: str, remedy: str) -> None:
    """Raise UserError, `what` and a remedy in it, if a number of the tensors is infinite or none."""
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise UserError(f"{what} holds numbers in '{name}' that are infinite or none; {remedy}")


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a file in its order, by name.

    The file is ``.safetensors``, or any other that torch loads with ``weights_only``, with its tensors at the top or
    below ``state_dict`` or ``model``. Raises UserError if it can't be read or holds anything else.
    """
    try:
        state = load_state_dict(str(path), use_ema=False, weights_only=True)
        wrong = [name for name, tensor in state.items() if not isinstance(tensor, torch.Tensor)]
    except _UNREADABLE as error:
        if is_out_of_memory(error):
            raise
        reason = "it holds more than tensors" if "weights_only" in str(error) else first_line(error)
        raise UserError(
            f"'{path}' is not a safetensors file, nor one that torch loads without running code ({reason})"
        ) from error
    if wrong or not state:
        raise UserError(f"'{path}' holds no model's tensors" + (f" but '{wrong[0]}'" if wrong else ""))
    return state


def _unfit(state: dict, expected: dict) -> set[str]:
    """Return the names that only one side has, or that have another shape."""
    return {name for name in state.keys() | expected.keys() if not _same_shape(state.get(name), expected.get(name))}


def _same_shape(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    return one is not None and other is not None and one.shape == other.shape


def _adapted(state: dict, network: nn.Module) -> dict:
    """Return what the architecture's filter in timm makes of other layouts, or the state as it is if it fails."""
    adapt = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    try:
        return adapt(dict(state), network) if adapt else state
    except (KeyError, RuntimeError, TypeError, ValueError, AttributeError, AssertionError):
        return state


def _head_names(network: nn.Module) -> list[str]:
    names = network.pretrained_cfg.get("classifier") or ()
    return [names] if isinstance(names, str) else list(names)

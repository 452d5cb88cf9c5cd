"""Load weights from files into networks, and limit waiting for the model hub."""

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

from dreambirds.errors import UserError, counted, is_out_of_memory, reason_of, remedy_for

HUB_TIMEOUT = 20  # seconds
log = logging.getLogger(__name__)
_UNREADABLE = (OSError, EOFError, SafetensorError, RuntimeError, LookupError, ValueError, TypeError, AttributeError)
_UNREADABLE += (AssertionError,)
_MISFIT = "choose another file, or set 'model' to the one that it belongs to"


@contextmanager
def hub_timeout(timeout: float = HUB_TIMEOUT) -> Iterator[None]:
    """Set the socket timeout in seconds while downloading from the Hugging Face hub.

    If the hub does not respond in time, only its local cache is used.
    """
    previous, offline = socket.getdefaulttimeout(), constants.HF_HUB_OFFLINE
    socket.setdefaulttimeout(timeout)
    if not offline and hub_unreachable(timeout):
        log.warning("no response from '%s' in %g s; using only the local cache", constants.ENDPOINT, timeout)
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        socket.setdefaulttimeout(previous)
        constants.HF_HUB_OFFLINE = offline


def hub_unreachable(timeout: float) -> bool:
    """Return whether a request to the hub times out.

    Other failures, such as a refused connection, are immediate and do not count.
    """
    try:
        requests.head(constants.ENDPOINT, timeout=timeout)
    except requests.Timeout:
        return True
    except requests.RequestException:
        return False
    return False


def load_weights(network: nn.Module, path: Path, new_head: bool = True) -> None:
    """Load the weights of a file into a network with `set_weights`.

    Raises UserError if the file cannot be read or does not fit.
    """
    set_weights(network, read_weights(path), f"'{path}'", new_head)


def set_weights(
    network: nn.Module, state: dict[str, torch.Tensor], what: str, new_head: bool = True, remedy: str = _MISFIT
) -> None:
    """Load weights into a network.

    With `new_head`, the head is reinitialized if its number of classes differs. Weights of another layout are adapted
    by the architecture's filter in timm, such as the position embeddings of a transformer for another image size.
    Raises UserError, which refers to the weights as `what`, if they do not fit; `remedy` ends the error about tensors
    that differ.
    """
    expected = network.state_dict()
    check_finite(state, what, "choose another file")
    heads = tuple(f"{name}." for name in _head_names(network))
    unfit = _unfit(state, expected)
    if any(not name.startswith(heads) for name in unfit):
        state = _adapted(state, network)
        unfit = _unfit(state, expected)
    wrong = sorted(name for name in unfit if not name.startswith(heads) or name not in expected)
    if wrong:
        number = f"{counted(len(wrong), 'tensor')} {'differs' if len(wrong) == 1 else 'differ'}"
        raise UserError(f"{what} does not fit the model ({number}, the first is '{wrong[0]}'); {remedy}")
    if unfit and not new_head:
        raise UserError(
            f"{what} has no last layer for {counted(network.num_classes, 'class')}, one per label; choose other "
            "'weights' or 'labels'"
        )
    replaced = {name: tensor for name, tensor in expected.items() if unfit and name.startswith(heads)}
    network.load_state_dict({**state, **replaced})
    # a value in a file of higher precision may overflow in the model's
    check_finite(network.state_dict(), what, "choose another file")
    if unfit:  # the initial head of some architectures is so large that it swamps the backbone's features
        network.reset_classifier(network.num_classes)


def check_finite(tensors: dict[str, torch.Tensor], what: str, remedy: str) -> None:
    """Raise UserError if a tensor contains NaN or infinite values.

    The error begins with `what` and ends with `remedy`.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise UserError(f"{what} contains NaN or infinite values in '{name}'; {remedy}")


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a file by name, in the file's order.

    The file is ``.safetensors``, or any file that torch loads with ``weights_only``, with its tensors at the top level
    or below ``state_dict`` or ``model``. Raises UserError if it cannot be read or contains anything else.
    """
    try:
        state = load_state_dict(str(path), use_ema=False, weights_only=True)
        others = [name for name, tensor in state.items() if not isinstance(tensor, torch.Tensor)]
    except _UNREADABLE as error:
        if is_out_of_memory(error):
            raise
        if isinstance(error, OSError) and error.strerror:
            raise UserError(
                f"cannot read '{path}' ({error.strerror}); {remedy_for(error, 'choose another file')}"
            ) from error
        reason = "it contains more than tensors" if "weights_only" in str(error) else reason_of(error)
        raise UserError(
            f"'{path}' is neither a safetensors file nor one that torch can load without running code ({reason}); "
            "choose another file"
        ) from error
    if others or not state:
        reason = f" ('{others[0]}' is not a tensor)" if others else ""
        raise UserError(f"'{path}' does not contain the tensors of a model{reason}; choose another file")
    return state


def _unfit(state: dict, expected: dict) -> set[str]:
    """Return the names that only one side contains, or whose shapes differ."""
    return {name for name in state.keys() | expected.keys() if not _same_shape(state.get(name), expected.get(name))}


def _same_shape(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    return one is not None and other is not None and one.shape == other.shape


def _adapted(state: dict, network: nn.Module) -> dict:
    """Return weights converted by the architecture's filter in timm.

    They are returned unchanged if there is no filter or it fails.
    """
    adapt = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    try:
        return adapt(dict(state), network) if adapt else state
    except (KeyError, RuntimeError, TypeError, ValueError, AttributeError, AssertionError):
        return state


def _head_names(network: nn.Module) -> list[str]:
    names = network.pretrained_cfg.get("classifier") or ()
    return [names] if isinstance(names, str) else list(names)

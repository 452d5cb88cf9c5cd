"""Load weights from files into networks, and limit waiting for the model hub."""

import logging
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests
import torch
from huggingface_hub import constants
from torch import nn

from dreambirds.errors import UserError, counted
from dreambirds.models import HeadRows
from dreambirds.models.checkpoint_facts import read_facts
from dreambirds.models.heads import head_names, reset_head
from dreambirds.models.weights_entries import Entry, check_ambiguous, entries_for, states_of_key
from dreambirds.models.weights_files import read_states
from dreambirds.models.weights_fit import Fit, fit_of, head_misfit, misfit

HUB_TIMEOUT = 20  # seconds
HUB_LOCK = "huggingface_hub.utils._fixes"  # logs that it waits for a lock, without a limit
log = logging.getLogger(__name__)
_MISFIT = "choose another file, or set 'model' to the one that it belongs to"
_FLOAT = "save them as floating-point numbers, or choose another file"


@contextmanager
def hub_timeout(timeout: float = HUB_TIMEOUT) -> Iterator[None]:
    """Set the socket timeout in seconds while downloading from the Hugging Face hub.

    If the hub cannot be reached, only its local cache is used: its client would try again for most of a minute. While
    another process downloads the same file, a line every 10 seconds says so.
    """
    logging.getLogger(HUB_LOCK).setLevel(logging.INFO)
    previous, offline = socket.getdefaulttimeout(), constants.HF_HUB_OFFLINE
    socket.setdefaulttimeout(timeout)
    if not offline and (problem := hub_problem(timeout)):
        log.warning("%s; using only the local cache", problem)
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        socket.setdefaulttimeout(previous)
        constants.HF_HUB_OFFLINE = offline


def hub_problem(timeout: float) -> str:
    """Return why the hub cannot be reached, an empty string if it responds."""
    try:
        requests.head(constants.ENDPOINT, timeout=timeout)
    except requests.Timeout:
        return f"no response from '{constants.ENDPOINT}' in {timeout:g} s"
    except requests.RequestException:
        return f"'{constants.ENDPOINT}' cannot be reached"
    return ""


def load_weights(
    network: nn.Module,
    path: Path,
    new_head: bool = True,
    key: str | None = None,
    rows: HeadRows | None = None,
) -> bool:
    """Load the weights of a file or folder into a network, and return whether its head is that of the file.

    The log says which of its entries they are. The entry is `key`, or else the one that fits: EMA weights if there are
    any, then those under a usual name. Parts of the names that a wrapper adds are removed, such as ``module.`` or a
    prefix that all names share. `rows` are the rows of the file's head
    that the network takes; without them, all are kept in their order. `new_head` is that of `set_weights`. Raises
    UserError if the file cannot be read, does not fit, or contains several weights that fit.
    """
    what, heads, expected = f"'{path}'", head_names(network), network.state_dict()
    states = read_states(path)
    entries = list(entries_for(states_of_key(states, key, what) if key else states, expected))
    fits = [(entry, fit_of(entry.tensors, network, heads, rows)) for entry in entries]
    fitting = [(entry, fit) for entry, fit in fits if not fit.wrong and (new_head or not fit.head)]
    if not fitting:
        entry, fit = max(fits, key=lambda pair: (pair[1].matching, -len(pair[1].wrong), -pair[0].rank))
        raise UserError(_refusal(entry, fit, network, path))
    best = min(_preference(*pair) for pair in fitting)
    entry = check_ambiguous([entry for entry, fit in fitting if _preference(entry, fit) == best], what)
    fit = next(fit for found, fit in fitting if found is entry)
    _load(network, fit, what, heads)
    log.info("%s", _report(entry, fit, what, key, [found for found, _ in fitting if found is not entry]))
    return not fit.head


def set_weights(
    network: nn.Module,
    state: dict[str, torch.Tensor],
    what: str,
    new_head: bool = True,
    remedy: str = _MISFIT,
    rows: HeadRows | None = None,
) -> bool:
    """Load weights into a network, and return whether they include its head.

    `rows` are those of `load_weights`. With `new_head`, the head is reinitialized if its number of classes differs.
    Raises UserError, which refers to the weights as `what`, if they do not fit; `remedy` ends the error about tensors
    that differ.
    """
    heads, expected = head_names(network), network.state_dict()
    check_finite(state, what, "choose another file")
    fit = fit_of(state, network, heads, rows)
    if fit.wrong:
        raise UserError(misfit(fit, expected, what, remedy))
    if fit.head and not new_head:
        raise UserError(head_misfit(fit, expected, what))
    _load(network, fit, what, heads)
    return not fit.head


def check_finite(tensors: dict[str, torch.Tensor], what: str, remedy: str) -> None:
    """Raise UserError if a tensor contains NaN or infinite values.

    The error begins with `what` and ends with `remedy`.
    """
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise UserError(f"{what} contains NaN or infinite values in '{name}'; {remedy}")


def _preference(entry: Entry, fit: Fit) -> tuple[bool, int]:
    """Return the order of entries that fit: first those with a head, then by the rank of their names."""
    return bool(fit.head), entry.rank


def _load(network: nn.Module, fit: Fit, what: str, heads: Sequence[str]) -> None:
    """Load weights that fit into a network; reinitialize its head if theirs does not fit."""
    expected = network.state_dict()
    for name, tensor in fit.state.items():
        if expected[name].is_floating_point() and not tensor.is_floating_point():
            raise UserError(
                f"{what} contains integers in '{name}' ({tensor.dtype}), as quantized networks do; {_FLOAT}"
            )
    begins = tuple(f"{name}." for name in heads)
    replaced = {name: tensor for name, tensor in expected.items() if fit.head and name.startswith(begins)}
    state = {name: tensor.to(expected[name].dtype) for name, tensor in {**fit.state, **replaced}.items()}
    # also a value in a file of higher precision, which may overflow in the model's
    check_finite(state, what, "choose another file")
    network.load_state_dict(state)
    if fit.head:  # the initial head of some architectures is so large that it swamps the backbone's features
        reset_head(network)


def _refusal(entry: Entry, fit: Fit, network: nn.Module, path: Path) -> str:
    """Return the message for a file of which no entry fits, given the one that is closest."""
    what = f"'{path}'" + (f", entry '{entry.name}'," if entry.name else "")
    if not fit.wrong:
        return head_misfit(fit, network.state_dict(), what, entry.aside)
    own = (getattr(network, "pretrained_cfg", None) or {}).get("architecture")
    recorded = read_facts(path).model
    return misfit(fit, network.state_dict(), what, _MISFIT, recorded if recorded and recorded != own else "")


def _report(entry: Entry, fit: Fit, what: str, key: str | None, others: list[Entry]) -> str:
    """Return what was loaded, for the log."""
    source = f"'{entry.name}'" if entry.name else "its tensors"
    if entry.is_ema:
        source += ", the EMA weights"
    elif key:
        source += ", as 'weights_key' sets"
    elif entry.key:
        source += ", as it contains no EMA weights that fit"
    parts = [f"{what}: loaded {source}"]
    if others:
        parts.append(f"'weights_key' can choose {' or '.join(repr(other.name or 'the top level') for other in others)}")
    if entry.aside:
        parts.append(f"{counted(len(entry.aside), 'other tensor')} not used, such as '{entry.aside[0]}'")
    if fit.head:
        head = fit.state.get(fit.head[0])
        old = "no head" if head is None else f"a head of shape {tuple(head.shape)}"
        parts.append(f"it has {old}, so a new one is initialized")
    return "; ".join(parts)

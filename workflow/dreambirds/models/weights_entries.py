"""Choose among the mappings of tensors in a file: which entry, without which prefix of names, and EMA or not."""

import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch

from dreambirds.errors import UserError

WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}  # of DDP, torch.compile, FSDP
_EMA = re.compile(r"(^|[._-])(ema\d*|averaged?|avg|swa|shadow|polyak)($|[._-])|modelema", re.IGNORECASE)
_TRAINING = re.compile(r"(criterion|\w*loss\w*|\w*metrics?|class_weights?|(train|val|valid|test)_\w*acc\w*)($|\.)")
_USUAL = re.compile(r"^(|model|net|network|module|timm_model|(model_)?(state_dict|state|weights)|params)$")


@dataclass(frozen=True)
class Entry:
    """Tensors of a file that may be the weights: the key of their mapping and the prefix of their names.

    `tensors` are without the prefix. `aside` are the names of the other tensors of the mapping.
    """

    key: str
    prefix: str
    tensors: dict[str, torch.Tensor]
    aside: list[str]

    @property
    def name(self) -> str:
        """Return what `weights_key` calls the entry; empty for tensors at the top level of the file."""
        return f"{self.key}.{self.prefix}".strip(".")

    @property
    def is_ema(self) -> bool:
        """Return whether the name says that these are averaged weights."""
        return _EMA.search(self.name) is not None

    @property
    def rank(self) -> int:
        """Return the order of preference: 0 for EMA weights, 1 for usual names, 2 for others."""
        usual = _USUAL.match(self.prefix.strip(".") or self.key.rpartition(".")[2])
        return 0 if self.is_ema else 1 if usual else 2


def entries_for(states: dict[str, dict[str, torch.Tensor]], expected: Collection[str]) -> Iterator[Entry]:
    """Yield what may be the weights of a network with the given names of tensors.

    Names of wrappers, such as ``module`` and ``_orig_mod``, are removed; each prefix below which the network's names
    are found is an entry.
    """
    for key, state in states.items():
        tensors = _unwrapped(state, expected)
        prefixes = _prefixes(tensors, expected)
        copies = [prefix for prefix, number in prefixes.items() if number >= len(expected) / 2]
        for prefix in prefixes:
            inner = tuple(other for other in copies if other != prefix and other.startswith(prefix))
            names = [name for name in tensors if name.startswith(prefix) and not name.startswith(inner)]
            names = [name for name in names if name in expected or not _TRAINING.match(name.removeprefix(prefix))]
            if names:
                below = {name.removeprefix(prefix): tensors[name] for name in names}
                yield Entry(key, prefix, below, [name for name in tensors if name not in set(names)])


def states_of_key(states: dict[str, dict], key: str, what: str) -> dict[str, dict]:
    """Return those mappings of tensors that `weights_key` names: by their key, its end, or a prefix of names.

    Raises UserError, with the keys of the file, if there are none.
    """
    named = {name: state for name, state in states.items() if name == key}
    named = named or {name: state for name, state in states.items() if name.endswith(f".{key}")}
    if named:
        return named
    for name, state in states.items():
        inner = key.removeprefix(f"{name}.") if name else key
        below = {full: tensor for full, tensor in state.items() if full.startswith(f"{inner}.")}
        if below:
            named[name] = below
    if named:
        return named
    keys = [name for name in states if name and "optim" not in name]
    if not keys:
        raise UserError(f"{what} has no entry '{key}', its tensors are at the top level; remove 'weights_key'")
    raise UserError(f"{what} has no entry '{key}'; set 'weights_key' to one with tensors: {', '.join(keys[:16])}")


def _unwrapped(state: dict[str, torch.Tensor], expected: Collection[str]) -> dict[str, torch.Tensor]:
    """Return tensors without those parts of their names that wrappers add.

    They are unchanged where that would give two tensors the same name.
    """
    own = {part for name in expected for part in name.split(".")}
    drop = WRAPPERS - own
    names = {name: ".".join(part for part in name.split(".") if part not in drop) for name in state}
    if len(set(names.values())) < len(names):
        return state
    return {names[name]: tensor for name, tensor in state.items()}


def _prefixes(state: dict[str, torch.Tensor], expected: Collection[str]) -> dict[str, int]:
    """Return prefixes of names with the number of the network's names found below each.

    Those with less than half of the largest number are left out. The empty prefix and the common one are included.
    """
    counts = Counter({"": 0, _common(state): 0})
    for name in state:
        parts = name.split(".")
        for index in range(len(parts)):
            if ".".join(parts[index:]) in expected:
                counts[".".join([*parts[:index], ""]) if index else ""] += 1
    largest, always = max(counts.values()), {"", _common(state)}
    return {prefix: number for prefix, number in counts.items() if 2 * number >= largest or prefix in always}


def _common(state: dict[str, torch.Tensor]) -> str:
    """Return the first part of all names with its dot, or an empty string if they differ."""
    first = {name.partition(".")[0] for name in state}
    return f"{first.pop()}." if len(first) == 1 and all("." in name for name in state) else ""


def check_ambiguous(entries: list[Entry], what: str) -> Entry:
    """Return the first of several entries that fit equally well.

    Raises UserError, with their names, if their tensors differ.
    """
    first = entries[0]
    if any(not _same(first.tensors, entry.tensors) for entry in entries[1:]):
        names = ", ".join(f"'{entry.name or 'the top level'}'" for entry in entries[:8])
        raise UserError(f"{what} contains several weights that fit ({names}); set 'weights_key' to one of them")
    return first


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())

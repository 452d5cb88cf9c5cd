"""Read the tensors of files and folders of weights, without running code that they contain."""

import argparse
import datetime
import pathlib
import re
import types
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from dreambirds.errors import UserError, first_line, is_out_of_memory, reason_of, remedy_for
from dreambirds.models.epochs import epoch_of_content, trainer_of
from dreambirds.models.file_kinds import (
    INDEX,
    OTHER,
    SAFETENSORS,
    check_whole,
    convert,
    corrupt,
    file_kind,
    shards_of,
    weights_in,
)
from dreambirds.models.inert_pickle import Inert, as_mapping, is_state, read_tree, walk

KEPT = ("arch", "classes", "class_names", "class_to_idx")  # what a converted file keeps next to weights
LONGEST = 16  # entries of a tuple or list that are searched
NOT_WEIGHTS = re.compile(r"optim|^opt$|exp_avg|scheduler|scaler|grad", re.IGNORECASE)  # entries that are never searched


def _plain(create: Callable, *names: str) -> list[tuple[Callable, str]]:
    """Return allowed globals: files may name them, and get what `create` returns."""
    return [(create, name) for name in names]


def _as_list(items: Iterable = (), *_) -> list:
    return list(items)


def _as_path(*parts: str) -> pathlib.PurePath:
    return pathlib.PurePath(*parts)


HARMLESS = [  # what training programs save next to tensors; none of these runs code of the file
    argparse.Namespace,
    *(types.SimpleNamespace, datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone),
    *_plain(lambda *_: {}, "collections.defaultdict"),
    *_plain(_as_list, "collections.deque", "builtins.list", "builtins.tuple", "builtins.frozenset"),
    *_plain(dict, "builtins.dict"),
    *_plain(lambda *values: values, "builtins.slice", "builtins.range", "builtins.xrange"),
    *_plain(int, "builtins.int"),
    *_plain(float, "builtins.float"),
    *_plain(str, "builtins.str"),
    *_plain(bool, "builtins.bool"),
    *[
        entry
        for module in ("pathlib", "pathlib._local")
        for name in ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
        for entry in _plain(_as_path, f"{module}.{name}")
    ],
    *_plain(np._core.multiarray.scalar, "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"),
    *_plain(np._core.multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
    *_plain(np._core.multiarray._reconstruct, "numpy._core.multiarray._reconstruct"),
    *(np.ndarray, np.dtype, *(type(np.dtype(code)) for code in "?bBhHiIlLqQefdgFDSUMm")),
]


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a file by name, in the file's order.

    If the file contains several mappings of tensors, it is the largest. Raises UserError as `read_states` does.
    """
    return max(read_states(path).values(), key=len)


def read_states(path: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Return all mappings of names to tensors in a file or folder, by their keys joined with dots.

    The key of tensors at the top level is empty. Raises UserError if the file cannot be read without running code, or
    contains no tensors.
    """
    files = weights_in(path) if path.is_dir() else shards_of(path) if path.name.endswith(INDEX) else [path]
    if files == [path]:
        check_whole(path)
    contents = [_read_file(file) for file in files if not file.name.endswith(INDEX)]
    content = {key: value for part in contents for key, value in part.items()} if len(contents) > 1 else contents[0]
    states = dict(_states_in(content))
    if not states:
        raise UserError(f"'{path}' does not contain the tensors of a model{_what_is_in(content)}; {OTHER}")
    return states


def _states_in(content: Any, key: str = "", depth: int = 6) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    """Yield each mapping of names to tensors in nested mappings, with its key.

    An entry of a tuple or list has its number as the key. A mapping may contain NumPy arrays instead of tensors.
    """
    if isinstance(content, list | tuple) and any(isinstance(value, dict) for value in content[:LONGEST]):
        content = {str(number): value for number, value in enumerate(content) if isinstance(value, dict)}
    if not isinstance(content, dict) or depth == 0:
        return
    named = {name: value for name, value in content.items() if isinstance(name, str)}
    if named and all(isinstance(value, np.ndarray) and value.dtype.kind in "fiub" for value in named.values()):
        named = {name: torch.from_numpy(value) for name, value in named.items()}
    state = {name: value for name, value in named.items() if isinstance(value, torch.Tensor)}
    if state:
        yield key, state
    for name, value in named.items():
        if not NOT_WEIGHTS.search(name):
            yield from _states_in(value, f"{key}.{name}".lstrip("."), depth - 1)


def _what_is_in(content: Any) -> str:
    """Return what a file without named tensors contains, for its error."""
    if isinstance(content, dict):
        return f" (its keys are {', '.join(repr(key) for key in list(content)[:8])})" if content else " (it is empty)"
    return f" (it contains an object of the type '{type(content).__name__}')"


def _read_file(path: Path) -> Any:
    """Return what a file contains, on the CPU."""
    kind = file_kind(path)
    try:
        if kind == SAFETENSORS:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}
                shared = {name: tensors.get(kept) for name, kept in (file.metadata() or {}).items()}
            return tensors | {name: tensor for name, tensor in shared.items() if tensor is not None}
        with torch.serialization.safe_globals(HARMLESS), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that a later protocol of pickle may fail
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch, safetensors and damaged files raise many types
        if is_out_of_memory(error):
            raise
        if isinstance(error, OSError) and error.strerror:
            raise UserError(f"cannot read '{path}' ({error.strerror}); {remedy_for(error, OTHER)}") from error
        if kind != SAFETENSORS and type(error).__name__ == "UnpicklingError":
            raise UserError(_needs_code(path, error)) from error
        raise corrupt(path, reason_of(error)) from error


def _needs_code(path: Path, error: Exception) -> str:
    """Return the message for a file of torch that contains more than tensors and plain data."""
    tree = read_tree(path)  # raises UserError if the file is corrupt
    found = re.search(r"GLOBAL (\S+) was not", str(error))
    objects = [value.name for value in walk(tree)]
    what = found[1] if found else next(iter(objects), first_line(error))
    code = _conversion(path.name, tree)
    if not code:
        return (
            f"'{path}' is neither a safetensors file nor one that torch can load without running code (it contains "
            f"'{what}', which is more than tensors); {OTHER}"
        )
    model = tree if isinstance(tree, Inert) else None
    kind = f"is a whole pickled model ('{model.name}')" if model else f"contains more than tensors ('{what}')"
    return f"'{path}' {kind}, and loading it would run code; if you trust it, {convert(code)}, and set 'weights.pth'"


def _conversion(name: str, tree: Any) -> str:
    """Return the code that saves what is needed of a file, given its tree; empty if it contains no tensors."""
    load = f"torch.load({name!r}, map_location='cpu', weights_only=False)"
    if _is_module(tree):
        return f"torch.save({load}.state_dict(), 'weights.pth')"
    content = as_mapping(tree)
    modules = [key for key, value in content.items() if _is_module(value)]
    states = [
        key for key, value in content.items() if is_state(value) or any(map(is_state, as_mapping(value).values()))
    ]
    states = [
        key for key in states if key not in modules and not NOT_WEIGHTS.search(str(key)) and not any(walk(content[key]))
    ]
    kept = [key for key in KEPT if key in content and not any(walk(content[key]))]
    if not modules and not states:
        return ""
    parts = [f"**{{k: c[k] for k in {[*states[:4], *kept]}}}"] if states or kept else []
    parts += [f"{key!r}: c[{key!r}].state_dict()" for key in modules[:2]]
    epoch, _ = epoch_of_content(content, trainer_of(content), "")
    parts += [f"'epoch': {epoch}"] if epoch is not None else []
    return f"c = {load}; torch.save({{{', '.join(parts)}}}, 'weights.pth')"


def _is_module(value: Any) -> bool:
    return isinstance(value, Inert) and "_modules" in value.items

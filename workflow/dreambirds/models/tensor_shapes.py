"""Shapes of the tensors in a file of weights, read without torch."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dreambirds.models.file_kinds import SAFETENSORS, file_kind
from dreambirds.models.inert_pickle import Inert, is_state, read_tree

Shapes = dict[str, tuple[int, ...]]


def tensor_shapes(file: Path) -> Iterator[Shapes]:
    """Yield the shapes of the tensors in a file of weights, by name, for each entry that maps names to tensors.

    No tensor is read, and counters, which have no shape, are left out.
    """
    if file_kind(file) == SAFETENSORS:
        with file.open("rb") as opened:
            header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
        yield {name: tuple(tensor["shape"]) for name, tensor in header.items() if tensor.get("shape")}
        return
    waiting = [read_tree(file)]
    while waiting:
        entry = waiting.pop(0)
        if is_state(entry):
            yield {name: shape for name, value in entry.items() if (shape := _shape(value))}
        elif isinstance(entry, dict):
            waiting += entry.values()


def _shape(value: Any) -> tuple[int, ...]:
    """Return the shape of a tensor that was not read, () for anything else."""
    if not (isinstance(value, Inert) and value.is_tensor):
        return ()
    return _shape(value.args[0]) if value.name.endswith("rebuild_parameter") else tuple(value.args[2])

"""Vectors in files: the directions in a layer's channels that dreams maximize."""

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from dreambirds.errors import UserError, reason_of, remedy_for
from dreambirds.io import file_problem, is_file

SUFFIXES = (".npy", ".safetensors")


def read_vectors(path: Path) -> dict[str, np.ndarray]:
    """Return the vectors of a file by name, float32 (C,) each and of unit length.

    An ``.npy`` file contains one vector (C,), or one per row (N, C), which are named by their numbers from 0. A
    ``.safetensors`` file contains one vector per tensor, in the order of their names. Raises UserError if the file
    cannot be read, or contains something else.
    """
    if not is_file(path) or path.suffix not in SUFFIXES:
        problem = file_problem(path, f"is not a file with the suffix {' or '.join(SUFFIXES)}")
        raise UserError(f"'{path}' {problem}; correct the path")
    try:
        if path.suffix == ".safetensors":
            found = dict(sorted(load_file(path).items()))
        else:
            rows = np.load(path, allow_pickle=False)
            found = {str(number): row for number, row in enumerate(rows if rows.ndim == 2 else [rows])}
    except (OSError, ValueError, EOFError, SafetensorError) as error:
        remedy = remedy_for(error, "write it with numpy.save or safetensors")
        raise UserError(f"cannot read '{path}' ({reason_of(error)}); {remedy}") from error
    if not found:
        raise UserError(f"'{path}' contains no vector; write at least one")
    return {name: _unit(vector, name, path) for name, vector in found.items()}


def _unit(vector: np.ndarray, name: str, path: Path) -> np.ndarray:
    number = np.issubdtype(vector.dtype, np.number) and not np.issubdtype(vector.dtype, np.complexfloating)
    if vector.ndim != 1 or not len(vector) or not number:
        problem = f"'{name}' is {vector.dtype} of shape {vector.shape}, not a vector of numbers"
        raise UserError(f"{problem} (file '{path}'); write vectors with one number per channel of the layer")
    norm = float(np.linalg.norm(vector.astype(np.float64)))
    if not 0 < norm < np.inf:
        raise UserError(f"the vector '{name}' in '{path}' is zero, or not finite; remove it")
    unit: np.ndarray = (vector.astype(np.float64) / norm).astype(np.float32)
    return unit

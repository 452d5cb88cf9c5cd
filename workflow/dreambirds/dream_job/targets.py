"""The targets of dream jobs, as outputs and channels of a network, from the facts of those that are not classes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from dreambirds.data.vectors import read_vectors
from dreambirds.dreaming.features import FeatureExtractor
from dreambirds.dreaming.targets import Targets
from dreambirds.errors import UserError, error_context, renamed_key
from dreambirds.io import expand

Facts = Mapping[str, Any]  # of a target that is not one class, as JSON: see `config.targets.Target`


@contextmanager
def naming_targets() -> Iterator[None]:
    """Begin any UserError raised inside with the path of the targets, and call an unknown layer theirs."""
    with error_context("dreams.targets"), renamed_key("objective", "layer"):
        yield


def by_kind(labels: Iterable[str], targets: Mapping[str, Facts]) -> list[list[str]]:
    """Return labels in the groups whose targets can be in one batch.

    They have the same layer, the same position and the same number of units. `targets` are the facts of those that are
    not classes.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for label in labels:
        facts = targets.get(label, {})
        units = len(facts.get("channels") or facts.get("classes") or (_vector(facts) if facts else ()))
        groups.setdefault((str(facts.get("layer")), str(facts.get("position")), str(units)), []).append(label)
    return list(groups.values())


def stream_of(label: str, facts: Facts) -> str:
    """Return the name of a dream's random stream: its label, or that of its pair, so that interpolations are smooth."""
    return str(facts.get("between", label))


def batch_targets(
    labels: Sequence[str], facts: Mapping[str, Facts], classes: Sequence[str], device: torch.device
) -> Targets:
    """Return the targets of a batch of dreams, of one of the groups of `by_kind`.

    `facts` are those of the labels that are not classes, and `classes` the labels of the network's outputs. Raises
    UserError if a file of directions cannot be read, or has changed.
    """
    first = facts.get(labels[0], {})
    if "channels" not in first and "layer" in first:
        vectors = [_vector(facts[label]) for label in labels]
        return Targets(None, torch.stack(vectors).to(device), first["layer"])
    rows = [_weights(label, facts.get(label, {}), classes) for label in labels]
    position = first.get("position")
    return Targets(
        torch.tensor([list(row) for row in rows], device=device),
        torch.tensor([list(row.values()) for row in rows], dtype=torch.float32, device=device),
        first.get("layer"),
        tuple(position) if isinstance(position, list) else position,
    )


def check_targets(model: nn.Module, targets: Targets, shape: tuple[int, int]) -> None:
    """Raise UserError unless a model has the layer, the channels and the position of targets, in images of `shape`.

    Images of a size that the model does not accept are not checked.
    """
    device = next(model.parameters()).device
    with naming_targets():
        features = FeatureExtractor(model, [targets.layer], logits=False)
        try:
            outputs = features(torch.full((1, 3, *shape), 0.5, device=device))
        except (AssertionError, RuntimeError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            return
        targets.scores_of_all(outputs.layers[targets.layer])


def described(facts: Facts) -> dict[str, Any]:
    """Return the facts of a target without files: a direction has ``values`` in place of the path of its file."""
    if "direction" not in facts:
        return dict(facts)
    return {"layer": facts["layer"], "vector": facts["vector"], "values": _vector(facts).tolist()}


def _weights(label: str, facts: Facts, classes: Sequence[str]) -> dict[int, float]:
    """Return the weights of a target by the index of a class or channel."""
    if not facts:
        return {classes.index(label): 1.0}
    if "classes" in facts:
        return {classes.index(name): weight for name, weight in facts["classes"].items()}
    return {int(channel): weight for channel, weight in facts["channels"].items()}


@cache
def _read_once(path: Path) -> dict[str, np.ndarray]:
    """Return the vectors of a file, which a job reads once."""
    return read_vectors(path)


def _vector(facts: Facts) -> torch.Tensor:
    if "values" in facts:
        return torch.tensor(facts["values"])
    with error_context("dreams.targets.directions"):
        vectors = _read_once(expand(facts["direction"]))
        if facts["vector"] not in vectors:
            raise UserError(
                f"'{facts['direction']}' no longer contains '{facts['vector']}'; run the same command again"
            )
    return torch.from_numpy(vectors[facts["vector"]])

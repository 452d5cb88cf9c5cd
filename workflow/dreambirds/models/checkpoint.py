"""Checkpoints: safetensors files that say themselves which model they hold. Nothing is ever unpickled."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from dreambirds.data.files import atomically
from dreambirds.errors import StudyError
from dreambirds.models.build import Classifier, build

KEY = "dreambirds"


@dataclass(frozen=True)
class Card:
    """What a checkpoint holds: a timm architecture and its options, its classes in order, its run and epoch, and the
    size of its pictures: a side, or [height, width]."""

    model: str
    model_options: dict
    labels: list[str]
    run: str
    epoch: int | float
    image_size: int | list[int]


def save_checkpoint(path: Path, classifier: Classifier, card: Card) -> None:
    """Write the network's weights, with the card in the file's metadata; the same weights give the same bytes."""
    save_tensors(path, classifier.network.state_dict(), asdict(card))


def load_checkpoint(path: Path) -> tuple[Classifier, Card]:
    """Return the classifier of a checkpoint, on the CPU and in eval mode, and its card.

    Raises StudyError if the file is damaged or no checkpoint of this project.
    """
    state, facts = load_tensors(path)
    card = _card(path, facts)
    classifier = build(card.model, len(card.labels), card.model_options)
    try:
        classifier.network.load_state_dict(state)
    except RuntimeError as error:
        raise StudyError(f"'{path}' does not hold the weights of '{card.model}'; delete it to train again") from error
    return classifier.eval(), card


def read_card(path: Path) -> Card:
    """Return the card of a checkpoint without loading its weights. Raises StudyError if the file is damaged."""
    with _open(path) as (_, facts):
        return _card(path, facts)


def _card(path: Path, facts: dict) -> Card:
    try:
        return Card(**facts)
    except TypeError as error:
        raise StudyError(f"'{path}' is no whole checkpoint ({error}); delete it to train that epoch again") from error


def save_tensors(path: Path, tensors: dict[str, torch.Tensor], facts: dict) -> None:
    """Write tensors and JSON facts into one safetensors file."""
    # copied, since safetensors refuses parameters that modules share
    plain = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    with atomically(path) as temporary:
        save_file(plain, temporary, metadata={KEY: json.dumps(facts, sort_keys=True)})


def load_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """Return what `save_tensors` wrote. Raises StudyError if the file is damaged or another's."""
    with _open(path) as (file, facts):
        return {name: file.get_tensor(name) for name in file.keys()}, facts


@contextmanager
def _open(path: Path) -> Iterator[tuple]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file, json.loads((file.metadata() or {})[KEY])
    except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise StudyError(f"'{path}' is no whole checkpoint ({error!r}); delete it to train that epoch again") from error

"""Checkpoints: safetensors files that say themselves which model they hold. Nothing is ever unpickled."""

import errno
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from dreambirds.errors import TRAIN_AGAIN, UserError, is_out_of_memory
from dreambirds.io import atomic_write
from dreambirds.models.classifier import Classifier, build
from dreambirds.models.weights import check_finite

KEY, DIGEST = "dreambirds", "sha256"


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint holds: a timm architecture and its options, its classes in order, its run and epoch, and the
    size of its pictures: a side, or [height, width]."""

    model: str
    model_options: dict
    labels: list[str]
    run: str
    epoch: int | float
    image_size: int | list[int]


def save_checkpoint(path: Path, classifier: Classifier, card: CheckpointInfo) -> None:
    """Write the network's weights, with the card in the file's metadata; the same weights give the same bytes."""
    save_tensors(path, classifier.network.state_dict(), asdict(card))


def load_checkpoint(path: Path | str, remedy: str = TRAIN_AGAIN) -> tuple[Classifier, CheckpointInfo]:
    """Return the classifier of a checkpoint, on the CPU and in eval mode, and its card.

    Raises UserError, which ends in what is to be done, if the file is damaged or no checkpoint of this project.
    """
    path = Path(path)
    state, facts = load_tensors(path, remedy)
    card = _card(path, facts, remedy)
    check_finite(state, f"'{path}'", remedy)
    try:
        classifier = build(card.model, len(card.labels), card.model_options)
        classifier.network.load_state_dict(state)
    except UserError as error:
        raise UserError(f"'{path}' holds a model that can't be built ({error.sentence}); {remedy}") from error
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise UserError(f"'{path}' does not hold the weights of '{card.model}'; {remedy}") from error
    return classifier.eval(), card


def check_metadata(path: Path, card: CheckpointInfo, **wanted: object) -> None:
    """Raise UserError unless a checkpoint's card has what is wanted, such as ``model="resnet10t", epoch=4``."""
    for key, value in wanted.items():
        if getattr(card, key) != value:
            raise UserError(f"'{path}' is of the {key} '{getattr(card, key)}', not '{value}'; {TRAIN_AGAIN}")


def read_metadata(path: Path) -> CheckpointInfo:
    """Return the card of a checkpoint without loading its weights. Raises UserError if the file is damaged."""
    with _open(path, TRAIN_AGAIN) as (_, facts, _):
        return _card(path, facts, TRAIN_AGAIN)


def _card(path: Path, facts: dict, remedy: str) -> CheckpointInfo:
    try:
        return CheckpointInfo(**facts)
    except TypeError as error:
        raise UserError(f"'{path}' is no whole checkpoint ({error}); {remedy}") from error


def save_tensors(path: Path, tensors: dict[str, torch.Tensor], facts: dict) -> None:
    """Write tensors and JSON facts into one safetensors file."""
    # copied, since safetensors refuses parameters that modules share
    plain = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    told = {KEY: json.dumps({**facts, DIGEST: _digest(plain)}, sort_keys=True)}  # two would change places
    with atomic_write(path) as temporary:
        try:
            save_file(plain, temporary, metadata=told)
        except SafetensorError as error:  # of the operating system's words it keeps the number in a text
            number = re.search(r"os error (\d+)", str(error))
            raise OSError(int(number[1]) if number else errno.EIO, str(error), str(path)) from error


def _digest(tensors: dict[str, torch.Tensor]) -> str:
    """Return the sha256 of tensors, whatever their order: a bit that flips on a disk is seen in no weight."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def load_tensors(path: Path, remedy: str = TRAIN_AGAIN) -> tuple[dict[str, torch.Tensor], dict]:
    """Return what `save_tensors` wrote. Raises UserError if the file is damaged or another's."""
    with _open(path, remedy) as (file, facts, digest):
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        if _digest(tensors) != digest:
            raise UserError(f"'{path}' is damaged: its numbers are not those that were written; {remedy}")
    return tensors, facts


@contextmanager
def _open(path: Path, remedy: str) -> Iterator[tuple]:
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})[KEY])
            yield file, facts, facts.pop(DIGEST)
    except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise UserError(f"'{path}' is no whole checkpoint ({error!r}); {remedy}") from error

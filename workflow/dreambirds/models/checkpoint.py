"""Checkpoints: folders as the Hugging Face hub has them, which timm opens as well. Nothing is ever unpickled.

This project reads the file of weights only, whose metadata says which model they belong to.
"""

import errno
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from inspect import signature
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from timm.models import get_model_input_config
from timm.models._hub import save_config_for_hf  # the function that timm exports writes the weights as well

from dreambirds.errors import TRAIN_AGAIN, UserError, is_out_of_memory
from dreambirds.io import atomic_write
from dreambirds.models import CONFIG_FILE, MODEL_FILE
from dreambirds.models.classifier import Classifier, build
from dreambirds.models.weights import check_finite
from dreambirds.shapes import shape_of

KEY, DIGEST = "dreambirds", "sha256"


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint contains: a timm architecture and its options, its classes in order, its run and epoch, and
    the size of its training images: a side, or [height, width]."""

    model: str
    model_options: dict
    labels: list[str]
    run: str
    epoch: int | float
    image_size: int | list[int]


def save_checkpoint(folder: Path, classifier: Classifier, info: CheckpointInfo) -> None:
    """Write the network's weights, with the info in their metadata, and timm's config next to them.

    The same weights and info give the same bytes. The weights are written last, so that a killed job leaves nothing
    that looks like a complete checkpoint.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_config(folder / CONFIG_FILE, classifier, info)
    save_tensors(folder / MODEL_FILE, classifier.network.state_dict(), asdict(info))


def write_config(path: Path, classifier: Classifier, info: CheckpointInfo) -> None:
    """Write what timm needs to build the network: its architecture, options and labels, and how images are prepared.

    Images are prepared as in training: resized until they cover the training size, and the rest cropped. The mean and
    standard deviation are those of the network's own config, which the classifier uses.
    """
    own = get_model_input_config(classifier.network)
    size = own["input_size"] if own["fixed_input_size"] else (3, *shape_of(info.image_size))
    not_stored = signature(timm.create_model).parameters  # a cache's folder, say, does not describe the network
    with atomic_write(path) as temporary:
        save_config_for_hf(
            classifier.network,
            str(temporary),
            model_config={"label_names": info.labels},
            model_args={key: value for key, value in info.model_options.items() if key not in not_stored},
            data_config={"input_size": size, "interpolation": "bilinear", "crop_pct": 1.0, "crop_mode": "center"},
        )


def load_checkpoint(path: Path | str, remedy: str = TRAIN_AGAIN) -> tuple[Classifier, CheckpointInfo]:
    """Return the classifier of a checkpoint, on the CPU and in eval mode, and its info.

    `path` is the checkpoint's folder, or the file of weights in it. Raises UserError, which ends in what is to be done,
    if the file is damaged or not a checkpoint of this project.
    """
    path = _model_file(path)
    state, facts = load_tensors(path, remedy)
    info = _info(path, facts, remedy)
    check_finite(state, f"'{path}'", remedy)
    try:
        classifier = build(info.model, len(info.labels), info.model_options)
        classifier.network.load_state_dict(state)
    except UserError as error:
        raise UserError(f"'{path}' holds a model that can't be built ({error.sentence}); {remedy}") from error
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise UserError(f"'{path}' does not hold the weights of '{info.model}'; {remedy}") from error
    return classifier.eval(), info


def check_metadata(path: Path, info: CheckpointInfo, **wanted: object) -> None:
    """Raise UserError unless a checkpoint's info has what is wanted, such as ``model="resnet10t", epoch=4``."""
    for key, value in wanted.items():
        if getattr(info, key) != value:
            raise UserError(f"'{path}' is of the {key} '{getattr(info, key)}', not '{value}'; {TRAIN_AGAIN}")


def read_metadata(path: Path | str) -> CheckpointInfo:
    """Return the info of a checkpoint, given its folder or its file of weights, without loading the weights.

    Raises UserError if the file is damaged.
    """
    path = _model_file(path)
    with _open(path, TRAIN_AGAIN) as (_, facts, _):
        return _info(path, facts, TRAIN_AGAIN)


def _model_file(path: Path | str) -> Path:
    """Return the file of weights in a checkpoint's folder; a path that is not a folder is that file."""
    path = Path(path)
    return path / MODEL_FILE if path.is_dir() else path


def _info(path: Path, facts: dict, remedy: str) -> CheckpointInfo:
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

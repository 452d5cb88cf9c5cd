"""Checkpoints: folders in the Hugging Face hub's layout, which timm can open too.

This project reads only the weights file, whose metadata records the model that the weights belong to. Nothing is ever
unpickled.
"""

import errno
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from inspect import signature
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from timm.models import get_model_input_config
from timm.models._hub import save_config_for_hf  # timm's public function would write the weights too

from dreambirds.errors import RETRAIN, UserError, is_out_of_memory, reading, reason_of
from dreambirds.io import atomic_write, digest_of, sha256_of
from dreambirds.models import CONFIG_FILE, MODEL_FILE
from dreambirds.models.classifier import Classifier, build
from dreambirds.models.names import HUB, LOCAL, OWN, TORCHVISION, model_files, split_name
from dreambirds.models.networks import own_options
from dreambirds.models.weights import check_finite
from dreambirds.shapes import shape_of

KEY, DIGEST = "dreambirds", "sha256"


@dataclass(frozen=True)
class CheckpointInfo:
    """The metadata of a checkpoint.

    `model` and `model_options` are the name of the model in the config and its options; `labels` are the classes in the
    order of the logits; `image_size` is the size of the training images in pixels: the side of squares, or [height,
    width]. `head` and `normalization` are those of `Classifier`. `architecture` is timm's name of a model that came
    from a folder or the hub, so that neither is needed again, and `code` is a digest of the code of an own model.
    """

    model: str
    model_options: dict
    labels: list[str]
    run: str
    epoch: int | float
    image_size: int | list[int]
    head: str = "softmax"
    normalization: dict | None = None
    architecture: str | None = None
    code: str | None = None


def save_checkpoint(folder: Path, classifier: Classifier, info: CheckpointInfo) -> None:
    """Write the network's weights, with `info` as metadata, and timm's config.

    The same weights and info give the same bytes. The weights are written last, so a killed job leaves nothing that
    looks like a complete checkpoint.
    """
    info = _self_contained(info, classifier)
    folder.mkdir(parents=True, exist_ok=True)
    write_config(folder / CONFIG_FILE, classifier, info)
    save_tensors(folder / MODEL_FILE, classifier.network.state_dict(), asdict(info))


def _self_contained(info: CheckpointInfo, classifier: Classifier) -> CheckpointInfo:
    """Return the info with all that is known of the network elsewhere: the config in its folder or hub, or its code."""
    kind, _ = split_name(info.model)
    if kind == OWN:
        return replace(info, code=digest_of([sha256_of(file) for file in model_files(info.model)])[:16])
    if kind not in (HUB, LOCAL):
        return info
    return replace(
        info,
        architecture=classifier.architecture,
        model_options={**own_options(classifier.network), **info.model_options},
        normalization=info.normalization or _normalization(classifier),
    )


def _normalization(classifier: Classifier) -> dict[str, list[float]]:
    """Return a classifier's mean and standard deviation, with as many decimals as float32 has."""
    values = {"mean": classifier.mean, "std": classifier.std}
    return {key: [float(f"{each:.7g}") for each in tensor.flatten().tolist()] for key, tensor in values.items()}


def write_config(path: Path, classifier: Classifier, info: CheckpointInfo) -> None:
    """Write timm's config of the network.

    It contains the architecture, its options, the labels and the image preprocessing. Preprocessing is the same as in
    training: an image is resized to cover the training size, and then cropped. The mean and standard deviation are
    those that the classifier uses. The config of a network that timm does not know has the same keys.
    """
    data = {"interpolation": "bilinear", "crop_pct": 1.0, "crop_mode": "center"}
    data |= _normalization(classifier) if info.normalization or classifier.channels == 1 else {}
    if split_name(info.model)[0] in (OWN, TORCHVISION):
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(_config(classifier, info, data), indent=2) + "\n", encoding="utf-8")
        return
    input_config = get_model_input_config(classifier.network)
    shape = input_config["input_size"][1:] if input_config["fixed_input_size"] else shape_of(info.image_size)
    not_stored = signature(timm.create_model).parameters  # such as a cache folder, which does not describe the network
    with atomic_write(path) as temporary:
        save_config_for_hf(
            classifier.network,
            str(temporary),
            model_config={"label_names": info.labels},
            model_args={key: value for key, value in info.model_options.items() if key not in not_stored},
            data_config={"input_size": (classifier.channels, *shape), **data},
        )
        config = json.loads(temporary.read_text(encoding="utf-8"))
        del config["model_args"]["num_classes"]  # transformers passes the number of labels in addition to these
        temporary.write_text(json.dumps(config, indent=2), encoding="utf-8")


def _config(classifier: Classifier, info: CheckpointInfo, data: dict) -> dict:
    """Return the config of a network that timm does not know, with timm's keys."""
    shape = [classifier.channels, *shape_of(info.image_size)]
    heads = classifier.network.pretrained_cfg["classifier"]
    description = {"input_size": shape, **data, **_normalization(classifier), "classifier": heads}
    return {
        "architecture": info.model,
        "num_classes": len(info.labels),
        "label_names": info.labels,
        "model_args": info.model_options,
        "pretrained_cfg": {"num_classes": len(info.labels), **description},
    }


def load_checkpoint(path: Path | str, remedy: str = RETRAIN) -> tuple[Classifier, CheckpointInfo]:
    """Return the classifier of a checkpoint and its info.

    The classifier is on the CPU and in eval mode. `path` is the checkpoint's folder, or the weights file in it. Raises
    UserError, which ends with `remedy`, if the file is corrupt or not a checkpoint of this project.
    """
    path = _model_file(path)
    state, metadata = load_tensors(path, remedy)
    info = _info(path, metadata, remedy)
    check_finite(state, f"'{path}'", remedy)
    try:
        name, classes = info.architecture or info.model, len(info.labels)
        classifier = build(name, classes, info.model_options, head=info.head, normalization=info.normalization)
        classifier.network.load_state_dict(state)
    except UserError as error:
        reason = reason_of(error.__cause__ or error)
        raise UserError(
            f"'{path}' contains the model '{info.model}', which cannot be built ({reason}); {remedy}"
        ) from error
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise UserError(f"'{path}' does not contain the weights of '{info.model}'; {remedy}") from error
    return classifier.eval(), info


def check_metadata(path: Path, info: CheckpointInfo, **expected: object) -> None:
    """Raise UserError unless a checkpoint's info has the expected values.

    An example of these is ``model="resnet10t", epoch=4``.
    """
    for key, value in expected.items():
        if getattr(info, key) != value:
            raise UserError(f"'{path}' has the {key} {getattr(info, key)!r}, not {value!r}; {RETRAIN}")


def read_metadata(path: Path | str) -> CheckpointInfo:
    """Return the info of a checkpoint without loading its weights.

    `path` is its folder or the weights file in it. Raises UserError if the file is corrupt.
    """
    path = _model_file(path)
    with _open(path, RETRAIN) as (_, metadata, _):
        return _info(path, metadata, RETRAIN)


def _model_file(path: Path | str) -> Path:
    """Return the weights file of a checkpoint, given its folder or the file itself."""
    path = Path(path)
    return path / MODEL_FILE if path.is_dir() else path


def _info(path: Path, metadata: dict, remedy: str) -> CheckpointInfo:
    try:
        return CheckpointInfo(**metadata)
    except TypeError as error:
        raise UserError(f"'{path}' is not a checkpoint (its metadata describes no model); {remedy}") from error


def save_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict) -> None:
    """Write tensors and JSON metadata into one safetensors file."""
    # copied, because safetensors refuses parameters that modules share
    plain = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    # a single key, because safetensors does not keep the order of several
    stored = {KEY: json.dumps({**metadata, DIGEST: digest_of_tensors(plain)}, sort_keys=True)}
    with atomic_write(path) as temporary:
        try:
            save_file(plain, temporary, metadata=stored)
        except SafetensorError as error:  # its message contains the operating system's error number
            number = re.search(r"os error (\d+)", str(error))
            raise OSError(int(number[1]) if number else errno.EIO, str(error), str(path)) from error


def digest_of_tensors(tensors: dict[str, torch.Tensor]) -> str:
    """Return the sha256 of tensors, in any order; it detects flipped bits."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def load_tensors(path: Path, remedy: str = RETRAIN) -> tuple[dict[str, torch.Tensor], dict]:
    """Return the tensors and metadata that `save_tensors` wrote.

    Raises UserError if the file is corrupt or was not written by it.
    """
    with _open(path, remedy) as (file, metadata, digest):
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        if digest_of_tensors(tensors) != digest:
            raise UserError(f"'{path}' is corrupt (its tensors do not match their digest); {remedy}")
    return tensors, metadata


@contextmanager
def _open(path: Path, remedy: str) -> Iterator[tuple]:
    with reading(path, remedy, (SafetensorError, TypeError, json.JSONDecodeError)):
        try:
            with safe_open(path, framework="pt") as file:
                metadata = json.loads((file.metadata() or {})[KEY])
                yield file, metadata, metadata.pop(DIGEST)
        except KeyError as error:
            problem = "is not a file of this project (it has no dreambirds metadata)"
            raise UserError(f"'{path}' {problem}; {remedy}") from error

"""What a checkpoint records about itself: epochs, classes, model, size and normalization; read without torch."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dreambirds.errors import reading, reason_of
from dreambirds.models import CONFIG_FILE
from dreambirds.models.epochs import GENERIC, as_epoch, epoch_of_content, epoch_of_name, stem_of, trainer_of
from dreambirds.models.file_kinds import INDEX, OTHER, SAFETENSORS, corrupt, file_kind, shards_of, weights_in
from dreambirds.models.inert_pickle import as_mapping, read_tree
from dreambirds.models.recorded import classes_in, config_facts, model_in

TRAINER_FILE = "trainer_state.json"
OWN = "dreambirds"  # the key of this project's metadata
_DAMAGED = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True)
class CheckpointFacts:
    """What a checkpoint records.

    `kind` is the program that wrote it: ``timm``, ``lightning``, ``transformers``, ``torchvision``, ``dreambirds`` or
    empty. `epoch` is the number of completed epochs, and `epoch_source` from what it was read. `classes` are in the
    order of the outputs. `model` and `model_options` are those of `timm.create_model`. `image_size` is a side or
    [height, width] in pixels. `normalization` has the mean and std of images in [0, 1]. `head` is ``sigmoid`` if the
    file states that several classes apply at once, else ``softmax``. What is not recorded is None or empty.
    """

    kind: str = ""
    epoch: int | float | None = None
    epoch_source: str = ""
    classes: list[str] | None = None
    model: str | None = None
    model_options: dict = field(default_factory=dict)
    image_size: int | list[int] | None = None
    normalization: dict | None = None
    head: str = "softmax"


def weights_files(path: Path) -> list[Path]:
    """Return the files that count as input of a checkpoint.

    These are the file itself, or the weights in a folder with all shards, and then the files that describe them. Raises
    UserError if a folder contains no weights, or several.
    """
    folder = _described_by(path)
    others = [folder / name for name in (CONFIG_FILE, TRAINER_FILE) if (folder / name).is_file()] if folder else []
    if not path.is_dir():
        return [*(shards_of(path) if path.name.endswith(INDEX) else [path]), *others]
    with reading(path, OTHER, ()):
        return [*weights_in(path), *others]


def _described_by(path: Path) -> Path | None:
    """Return the folder whose config describes a checkpoint: itself, or that of a file with a name of the hub."""
    if path.is_dir():
        return path
    return path.parent if stem_of(path) in GENERIC else None


def read_facts(path: Path) -> CheckpointFacts:
    """Return what a checkpoint records; `path` is a file, or a folder of the Hugging Face hub or of its Trainer.

    The tensors are not read, and nothing is unpickled. Raises UserError if the file is corrupt or of another kind.
    """
    weights = weights_files(path)[0]
    folder = _described_by(path)
    content = {} if weights.name.endswith(INDEX) else _read_content(weights)
    if isinstance(content.get(OWN), dict):
        return _own_facts(content[OWN])
    config = _read_json(folder / CONFIG_FILE) if folder else {}
    state = _read_json(folder / TRAINER_FILE) if folder else {}
    kind = _kind(content, config, state)
    facts = CheckpointFacts(kind, **{**model_in(content, kind), **_guarded(folder, config)})
    facts = replace(facts, classes=facts.classes or classes_in(content))
    epoch, source = as_epoch(state.get("epoch")), TRAINER_FILE
    if epoch is None:
        epoch, source = epoch_of_content(content, kind, stem_of(path))
    if epoch is None:
        named = path.absolute().parent if path != folder and state else path
        epoch, source = epoch_of_name(named, "transformers" if path.is_dir() and not kind else kind)
    return replace(facts, epoch=epoch, epoch_source=source)


def _guarded(folder: Path | None, config: dict) -> dict[str, Any]:
    """Return the facts of a folder's config; raise UserError if it is malformed."""
    try:
        return config_facts(config)
    except _DAMAGED as error:
        raise corrupt(folder / CONFIG_FILE, reason_of(error)) from error


def _kind(content: dict, config: dict, state: dict) -> str:
    """Return the kind of a checkpoint from its content, and the config and trainer's state next to it."""
    if state or "model_type" in config or "architectures" in config:
        return "transformers"
    return "timm" if "architecture" in config else trainer_of(content)


def _read_content(path: Path) -> dict:
    """Return what a file contains next to tensors: the metadata of safetensors, or the tree of a file of torch."""
    if file_kind(path) != SAFETENSORS:
        return as_mapping(read_tree(path))
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    metadata = header.get("__metadata__")
    return {key: _parsed(value) for key, value in metadata.items()} if isinstance(metadata, dict) else {}


def _parsed(text: Any) -> Any:
    """Return the data in a text of metadata, which may be JSON."""
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return text


def _read_json(path: Path) -> dict:
    """Return the mapping in a JSON file; an empty one if the file does not exist."""
    if not path.is_file():
        return {}
    with reading(path, f"{OTHER}, or restore it", (ValueError, RecursionError)):
        content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise corrupt(path, "it is not a mapping")
    return content


def _own_facts(metadata: dict) -> CheckpointFacts:
    """Return the facts of a checkpoint of this project."""
    known = {key: metadata[key] for key in ("model", "model_options", "image_size", "normalization") if key in metadata}
    epoch = as_epoch(metadata.get("epoch"))
    return CheckpointFacts(
        "dreambirds",
        epoch,
        f"its 'epoch' {epoch}" if epoch is not None else "",
        metadata.get("labels"),
        head=metadata.get("head", "softmax"),
        **known,
    )

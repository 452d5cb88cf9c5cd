"""Look for checkpoints of networks that were trained elsewhere, and group them by training."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dreambirds.data.labels import read_names
from dreambirds.errors import UserError
from dreambirds.io import is_file
from dreambirds.models import CONFIG_FILE
from dreambirds.models.checkpoint_facts import CheckpointFacts, read_facts
from dreambirds.models.file_kinds import SUFFIXES, has_name_of_weights
from dreambirds.models.names import model_names
from dreambirds.shapes import as_size

WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")  # of a folder with a config.json
SETTINGS = ("args.yaml", "hparams.yaml")
NAMES = ("class_map.txt", "classes.txt", "labels.txt")
MODEL_KEYS = ("model", "model_name", "arch", "architecture", "backbone")
DEEPEST = 5


@dataclass
class Training:
    """Checkpoints of one network: files or folders by the number of completed epochs, and what they record.

    `sources` is how each epoch is known. `left_out` are sentences about checkpoints that are not used. `numbered` is
    whether no epoch is known, so that the checkpoints are numbered by name. `labels` is the path of a file of class
    names.
    """

    folder: Path
    checkpoints: dict[float, Path]
    sources: dict[float, str]
    left_out: list[str] = field(default_factory=list)
    numbered: bool = False
    model: str | None = None
    guessed: bool = False
    options: dict = field(default_factory=dict)
    head: str = "softmax"
    normalization: dict | None = None
    image_size: int | list[int] | None = None
    classes: list[str] | None = None
    outputs: int | None = None
    labels: Path | None = None
    data: Path | None = None


def look_for_checkpoints(path: Path) -> list[Path]:
    """Return the checkpoints at a path and below, sorted: files of weights, and folders that a library opens.

    Hidden folders, and states of optimizers, are left out.
    """
    if path.is_file():
        return [path] if path.name.lower().endswith(SUFFIXES) else []
    found, level = [], [path]
    for _ in range(DEEPEST):
        for folder in level:
            if _is_checkpoint(folder):
                found.append(folder)
            else:
                found += [file for file in _entries(folder) if is_file(file) and _is_weights(file)]
        level = [inner for folder in level for inner in _entries(folder) if inner.is_dir()]
    return sorted(found, key=_in_order)


def _entries(folder: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    return []


def _is_checkpoint(folder: Path) -> bool:
    return is_file(folder / CONFIG_FILE) and any(any(folder.glob(pattern)) for pattern in WEIGHTS)


def _is_weights(file: Path) -> bool:
    return has_name_of_weights(file)


def _in_order(path: Path) -> list[tuple[bool, int, str]]:
    """Return a sort key that sorts 2 before 10."""
    parts = re.split(r"(\d+)", str(path))
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]


def group_checkpoints(paths: list[Path]) -> tuple[list[Training], list[str]]:
    """Return the trainings that wrote checkpoints, by folder and model, and why others cannot be used, as sentences."""
    facts: dict[Path, CheckpointFacts] = {}
    refused = []
    for path in paths:
        try:
            facts[path] = read_facts(path)
        except (UserError, OSError) as error:
            refused.append(str(error))
    groups: dict[tuple[Path, str | None, int], list[Path]] = {}
    for path, known in facts.items():
        folder = path if any(other.parent == path for other in facts) else path.parent
        folder = folder.parent if folder.name == "checkpoints" else folder
        groups.setdefault((folder, known.model, len(known.classes or ())), []).append(path)
    return [_training(key[0], {path: facts[path] for path in group}) for key, group in groups.items()], refused


def _training(folder: Path, facts: dict[Path, CheckpointFacts]) -> Training:
    """Return a training from its checkpoints, and from the settings and class names next to them."""
    training = Training(folder, {}, {})
    known = {path: fact for path, fact in facts.items() if fact.epoch is not None}
    training.numbered = not known
    # of several with the same epoch, one that is numbered: timm copies the last and the best checkpoint
    for path in sorted(known, key=lambda path: not re.search(r"\d", path.name.removesuffix(".pth.tar"))):
        epoch = facts[path].epoch
        if epoch in training.checkpoints:
            training.left_out.append(f"'{path}' has the same epoch as '{training.checkpoints[epoch].name}'")
        else:
            training.checkpoints[epoch], training.sources[epoch] = path, facts[path].epoch_source
    for number, path in enumerate((path for path in facts if path not in known), 1):
        if known:
            training.left_out.append(f"'{path}' records no epoch; add it with the number of completed epochs")
        else:
            training.checkpoints[number], training.sources[number] = path, "unknown, numbered by name"
    training.checkpoints = dict(sorted(training.checkpoints.items()))
    _complete(training, facts[training.checkpoints[max(training.checkpoints)]])
    return training


def _complete(training: Training, facts: CheckpointFacts) -> None:
    """Fill in what the last checkpoint records, or else what the files next to it do."""
    settings = _settings(training)
    size = settings.get("img_size") or settings.get("input_size")
    size = as_size(tuple(size[-2:])) if isinstance(size, list) and len(size) > 1 else size
    named = [settings.get(key) for key in MODEL_KEYS]
    models = [name for name in named if isinstance(name, str) and name.partition(".")[0] in model_names()]
    training.model = facts.model or (models[0] if models else None)
    training.options, training.head, training.classes = dict(facts.model_options), facts.head, facts.classes
    training.image_size = facts.image_size or (size if isinstance(size, (int, list)) else None)
    given = {key: settings.get(key) for key in ("mean", "std")}
    training.normalization = facts.normalization or (given if all(given.values()) else None)
    if not training.classes:
        training.labels = next(_name_files(training, settings), None)
        training.classes = read_names(training.labels) if training.labels else None
    outputs = settings.get("num_classes")
    training.outputs = len(training.classes) if training.classes else outputs if isinstance(outputs, int) else None
    data = settings.get("data_dir") or settings.get("data")
    training.data = Path(data) if isinstance(data, str) and data and Path(data).is_dir() else None


def _near(training: Training) -> list[Path]:
    """Return the folders in which files about a training are expected."""
    last = training.checkpoints[max(training.checkpoints)]
    return list(
        dict.fromkeys([*([last] if last.is_dir() else []), last.parent, training.folder, training.folder.parent])
    )


def _settings(training: Training) -> dict[str, Any]:
    """Return the settings that timm's and Lightning's trainings write, {} if there are none."""
    for path in (folder / name for folder in _near(training) for name in SETTINGS):
        with suppress(OSError, ValueError, yaml.YAMLError):
            settings = yaml.safe_load(path.read_text(encoding="utf-8"))
            if isinstance(settings, dict):
                return settings
    return {}


def _name_files(training: Training, settings: dict[str, Any]) -> Iterator[Path]:
    """Yield the files of class names next to a training."""
    given = settings.get("class_map")
    if isinstance(given, str) and given and is_file(Path(given)):
        yield Path(given)
    yield from (folder / name for folder in _near(training) for name in NAMES if is_file(folder / name))

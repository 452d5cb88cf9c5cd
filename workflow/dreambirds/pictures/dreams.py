"""One dream job: from a checkpoint and a recipe to the pictures and traces of all its labels."""

import hashlib
import logging
import time
from pathlib import Path

import pandas as pd
import torch
from torch.utils.data import DataLoader

from dreambirds.dreaming.loop import Dreams, Recipe, dream
from dreambirds.dreaming.starts import Starts, stream
from dreambirds.errors import StudyError
from dreambirds.models.checkpoint import Card, load_checkpoint
from dreambirds.models.frozen import freeze
from dreambirds.pictures.provenance import save_png, versions
from dreambirds.pictures.views import views
from dreambirds.study.paths import picture_name, trace_name

BATCH = 16
log = logging.getLogger(__name__)


def dream_all(checkpoint: Path, name: str, parameters: dict, names: dict[str, str], photographs, folder: Path, device):
    """Let a checkpoint dream of every label under one recipe; write pictures and traces into `folder`.

    `parameters` is the recipe called `name` with all its values; `names` maps the labels to dream of to their names
    for people; `photographs` maps them to the files that their dreams start from, if the recipe asks for photographs.
    Raises StudyError if the checkpoint is damaged or a dream leaves the numbers.
    """
    classifier, card = load_checkpoint(checkpoint)
    size = parameters["size"] or card.image_size
    model = freeze(classifier, size, device)
    recipe = as_recipe(parameters)
    labels = list(names)
    streams = [stream(parameters["seed"], label) for label in labels]
    facts = _facts(checkpoint, card, name, parameters, device)
    files = [photographs[label] for label in labels] if photographs else []
    for starts, places in DataLoader(Starts(parameters["start"], size, streams, files), BATCH):
        batch = [labels[place] for place in places]
        targets = torch.tensor([card.labels.index(label) for label in batch], device=device)
        began = time.perf_counter()
        dreams = dream(model, targets, starts.to(device), recipe, [streams[place] for place in places])
        seconds = time.perf_counter() - began
        _check(dreams, name, recipe)
        for place, label in enumerate(batch):
            about = {**facts, "label": label, **_start_facts(photographs.get(label))}
            _write(dreams, place, names[label], card, about, folder)
        speed = 1000 * seconds / len(batch) / recipe.steps[-1]
        log.info("%s epoch %d, %s: %d dreams, %.1f ms a step", card.run, card.epoch, name, len(batch), speed)


def as_recipe(parameters: dict) -> Recipe:
    """Return the recipe of the dreamer that a config's parameters describe."""
    fields = {key: parameters[key] for key in Recipe.__dataclass_fields__}
    return Recipe(**{**fields, "steps": tuple(parameters["steps"])})


def _facts(checkpoint: Path, card: Card, name: str, parameters: dict, device) -> dict:
    return {
        "run": card.run,
        "epoch": card.epoch,
        "model": card.model,
        "recipe": name,
        "parameters": parameters,
        "seed": parameters["seed"],
        "checkpoint_sha256": _digest(checkpoint),
        "versions": versions(),
        "device": str(device),
    }


def _start_facts(photograph: Path | None) -> dict:
    if photograph is None:
        return {}
    return {"start": photograph.name, "start_sha256": _digest(photograph)}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check(dreams: Dreams, name: str, recipe: Recipe) -> None:
    for step, images in dreams.snapshots.items():
        if not images.isfinite().all():
            raise StudyError(
                f"dreams.recipes.{name}: values ran to infinity before step {step} at step_size {recipe.step_size}; "
                "lower step_size or set gradient_normalisation to std"
            )


def _write(dreams: Dreams, place: int, name: str, card: Card, facts: dict, folder: Path) -> None:
    for step, images in dreams.snapshots.items():
        for view, picture in views(images[place]).items():
            title = f"{name}, dreamt at epoch {card.epoch}, step {step}"
            path = folder / picture_name(facts["label"], step, view)
            save_png(picture, path, title, {**facts, "step": step, "view": view})
    trace = pd.DataFrame({measure: values[place].numpy() for measure, values in dreams.trace.items()})
    trace["top1"] = [card.labels[int(index)] for index in trace["top1"]]
    trace.to_csv(folder / trace_name(facts["label"]), index_label="step", float_format="%.6g")

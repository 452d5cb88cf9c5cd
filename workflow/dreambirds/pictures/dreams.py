"""One dream job: from a checkpoint and a recipe to the pictures, traces and films of all its labels."""

import logging
import math
import time
from dataclasses import dataclass, fields
from pathlib import Path

import pandas as pd
import torch
from torch.utils.data import default_collate

from dreambirds.data.files import sha256_of
from dreambirds.data.shapes import in_proportion, shape_of
from dreambirds.dreaming.batches import batch_size, in_batches
from dreambirds.dreaming.layers import find_layer
from dreambirds.dreaming.loop import Dreams, dream
from dreambirds.dreaming.precision import resolve_precision
from dreambirds.dreaming.recipe import Recipe, scaled
from dreambirds.dreaming.rehearsal import rehearse
from dreambirds.dreaming.schedule import value_at
from dreambirds.dreaming.starts import Start, Starts, stream
from dreambirds.errors import StudyError
from dreambirds.models.checkpoint import Card, load_checkpoint
from dreambirds.models.frozen import freeze
from dreambirds.pictures.gif import save_gif
from dreambirds.pictures.provenance import as_text, save_png, versions
from dreambirds.pictures.statistics import read_statistics
from dreambirds.pictures.views import rescale_together, to_picture, views
from dreambirds.study.paths import film_name, picture_name, trace_name
from dreambirds.terms import layers

PROCESS_BYTES = 1_000_000_000
SECONDS_PER_FRAME = 0.08
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What to dream: a checkpoint, a recipe by name and its values, the labels with their names for people, the
    photographs that they start from, if any, the data set's statistics, if needed, and the memory for it all."""

    checkpoint: Path
    recipe: str
    parameters: dict
    names: dict[str, str]
    photographs: dict[str, Path]
    statistics: Path | None
    folder: Path
    bytes_free: int


def dream_all(job: Job, device: torch.device) -> None:
    """Let a checkpoint dream of every label under one recipe; write pictures, traces and films into the job's folder.

    A dream that runs to infinity is named in the log and leaves its last good picture, which says so in its facts.
    Raises StudyError if the checkpoint is damaged, the recipe does not fit the model, or no dream succeeds.
    """
    ready = _Ready(job, device)
    labels, sentences = list(job.names), []
    for places, dreams in in_batches(ready.dream_of, len(labels), ready.batch):
        for row, place in enumerate(places):
            _write(dreams, row, labels[place], job, ready)
            if dreams.failed[row]:
                sentences.append(_failure(job, labels[place], int(dreams.failed[row])))
    if len(sentences) == len(labels):
        raise StudyError(sentences[0])
    for sentence in sentences:
        log.error("Error: %s; its pictures are those from before", sentence)


def _failure(job: Job, label: str, step: int) -> str:
    size = value_at(job.parameters["step_size"], step - 1)
    return (
        f"dreams.recipes.{job.recipe}, {label}: values ran to infinity in step {step} at step_size {size:g}; lower "
        "step_size, or set gradient_normalisation to std"
    )


class _Ready:
    """A checkpoint made ready to dream under a job's recipe."""

    def __init__(self, job: Job, device: torch.device):
        classifier, self.card = load_checkpoint(job.checkpoint)
        parameters = job.parameters
        trained = shape_of(self.card.image_size)
        self.job, self.device, self.shape = job, device, in_proportion(trained, parameters["size"] or min(trained))
        self.recipe = as_recipe(parameters, min(self.shape))
        self.precision = resolve_precision(parameters["precision"], device)
        self.layers = {name: find_layer(classifier.network, name) for name in layers(parameters["objective"])}
        # what the batch norms saw in training is wanted by the prior, so then they stay apart
        fold = not parameters["batch_norm_prior"]
        self.model = freeze(classifier, trained, device, fold, self.layers.values())
        self.spectrum, self.means = read_statistics(job.statistics) if job.statistics else (None, {})
        self.batch = self._batch()
        self.facts = _facts(job, self.card, device, precision=self.precision, layers=self.layers)

    def _batch(self) -> int:
        every = self.job.parameters["film_every"]
        film = 3 * math.prod(self.shape) * (self.recipe.steps[-1] // every + 2) if every else 0
        cuda = self.device.type == "cuda"
        free = torch.cuda.mem_get_info()[0] if cuda else self.job.bytes_free - PROCESS_BYTES
        return batch_size(rehearse(self.model, self.recipe, self.shape) + film, free, self.device)

    def dream_of(self, places: list[int]) -> Dreams:
        """Dream of the labels at these places."""
        job, labels = self.job, [list(self.job.names)[place] for place in places]
        streams = [stream(job.parameters["seed"], label) for label in labels]
        starts, _ = default_collate(list(Starts(self._start(labels), self.shape, streams)))
        targets = torch.tensor([self.card.labels.index(label) for label in labels], device=self.device)
        began = time.perf_counter()
        dreams = dream(
            self.model,
            targets,
            starts.to(self.device),
            self.recipe,
            streams,
            spectrum=self.spectrum,
            precision=self.precision,
            film_every=job.parameters["film_every"],
        )
        speed = 1000 * (time.perf_counter() - began) / len(labels) / self.recipe.steps[-1]
        where = f"{self.card.run} epoch {self.card.epoch}, {job.recipe}"
        log.info("%s: %d dreams, %.1f ms a step", where, len(labels), speed)
        return dreams

    def _start(self, labels: list[str]) -> Start:
        keys = self.job.parameters
        photographs = [self.job.photographs[label] for label in labels] if self.job.photographs else []
        means = [self.means[label] for label in labels] if keys["start"] == "class_mean" else []
        side = min(self.shape)
        blur = keys["start_blur_sigma"] * side / (keys["lengths_at"] or side)
        return Start(keys["start"], keys["start_colour"], keys["start_noise"], blur, photographs, means)


def as_recipe(parameters: dict, side: int) -> Recipe:
    """Return the recipe of the dreamer that a config's parameters describe for pictures whose shorter side has
    `side` pixels."""
    values = {key.name: parameters[key.name] for key in fields(Recipe)}
    recipe = Recipe(**{**values, "steps": tuple(parameters["steps"])})
    return recipe if parameters["lengths_at"] is None else scaled(recipe, side / parameters["lengths_at"])


def _facts(job: Job, card: Card, device: torch.device, **more) -> dict:
    return {
        "run": card.run,
        "epoch": card.epoch,
        "model": card.model,
        "recipe": job.recipe,
        "parameters": job.parameters,
        "seed": job.parameters["seed"],
        "checkpoint_sha256": sha256_of(job.checkpoint),
        "versions": versions(),
        "device": str(device),
        "threads": torch.get_num_threads(),
        **({"tf32": True} if device.type == "cuda" else {}),
        **({"statistics_sha256": sha256_of(job.statistics)} if job.statistics else {}),
        **more,
    }


def _start_facts(photograph: Path | None) -> dict:
    return {} if photograph is None else {"start": photograph.name, "start_sha256": sha256_of(photograph)}


def _write(dreams: Dreams, row: int, label: str, job: Job, ready: _Ready) -> None:
    card, ended, failed = ready.card, int(dreams.ended[row]), int(dreams.failed[row])
    about = {"label": label, "batch": len(dreams.ended), **({"failed_at": failed} if failed else {})}
    facts = {**ready.facts, **about, **_start_facts(job.photographs.get(label))}
    title = f"{job.names[label]}, dreamt at epoch {card.epoch}"
    for step, images in dreams.snapshots.items():
        for view, picture in views(images[row]).items():
            path = job.folder / picture_name(label, step, view)
            own = {**facts, "step": step, "steps_done": min(step, ended), "view": view}
            save_png(picture, path, f"{title}, step {step}", own)
    trace = pd.DataFrame({measure: values[row, : ended + 1].numpy() for measure, values in dreams.trace.items()})
    trace["top1"] = [card.labels[int(index)] if index == index else "" for index in trace["top1"]]
    trace.to_csv(job.folder / trace_name(label), index_label="step", float_format="%.6g")
    if dreams.frames:
        shown = [*dreams.frames[: math.ceil(ended / job.parameters["film_every"])], dreams.frames[-1]]
        frames = [to_picture(image) for image in rescale_together(torch.stack([each[row] for each in shown]))]
        comment = as_text({**facts, "steps_done": ended, "title": title})
        save_gif(frames, job.folder / film_name(label), SECONDS_PER_FRAME, comment)

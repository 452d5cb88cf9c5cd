"""A checkpoint made ready to dream under a recipe, and what decides its dreams."""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import torch
from torch.utils.data import default_collate

from dreambirds.data.files import sha256_of
from dreambirds.data.shapes import in_proportion, shape_of
from dreambirds.data.tables import remedy
from dreambirds.dreaming.batches import batch_size
from dreambirds.dreaming.layers import find_layer
from dreambirds.dreaming.loop import Dreams, dream
from dreambirds.dreaming.precision import resolve_precision
from dreambirds.dreaming.recipe import Recipe, scaled
from dreambirds.dreaming.rehearsal import rehearse
from dreambirds.dreaming.starts import Start, Starts, stream
from dreambirds.errors import StudyError
from dreambirds.models.checkpoint import load_checkpoint, read_card
from dreambirds.models.frozen import freeze
from dreambirds.pictures.provenance import versions
from dreambirds.pictures.statistics import read_statistics
from dreambirds.study.memory import frames
from dreambirds.terms import layers

DECIDES_NO_PIXEL = ("preset", "steps", "film_every", "precision", "start_path")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What to dream: a checkpoint, a recipe by name and its values, the labels with their names for people, the
    photographs that they start from, if any, the data set's statistics, if needed, the folder for it all, the bytes
    that pictures may take on the processor, a digest of the code, and which of the recipe's steps to keep (None: all).
    """

    checkpoint: Path
    recipe: str
    parameters: dict
    names: dict[str, str]
    photographs: dict[str, Path]
    statistics: Path | None
    folder: Path
    bytes_free: int
    code: str = ""
    only: tuple[int, ...] | None = None

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps to keep, ascending."""
        return self.only or tuple(self.parameters["steps"])

    @property
    def film(self) -> bool:
        """Whether there are to be films of whole dreams."""
        return self.parameters["film_every"] is not None and self.steps[-1] == self.parameters["steps"][-1]


class Ready:
    """A job's checkpoint on a device. The model is built when the first dream asks for it."""

    def __init__(self, job: Job, device: torch.device):
        """Read the checkpoint's card. Raises StudyError if the checkpoint is damaged."""
        self.job, self.device, self.card = job, device, read_card(job.checkpoint)
        self.trained = shape_of(self.card.image_size)
        self.shape = in_proportion(self.trained, job.parameters["size"] or min(self.trained))
        self.recipe = as_recipe(job.parameters, min(self.shape))
        self.precision = resolve_precision(job.parameters["precision"], device)
        self.checkpoint_sha256 = sha256_of(job.checkpoint)
        self.statistics_sha256 = sha256_of(job.statistics) if job.statistics else None
        self.starts_sha256 = {label: sha256_of(job.photographs[label]) for label in job.names if job.photographs}

    @cached_property
    def model(self):
        """The frozen model. Raises StudyError if the recipe does not fit it."""
        classifier, _ = load_checkpoint(self.job.checkpoint)
        self.layers = {name: find_layer(classifier.network, name) for name in layers(self.job.parameters["objective"])}
        # what the batch norms saw in training is wanted by the prior, so then they stay apart
        fold = not self.job.parameters["batch_norm_prior"]
        return freeze(classifier, self.trained, self.device, fold, self.layers.values())

    @property
    def said(self) -> str:
        """What the log calls the job."""
        return f"{self.card.run} epoch {self.card.epoch}, {self.job.recipe}"

    @cached_property
    def statistics(self) -> tuple[torch.Tensor | None, dict[str, torch.Tensor]]:
        """The data set's spectrum and mean images, if the recipe needs them."""
        return read_statistics(self.job.statistics) if self.job.statistics else (None, {})

    @cached_property
    def batch(self) -> int:
        """How many labels to dream of at once."""
        film = 3 * math.prod(self.shape) * frames(self.job.parameters) if self.job.film else 0
        cuda = self.device.type == "cuda"
        free = torch.cuda.mem_get_info()[0] if cuda else self.job.bytes_free
        return batch_size(rehearse(self.model, self.recipe, self.shape) + film, free, self.device)

    def decides(self, label: str) -> dict:
        """Return all that decides the pixels of a label's dream, whichever of its moments are kept."""
        parameters = self.job.parameters
        return {
            "checkpoint_sha256": self.checkpoint_sha256,
            "label": label,
            "parameters": {key: parameters[key] for key in parameters if key not in DECIDES_NO_PIXEL},
            "precision": self.precision,
            "device": self.device.type,
            "start_sha256": self.starts_sha256.get(label),
            "statistics_sha256": self.statistics_sha256,
            "versions": {name: number for name, number in versions().items() if name != "dreambirds"},
            "code": self.job.code,
        }

    def dream_of(self, labels: Sequence[str], steps: Sequence[int], film: bool) -> Dreams:
        """Dream of labels at once, and keep the pictures of these steps, and frames if there is to be a film."""
        job = self.job
        recipe = Recipe(**{**vars(self.recipe), "steps": tuple(steps)})
        spectrum, means = self.statistics
        streams = [stream(job.parameters["seed"], label) for label in labels]
        starts = self._starts(labels, means, streams)
        targets = torch.tensor([self.card.labels.index(label) for label in labels], device=self.device)
        began = time.perf_counter()
        dreams = dream(
            self.model,
            targets,
            starts.to(self.device),
            recipe,
            streams,
            spectrum=spectrum,
            precision=self.precision,
            film_every=job.parameters["film_every"] if film else None,
        )
        self.seconds_a_step = (time.perf_counter() - began) / len(labels) / recipe.steps[-1]
        log.info("%s: dreamt of %d labels, %.1f ms a step", self.said, len(labels), 1000 * self.seconds_a_step)
        return dreams

    def _starts(self, labels: Sequence[str], means: dict[str, torch.Tensor], streams: list) -> torch.Tensor:
        try:
            return default_collate(list(Starts(self._start(labels, means), self.shape, streams)))[0]
        except StudyError as error:
            if self.job.parameters["start_path"] is not None:
                raise
            prepared = next(iter(self.job.photographs.values())).parents[2]  # of dataset/images/<label>/<picture>
            raise StudyError(f"{error}; {remedy(prepared)}") from error

    def _start(self, labels: Sequence[str], means: dict[str, torch.Tensor]) -> Start:
        keys = self.job.parameters
        photographs = [self.job.photographs[label] for label in labels] if self.job.photographs else []
        means = [means[label] for label in labels] if keys["start"] == "class_mean" else []
        side = min(self.shape)
        blur = keys["start_blur_sigma"] * side / (keys["lengths_at"] or side)
        return Start(keys["start"], keys["start_colour"], keys["start_noise"], blur, photographs, means)


def as_recipe(parameters: dict, side: int) -> Recipe:
    """Return the recipe of the dreamer that a config's parameters describe for pictures whose shorter side has
    `side` pixels."""
    values = {key.name: parameters[key.name] for key in fields(Recipe)}
    recipe = Recipe(**{**values, "steps": tuple(parameters["steps"])})
    return recipe if parameters["lengths_at"] is None else scaled(recipe, side / parameters["lengths_at"])

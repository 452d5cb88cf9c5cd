"""Prepare a dream job: its inputs, and the keys of its dreams in the store."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path

import torch
from torch.utils.data import default_collate

from dreambirds.data.image_io import read_photograph
from dreambirds.data.tables import remedy
from dreambirds.device import free_memory, resolve_precision
from dreambirds.dream_job.batches import batch_size, estimate_activation_memory
from dreambirds.dream_job.networks import JobNetwork, LoadedNetwork, Settings, info_of
from dreambirds.dream_job.references import PhotographFiles, TrainingPhotographs, read_image_at
from dreambirds.dream_job.start_dreams import StartDream
from dreambirds.dream_job.statistics import read_statistics
from dreambirds.dream_job.store import dream_key
from dreambirds.dream_job.targets import Facts, by_kind, check_targets, described, stream_of
from dreambirds.dreaming.dream import DreamResult, dream
from dreambirds.dreaming.octaves import evaluation_shape
from dreambirds.dreaming.recipe import as_recipe
from dreambirds.dreaming.starts import Start, Starts
from dreambirds.dreaming.variants import stream_names
from dreambirds.errors import error_context, in_yaml
from dreambirds.io import sha256_of
from dreambirds.plan.memory import frames
from dreambirds.seeding import generator
from dreambirds.shapes import in_proportion, shape_of, shape_text, sheet_shape

WHOLE = 0.99  # of a start photograph: if less is used, the log says so
REPLACE = "replace it, or set another path"
# `committee` contains the names of runs, `start_dream` those of a dream; the digests of what they name are in the key
NOT_IN_CACHE_KEY = ("preset", "steps", "film_every", "precision", "start_path", "start_dream", "committee")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DreamJob:
    """The inputs of a dream job.

    A checkpoint or a network in memory, the name of a recipe and its values, the display name of each label, start
    photographs by label (empty if not used), the file of the data set's statistics (None if not used), the bytes that
    images may take on the CPU, a digest of the code, the photographs that the dreams are compared with (the folder of
    a prepared data set, or files, or None if not used), the other networks of the committee, the class of these
    photographs by label (by default the dream's own), the path of the recipe in errors, whether statistics of
    photographs are kept in the store, the targets that are not classes by label, the dreams that others start from by
    label (empty if not used), and the (height, width) of the dreams, by default that of the network's images, scaled to
    the `size` of the recipe.
    """

    checkpoint: Path | LoadedNetwork
    recipe: str
    parameters: dict
    names: dict[str, str]
    photographs: dict[str, Path]
    statistics: Path | None
    bytes_free: int
    code: str = ""
    references: Path | tuple[Path, ...] | None = None
    committee: tuple[Path | LoadedNetwork, ...] = ()
    reference_labels: Mapping[str, str] = field(default_factory=dict)
    where: str = ""
    keep: bool = True
    targets: Mapping[str, Facts] = field(default_factory=dict)
    start_dreams: Mapping[str, StartDream] = field(default_factory=dict)
    shape: tuple[int, int] | None = None

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps to keep, in ascending order."""
        return tuple(self.parameters["steps"])

    @property
    def film(self) -> bool:
        """Whether to write animations."""
        return self.parameters["film_every"] is not None


class DreamContext:
    """A job's networks on a device, the dreamer's own first."""

    def __init__(self, job: DreamJob, device: torch.device):
        """Read the metadata of the checkpoints. Raises UserError if a checkpoint is corrupt."""
        self.job, self.device, self.info = job, device, info_of(job.checkpoint)
        self.where = job.where or f"dreams.recipes.{job.recipe}"  # in the config
        trained = shape_of(self.info.image_size)
        self.shape = job.shape or in_proportion(trained, job.parameters["size"] or min(trained))
        self.recipe = as_recipe(job.parameters, min(self.shape), min(trained))
        self.precision = resolve_precision(job.parameters["precision"], device)
        self.statistics_sha256 = sha256_of(job.statistics) if job.statistics else None
        self.starts_sha256 = {label: sha256_of(job.photographs[label]) for label in job.names if job.photographs}
        self.starts_sha256 |= {label: start.sha256 for label, start in job.start_dreams.items()}
        self.reference_labels = {label: job.reference_labels.get(label, label) for label in job.names if job.references}
        compared = self._photographs()
        self.references_sha256 = compared.digests if compared else {}
        computing = (self.shape, self.precision, device, job.code)
        self.settings = Settings(self.recipe, self.where, *computing, compared, job.keep, job.targets)
        self.own, *self.committee = (JobNetwork(path, self.settings) for path in (job.checkpoint, *job.committee))

    @property
    def name(self) -> str:
        """The name of the job in log lines."""
        return f"{self.info.run} epoch {self.info.epoch}, {self.job.recipe}"

    @cached_property
    def statistics(self) -> tuple[torch.Tensor | None, dict[str, torch.Tensor]]:
        """The mean spectrum, and each label's mean image, if the recipe needs them."""
        return read_statistics(self.job.statistics) if self.job.statistics else (None, {})

    @cached_property
    def batch(self) -> int:
        """The batch size, in labels. The networks take turns, so the one that needs the most memory counts."""
        sheet = sheet_shape(self.shape, self.recipe.variants)
        film = 3 * math.prod(sheet) * frames(self.job.parameters) if self.job.film else 0
        networks = (self.own, *self.committee)
        models = [network.model for network in networks]  # first, because they take memory too
        free = free_memory(self.device)
        free = self.job.bytes_free if free is None else free
        largest = 0
        for network, model in zip(networks, models, strict=True):
            for labels in by_kind(self.job.names, self.job.targets):
                targets = network.targets(labels)
                if targets.layer is not None:
                    check_targets(model, targets, evaluation_shape(self.recipe, self.shape))
                with error_context(self.where):
                    size = estimate_activation_memory(model, self.recipe, self.shape, targets.layer)
                largest = max(largest, size)
        return batch_size(largest + film, free, self.device, self.recipe.variants)

    def cache_key(self, label: str) -> str:
        """Return a digest of everything that determines a label's dream.

        Which steps are kept does not matter. A stored dream is reused as long as its key is the same. `code` is the
        digest of the stage's code (runtime/code_version.py).
        """
        parameters = self.job.parameters
        facts = {
            "checkpoint_sha256": self.own.sha256,
            "committee_sha256": [network.sha256 for network in self.committee],
            **self.settings.computed_by,
            "label": label,
            **({"target": described(self.job.targets[label])} if label in self.job.targets else {}),
            "parameters": {key: parameters[key] for key in parameters if key not in NOT_IN_CACHE_KEY},
            "start_sha256": self.starts_sha256.get(label),
            "statistics_sha256": self.statistics_sha256,
            "references_sha256": self.references_sha256.get(label),
        }
        return dream_key(facts)

    def starts(self, labels: Sequence[str], rngs: Sequence[torch.Generator]) -> torch.Tensor:
        """Return the start images of labels, (B, 3, H, W) in [0, 1], on the device, one per generator.

        There are as many per label as the recipe has variants. Random values of each image come from its generator.
        Raises UserError if a start photograph cannot be read.
        """
        starts = Starts(self._start(self.images(labels)), self.shape, list(rngs))
        return default_collate(list(starts))[0].to(self.device)

    def images(self, labels: Sequence[str]) -> list[str]:
        """Return the label of each image of a batch: each label as often as the recipe has variants."""
        return [label for label in labels for _ in range(self.recipe.variants)]

    def rngs(self, labels: Sequence[str]) -> list[torch.Generator]:
        """Return the random generators of the images of labels, in the order of `images`."""
        seed, variants = self.job.parameters["seed"], self.recipe.variants
        streams = [stream_of(label, self.job.targets.get(label, {})) for label in labels]
        return [generator(seed, name) for stream in streams for name in stream_names(stream, variants)]

    def dream(
        self,
        labels: Sequence[str],
        steps: Sequence[int],
        film_every: int | None = None,
        on_step: Callable[[int], None] | None = None,
    ) -> DreamResult:
        """Dream of `labels` as one batch, and keep the images at `steps`; the other arguments are those of `dream`."""
        rngs, images = self.rngs(labels), self.images(labels)
        own, *committee = (network.member(images) for network in (self.own, *self.committee))
        return dream(
            own.model,
            targets=own.targets,
            starts=self.starts(labels, rngs),
            recipe=replace(self.recipe, steps=tuple(steps)),
            rngs=rngs,
            spectrum=self.statistics[0],
            references=own.references,
            precision=self.precision,
            film_every=film_every,
            committee=committee,
            on_step=on_step,
        )

    def _photographs(self) -> TrainingPhotographs | PhotographFiles | None:
        given, most = self.job.references, self.recipe.match_photographs
        if given is None or isinstance(given, Path):
            return given and TrainingPhotographs(given, self.reference_labels, most)
        return PhotographFiles(given[:most], self.reference_labels, self.shape)

    def _start(self, labels: Sequence[str]) -> Start:
        keys, means = self.job.parameters, self.statistics[1]
        images = [self._read_start(self.job.photographs[label]) for label in labels if self.job.photographs]
        images += [self.job.start_dreams[label].pixels(self.shape) for label in labels if self.job.start_dreams]
        images += [means[label] for label in labels if keys["start"] == "class_mean"]
        side = min(self.shape)
        blur = keys["start_blur_sigma"] * side / (keys["reference_size"] or side)
        return Start(keys["start"], keys["start_color"], keys["start_noise"], blur, images)

    def _read_start(self, path: Path) -> torch.Tensor:
        if self.job.parameters["start_path"] is not None:
            if self.job.shape is None:
                report_crop(path, self.shape, f"{self.where}.start_path")
            return read_start(path, self.shape, f"{self.where}.start_path")
        return read_start(path, self.shape, end=remedy(path.parents[2]))  # the path is dataset/images/<label>/<file>


def read_start(path: Path, shape: tuple[int, int], where: str | None = None, end: str = REPLACE) -> torch.Tensor:
    """Return a photograph as (3, H, W) in [0, 1], resized and center-cropped.

    `shape` is (height, width). Raises UserError, with the key `where` and the remedy `end`, if it cannot be read.
    """
    return read_image_at(path, shape, where, end).float() / 255


@cache
def report_crop(path: Path, shape: tuple[int, int], where: str) -> None:
    """Write a line into the log, once, if a start photograph has other proportions than dreams of (height, width)."""
    found = photograph_shape(path)
    if found is None:
        return
    own, cover = in_proportion(found, min(shape)), max(shape[0] / found[0], shape[1] / found[1])
    kept = math.prod(shape) / (cover**2 * math.prod(found))
    if kept < WHOLE:
        log.warning(
            "%s: '%s' has %s pixels (height x width), and its dream has %s: %.0f %% of it is cut off at the edges; set "
            "'dataset.image_size' to %s, or crop the photograph",
            where,
            path,
            shape_text(found),
            shape_text(shape),
            100 * (1 - kept),
            in_yaml(list(own)),
        )


def photograph_shape(path: Path) -> tuple[int, int] | None:
    """Return the (height, width) of an upright photograph, None if it cannot be read."""
    with suppress(ValueError):
        width, height = read_photograph(path).size
        return height, width
    return None

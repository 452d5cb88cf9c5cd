"""Prepare a dream job: its inputs, the batch size, and the cache keys."""

import gc
import logging
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import default_collate

from dreambirds.data.tables import remedy
from dreambirds.device import free_memory, resolve_precision
from dreambirds.dream_job.networks import JobNetwork, LoadedNetwork, Settings, info_of
from dreambirds.dream_job.references import PhotographFiles, TrainingPhotographs, read_image_at
from dreambirds.dream_job.statistics import read_statistics
from dreambirds.dream_job.store import dream_key
from dreambirds.dream_job.targets import Facts, batch_of, check_targets, described, stream_of
from dreambirds.dreaming.dream import DreamResult, dream
from dreambirds.dreaming.features import FeatureExtractor, make_objective
from dreambirds.dreaming.matching import references_like, view_types
from dreambirds.dreaming.octaves import evaluation_shape, input_shapes
from dreambirds.dreaming.recipe import Recipe, as_recipe
from dreambirds.dreaming.starts import Start, Starts
from dreambirds.dreaming.targets import Targets
from dreambirds.errors import UserError, error_context, first_line, is_out_of_memory
from dreambirds.io import sha256_of
from dreambirds.plan.memory import AT_ONCE, frames
from dreambirds.seeding import generator
from dreambirds.shapes import in_proportion, shape_of, shape_text

SHARE = 0.8
log = logging.getLogger(__name__)
# factor on the tensors that autograd saves, for gradients and the workspaces of convolutions
WORKSPACE = 2.0
# images in float32 that a step needs per dream: the image, its view, gradients, and padded and blurred copies
COPIES = 12
REPLACE = "replace it, or set another path"
# `committee` contains the names of runs; the digests of their checkpoints are in the key
NOT_IN_CACHE_KEY = ("preset", "steps", "film_every", "precision", "start_path", "committee")


def batch_size(bytes_an_image: int, bytes_free: int, device: torch.device) -> int:
    """Return the batch size: at least 1, and at most what is useful on the device."""
    return max(1, min(AT_ONCE[device.type], int(SHARE * bytes_free / max(1, bytes_an_image))))


def in_batches(
    dream_of: Callable[[list[int]], object], count: int, size: int, where: str | None = None
) -> Iterator[tuple[list[int], object]]:
    """Call `dream_of` on batches of indices; yield each batch and its result.

    Indices are 0 to `count` - 1, in batches of `size`. If memory runs out, the batch is repeated at half the size.
    Raises UserError, prefixed with `where`, if a single image does not fit.
    """
    waiting = list(range(count))
    while waiting:
        batch = waiting[:size]
        try:
            result = dream_of(batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(batch) == 1:
                raise UserError("memory ran out even for a single image; lower 'size', or set 'tile'", where) from error
            result = None
        if result is None:  # outside the except block, because the error keeps the tensors of the batch alive
            size = len(batch) // 2
            log.warning("memory ran out; continuing with a batch size of %d", size)
            gc.collect()
            torch.cuda.empty_cache()
            continue
        yield batch, result
        waiting = waiting[len(batch) :]


def estimate_activation_memory(
    model: nn.Module, recipe: Recipe, shape: tuple[int, int], target_layer: str | None = None
) -> int:
    """Estimate the bytes per image of a dream of (height, width), whose targets are classes, or units of a layer.

    Runs the model once at each size that it will see. Raises UserError if the model lacks a layer, channel, position or
    batch norm that the recipe uses, or does not accept images of such a size.
    """
    views = max(_bytes_of(model, recipe, view, target_layer) for view in input_shapes(recipe, shape)) * max(
        1, recipe.crops
    )
    return views + COPIES * 3 * 4 * math.prod(shape)


def _bytes_of(model: nn.Module, recipe: Recipe, shape: tuple[int, int], target_layer: str | None) -> int:
    score = make_objective(recipe.objective, model, target_layer)
    extractor = FeatureExtractor(model, score.layers, score.logits, statistics=recipe.batch_norm_prior > 0)
    device = next(model.parameters()).device
    image = torch.full((1, 3, *shape), 0.5, device=device, requires_grad=True)
    saved: dict[int, int] = {}

    def record(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor):
        try:
            outputs = extractor(image)
        except (AssertionError, RuntimeError, ValueError) as error:
            if isinstance(error, UserError) or is_out_of_memory(error):
                raise
            raise UserError(
                f"the model does not accept images of {shape_text(shape)} pixels ({first_line(error)}); change 'size', "
                "'octaves' or 'crop_output_size'"
            ) from error
        outputs.references = references_like(extractor, outputs, recipe, shape).for_full_images()
        first = torch.zeros(1, 1, dtype=torch.long, device=device)  # any class or channel
        score(outputs, Targets(first, first.float(), target_layer))
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    compared = sum(reference.mean.nbytes for reference in outputs.references.values()) * (1 + len(view_types(recipe)))
    activations = sum(size for pointer, size in saved.items() if pointer not in own)
    return round(WORKSPACE * activations) + image.nbytes + compared


@dataclass(frozen=True)
class DreamJob:
    """The inputs of a dream job.

    A checkpoint or a network in memory, the name of a recipe and its values, the display name of each label, start
    photographs by label (empty if not used), the file of the data set's statistics (None if not used), the bytes that
    images may take on the CPU, a digest of the code, the photographs that the dreams are compared with (the folder of
    a prepared data set, or files, or None if not used), the other networks of the committee, the class of these
    photographs by label (by default the dream's own), the path of the recipe in errors, and whether statistics of
    photographs are kept in the store.
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
        self.shape = in_proportion(trained, job.parameters["size"] or min(trained))
        self.recipe = as_recipe(job.parameters, min(self.shape), min(trained))
        self.precision = resolve_precision(job.parameters["precision"], device)
        self.statistics_sha256 = sha256_of(job.statistics) if job.statistics else None
        self.starts_sha256 = {label: sha256_of(job.photographs[label]) for label in job.names if job.photographs}
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
        film = 3 * math.prod(self.shape) * frames(self.job.parameters) if self.job.film else 0
        networks = (self.own, *self.committee)
        models = [network.model for network in networks]  # first, because they take memory too
        free = free_memory(self.device)
        free = self.job.bytes_free if free is None else free
        kinds: dict[Hashable, list[str]] = {}  # labels of targets that are maximized in the same layer
        for label in self.job.names:
            kinds.setdefault(batch_of(self.job.targets.get(label, {})), []).append(label)
        largest = 0
        for network, model in zip(networks, models, strict=True):
            for labels in kinds.values():
                targets = network.targets(labels)
                if targets.layer is not None:
                    check_targets(model, targets, evaluation_shape(self.recipe, self.shape))
                with error_context(self.where):
                    size = estimate_activation_memory(model, self.recipe, self.shape, targets.layer)
                largest = max(largest, size)
        return batch_size(largest + film, free, self.device)

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
        """Return the start images of labels, (B, 3, H, W) in [0, 1], on the device.

        Random values of each image come from its generator. Raises UserError if a start photograph cannot be read.
        """
        return default_collate(list(Starts(self._start(labels), self.shape, list(rngs))))[0].to(self.device)

    def dream(
        self,
        labels: Sequence[str],
        steps: Sequence[int],
        film_every: int | None = None,
        on_step: Callable[[int], None] | None = None,
    ) -> DreamResult:
        """Dream of `labels` as one batch, and keep the images at `steps`; the other arguments are those of `dream`."""
        streams = [stream_of(label, self.job.targets.get(label, {})) for label in labels]
        rngs = [generator(self.job.parameters["seed"], stream) for stream in streams]
        own, *committee = (network.member(labels) for network in (self.own, *self.committee))
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
        images += [means[label] for label in labels if keys["start"] == "class_mean"]
        side = min(self.shape)
        blur = keys["start_blur_sigma"] * side / (keys["reference_size"] or side)
        return Start(keys["start"], keys["start_color"], keys["start_noise"], blur, images)

    def _read_start(self, path: Path) -> torch.Tensor:
        if self.job.parameters["start_path"] is not None:
            return read_start(path, self.shape, f"{self.where}.start_path")
        return read_start(path, self.shape, end=remedy(path.parents[2]))  # the path is dataset/images/<label>/<file>


def read_start(path: Path, shape: tuple[int, int], where: str | None = None, end: str = REPLACE) -> torch.Tensor:
    """Return a photograph as (3, H, W) in [0, 1], resized and center-cropped.

    `shape` is (height, width). Raises UserError, with the key `where` and the remedy `end`, if it cannot be read.
    """
    return read_image_at(path, shape, where, end).float() / 255

"""Prepare a dream job: the model, the batch size, and the cache keys."""

import gc
import itertools
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import default_collate

from dreambirds.data.image_io import read_photograph, resize_and_crop, to_tensor
from dreambirds.data.tables import remedy
from dreambirds.device import resolve_precision
from dreambirds.dream_job.image_files import versions
from dreambirds.dream_job.references import ReferenceStore, TrainingPhotographs
from dreambirds.dream_job.statistics import read_statistics
from dreambirds.dream_job.store import dream_key
from dreambirds.dreaming.features import FeatureExtractor, find_layers, make_objective
from dreambirds.dreaming.matching import (
    Statistics,
    photograph_statistics,
    references_like,
    stack_statistics,
    view_types,
)
from dreambirds.dreaming.objectives import layers
from dreambirds.dreaming.octaves import evaluation_shape, input_shapes
from dreambirds.dreaming.recipe import Recipe, as_recipe, last_value
from dreambirds.dreaming.starts import Start, Starts
from dreambirds.errors import UserError, error_context, first_line, is_out_of_memory
from dreambirds.io import sha256_of
from dreambirds.models.checkpoint import load_checkpoint, read_metadata
from dreambirds.models.inference import prepare_for_inference
from dreambirds.plan.memory import AT_ONCE, frames
from dreambirds.shapes import in_proportion, shape_of, shape_text

SHARE = 0.8
log = logging.getLogger(__name__)
# factor on the tensors that autograd saves, for gradients and the workspaces of convolutions
WORKSPACE = 2.0
# images in float32 that a step needs per dream: the image, its view, gradients, and padded and blurred copies
COPIES = 12
REPLACE = "replace it, or set another path"
NOT_IN_CACHE_KEY = ("preset", "steps", "film_every", "precision", "start_path")


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


def estimate_activation_memory(model: nn.Module, recipe: Recipe, shape: tuple[int, int]) -> int:
    """Estimate the bytes per image of a dream of (height, width).

    Runs the model once at each size that it will see. Raises UserError if the model lacks a layer, channel, position or
    batch norm that the recipe uses, or does not accept images of such a size.
    """
    views = max(_bytes_of(model, recipe, view) for view in input_shapes(recipe, shape)) * max(1, recipe.crops)
    return views + COPIES * 3 * 4 * math.prod(shape)


def _bytes_of(model: nn.Module, recipe: Recipe, shape: tuple[int, int]) -> int:
    score = make_objective(recipe.objective, model)
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
        score(outputs, torch.zeros(1, dtype=torch.long, device=device))
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    compared = sum(reference.mean.nbytes for reference in outputs.references.values()) * (1 + len(view_types(recipe)))
    activations = sum(size for pointer, size in saved.items() if pointer not in own)
    return round(WORKSPACE * activations) + image.nbytes + compared


@dataclass(frozen=True)
class DreamJob:
    """The inputs of a dream job.

    A checkpoint, the name of a recipe and its values, the display name of each label, start photographs by label (empty
    if not used), the file of the data set's statistics (None if not used), the bytes that images may take on the CPU, a
    digest of the code, and the folder of the prepared data set whose photographs the dreams are compared with (None if
    not used).
    """

    checkpoint: Path
    recipe: str
    parameters: dict
    names: dict[str, str]
    photographs: dict[str, Path]
    statistics: Path | None
    bytes_free: int
    code: str = ""
    references: Path | None = None

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps to keep, in ascending order."""
        return tuple(self.parameters["steps"])

    @property
    def film(self) -> bool:
        """Whether to write animations."""
        return self.parameters["film_every"] is not None


class DreamContext:
    """A job's checkpoint on a device. The model is built on first use."""

    def __init__(self, job: DreamJob, device: torch.device):
        """Read the checkpoint's metadata. Raises UserError if the checkpoint is corrupt."""
        self.job, self.device, self.info = job, device, read_metadata(job.checkpoint)
        self.where = f"dreams.recipes.{job.recipe}"  # in the config
        self.trained = shape_of(self.info.image_size)
        self.shape = in_proportion(self.trained, job.parameters["size"] or min(self.trained))
        self.recipe = as_recipe(job.parameters, min(self.shape), min(self.trained))
        self.precision = resolve_precision(job.parameters["precision"], device)
        self.checkpoint_sha256 = sha256_of(job.checkpoint)
        self.statistics_sha256 = sha256_of(job.statistics) if job.statistics else None
        self.starts_sha256 = {label: sha256_of(job.photographs[label]) for label in job.names if job.photographs}
        compared = job.references and TrainingPhotographs(job.references, job.names, self.recipe.match_photographs)
        self.training_photographs, self.references_sha256 = compared, compared.digests if compared else {}

    @cached_property
    def model(self):
        """The frozen model. Raises UserError if the recipe does not fit it."""
        classifier, _ = load_checkpoint(self.job.checkpoint)
        with error_context(self.where):
            self.layers = {name: find_layers(classifier.network, name) for name in layers(self.recipe.objective)}
        # the prior needs the running statistics of the batch norms, so those are not folded into convolutions
        fold = not self.job.parameters["batch_norm_prior"]
        observed = itertools.chain(*self.layers.values())
        return prepare_for_inference(classifier, self.trained, self.device, fold, set(observed))

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
        """The batch size, in labels."""
        film = 3 * math.prod(self.shape) * frames(self.job.parameters) if self.job.film else 0
        free = torch.cuda.mem_get_info()[0] if self.device.type == "cuda" else self.job.bytes_free
        model = self.model
        with error_context(self.where):
            return batch_size(estimate_activation_memory(model, self.recipe, self.shape) + film, free, self.device)

    def cache_key(self, label: str) -> str:
        """Return a digest of everything that determines a label's dream.

        Which steps are kept does not matter. A stored dream is reused as long as its key is the same. `code` is the
        digest of the stage's code (runtime/code_version.py).
        """
        parameters = self.job.parameters
        facts = {
            **self._computed_by(),
            "label": label,
            "parameters": {key: parameters[key] for key in parameters if key not in NOT_IN_CACHE_KEY},
            "start_sha256": self.starts_sha256.get(label),
            "statistics_sha256": self.statistics_sha256,
            "references_sha256": self.references_sha256.get(label),
        }
        return dream_key(facts)

    def _computed_by(self) -> dict:
        """Return the checkpoint, device and code that computed values depend on."""
        return {
            "checkpoint_sha256": self.checkpoint_sha256,
            "precision": self.precision,
            "device": self.device.type,
            "versions": {name: number for name, number in versions().items() if name != "dreambirds"},
            "code": self.job.code,
        }

    @cached_property
    def compared_layers(self) -> list[str]:
        """The layers that are compared with photographs, sorted by name."""
        return sorted(make_objective(self.recipe.objective, self.model).matched)

    def references(self, labels: Sequence[str]) -> Statistics | None:
        """Return activation statistics of each label's photographs.

        They are (B, C, S) by view kind and layer, on the device, or None if the recipe does not compare dreams with
        photographs.
        """
        if not self.training_photographs:
            return None
        features = FeatureExtractor(self.model, self.compared_layers, logits=False)

        def compute(label: str) -> Statistics:
            photographs = self.training_photographs.read(label).to(self.device)
            return photograph_statistics(features, photographs, self.recipe, self.precision)

        store = ReferenceStore()
        rows = [store.get(self._statistics_key(label), partial(compute, label)) for label in labels]
        kinds = stack_statistics(rows).items()
        return {kind: {layer: mean.to(self.device) for layer, mean in means.items()} for kind, means in kinds}

    def _statistics_key(self, label: str) -> str:
        """Return a digest of what determines the statistics of a label's photographs."""
        recipe = self.recipe
        statistics = (recipe.match_statistics, recipe.match_regions, recipe.match_stride, recipe.match_views)
        views = (recipe.crop_area and last_value(recipe.crop_area), recipe.crop_ratio, bool(recipe.flip))
        facts = {
            **self._computed_by(),
            "photographs": self.references_sha256[label],
            "layers": self.compared_layers,
            "seen": [*statistics, *views, view_types(recipe), evaluation_shape(recipe, self.shape), self.shape],
        }
        return dream_key(facts)

    def starts(self, labels: Sequence[str], rngs: Sequence[torch.Generator]) -> torch.Tensor:
        """Return the start images of labels, (B, 3, H, W) in [0, 1], on the device.

        Random values of each image come from its generator. Raises UserError if a start photograph cannot be read.
        """
        return default_collate(list(Starts(self._start(labels), self.shape, list(rngs))))[0].to(self.device)

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
    try:
        photograph = read_photograph(path)
    except ValueError as error:
        raise UserError(f"cannot read '{path}' ({error}); {end}", where) from error
    return to_tensor(resize_and_crop(photograph, shape)).float() / 255

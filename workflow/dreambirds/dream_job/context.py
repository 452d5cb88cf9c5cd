"""Prepare a dream job: the model, the batch size that fits its memory, and the key of its cache."""

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
    view_kinds,
)
from dreambirds.dreaming.objectives import layers
from dreambirds.dreaming.octaves import evaluation_shape, shapes_seen
from dreambirds.dreaming.recipe import Recipe, as_recipe, last_value
from dreambirds.dreaming.starts import Start, Starts
from dreambirds.errors import UserError, first_line, is_out_of_memory
from dreambirds.io import sha256_of
from dreambirds.models.checkpoint import load_checkpoint, read_metadata
from dreambirds.models.inference import prepare_for_inference
from dreambirds.plan.memory import AT_ONCE, frames
from dreambirds.shapes import in_proportion, shape_of, shape_text

SHARE = 0.8
log = logging.getLogger(__name__)
# beside what autograd keeps: gradients, and the workspaces of convolutions
WORKSPACE = 2.0
# a step holds so many whole pictures in float32: the picture, its view, gradients, what is padded and blurred
COPIES = 12
NOT_IN_CACHE_KEY = ("preset", "steps", "film_every", "precision", "start_path")


def batch_size(bytes_an_image: int, bytes_free: int, device: torch.device) -> int:
    """Return how many images to dream of at once: at least 1, and no more than pays on the device."""
    return max(1, min(AT_ONCE[device.type], int(SHARE * bytes_free / max(1, bytes_an_image))))


def in_batches(dream_of: Callable[[list[int]], object], count: int, size: int) -> Iterator[tuple[list[int], object]]:
    """Yield places and what `dream_of` makes of them, for 0 to `count`, `size` at a time.

    Where memory runs out, the batch is dreamt again at half the size; raises UserError if a single image is too much.
    """
    waiting = list(range(count))
    while waiting:
        batch = waiting[:size]
        try:
            made = dream_of(batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(batch) == 1:
                raise UserError("memory ran out on a single picture; set a smaller `size`, or `tile`") from error
            made = None
        if made is None:  # only here, since the error holds on to what the batch had in memory
            size = len(batch) // 2
            log.warning("memory ran out; going on with %d pictures at once", size)
            gc.collect()
            torch.cuda.empty_cache()
            continue
        yield batch, made
        waiting = waiting[len(batch) :]


def estimate_activation_memory(model: nn.Module, recipe: Recipe, shape: tuple[int, int]) -> int:
    """Show a model all sizes that a dream of (height, width) will show it; return about how many bytes a picture needs.

    Raises UserError if the model has no such layer, channel, place or batch norm, or does not take such pictures.
    """
    views = max(_bytes_of(model, recipe, view) for view in shapes_seen(recipe, shape)) * max(1, recipe.crops)
    return views + COPIES * 3 * 4 * math.prod(shape)


def _bytes_of(model: nn.Module, recipe: Recipe, shape: tuple[int, int]) -> int:
    score = make_objective(recipe.objective, model)
    watched = FeatureExtractor(model, score.layers, score.logits, statistics=recipe.batch_norm_prior > 0)
    device = next(model.parameters()).device
    image = torch.full((1, 3, *shape), 0.5, device=device, requires_grad=True)
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        try:
            seen = watched(image)
        except UserError:
            raise
        except (AssertionError, RuntimeError, ValueError) as error:
            if is_out_of_memory(error):
                raise
            raise UserError(
                f"the model does not take pictures of {shape_text(shape)} pixels: {first_line(error)}"
            ) from error
        seen.references = references_like(watched, seen, recipe, shape).of_whole()
        score(seen, torch.zeros(1, dtype=torch.long, device=device))
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    compared = sum(reference.mean.nbytes for reference in seen.references.values()) * (1 + len(view_kinds(recipe)))
    return round(WORKSPACE * sum(size for place, size in kept.items() if place not in own)) + image.nbytes + compared


@dataclass(frozen=True)
class DreamJob:
    """What to dream: a checkpoint, a recipe by name and its values, the labels with their names for people, the
    photographs that they start from, if any, the data set's statistics, if needed, the folder for it all, the bytes
    that pictures may take on the processor, a digest of the code, which of the recipe's steps to keep (None: all), and
    the folder of the prepared data set whose photographs the dreams are compared with, if they are.
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
    references: Path | None = None

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps to keep, ascending."""
        return self.only or tuple(self.parameters["steps"])

    @property
    def film(self) -> bool:
        """Whether there are to be films of whole dreams."""
        return self.parameters["film_every"] is not None and self.steps[-1] == self.parameters["steps"][-1]


class DreamContext:
    """A job's checkpoint on a device. The model is built when the first dream asks for it."""

    def __init__(self, job: DreamJob, device: torch.device):
        """Read the checkpoint's metadata. Raises UserError if the checkpoint is damaged."""
        self.job, self.device, self.info = job, device, read_metadata(job.checkpoint)
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
        self.layers = {name: find_layers(classifier.network, name) for name in layers(self.recipe.objective)}
        # what the batch norms saw in training is wanted by the prior, so then they stay apart
        fold = not self.job.parameters["batch_norm_prior"]
        seen = itertools.chain(*self.layers.values())
        return prepare_for_inference(classifier, self.trained, self.device, fold, set(seen))

    @property
    def name(self) -> str:
        """The name of the job in the log."""
        return f"{self.info.run} epoch {self.info.epoch}, {self.job.recipe}"

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
        return batch_size(estimate_activation_memory(self.model, self.recipe, self.shape) + film, free, self.device)

    def cache_key(self, label: str) -> str:
        """Return the digest of all that decides the pixels of a label's dream, whichever of its steps are kept.

        A stored dream is reused as long as this is the same, so this is what invalidates a dream. `code` is the digest
        of the stage's code (runtime/code_version.py).
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
        """Return what computes a dream, or what the model makes of photographs: the checkpoint, code and libraries."""
        return {
            "checkpoint_sha256": self.checkpoint_sha256,
            "precision": self.precision,
            "device": self.device.type,
            "versions": {name: number for name, number in versions().items() if name != "dreambirds"},
            "code": self.job.code,
        }

    @cached_property
    def compared_layers(self) -> list[str]:
        """The layers whose activations are compared with those of photographs."""
        return sorted(make_objective(self.recipe.objective, self.model).matched)

    def references(self, labels: Sequence[str]) -> Statistics | None:
        """Return what the model makes of photographs of each label, (B, C, S) by kind of view and layer, on the device;
        None if the recipe compares with none."""
        if not self.training_photographs:
            return None
        features = FeatureExtractor(self.model, self.compared_layers, logits=False)

        def look(label: str) -> Statistics:
            photographs = self.training_photographs.read(label).to(self.device)
            return photograph_statistics(features, photographs, self.recipe, self.precision)

        store = ReferenceStore()
        found = stack_statistics([store.get(self._statistics_key(label), partial(look, label)) for label in labels])
        return {kind: {layer: mean.to(self.device) for layer, mean in layers.items()} for kind, layers in found.items()}

    def _statistics_key(self, label: str) -> str:
        """Return the digest of all that decides what the model makes of a label's photographs."""
        recipe = self.recipe
        seen = (recipe.match_statistics, recipe.match_regions, recipe.match_stride, recipe.match_views)
        views = (recipe.crop_area and last_value(recipe.crop_area), recipe.crop_ratio, bool(recipe.flip))
        facts = {
            **self._computed_by(),
            "photographs": self.references_sha256[label],
            "layers": self.compared_layers,
            "seen": [*seen, *views, view_kinds(recipe), evaluation_shape(recipe, self.shape), self.shape],
        }
        return dream_key(facts)

    def starts(self, labels: Sequence[str], rngs: Sequence[torch.Generator]) -> torch.Tensor:
        """Return the start images of labels, (B, 3, H, W) in [0, 1], on the device; each is drawn from its generator.

        Raises UserError if a start photograph can't be read.
        """
        try:
            return default_collate(list(Starts(self._start(labels), self.shape, list(rngs))))[0].to(self.device)
        except UserError as error:
            if self.job.parameters["start_path"] is not None:
                raise
            prepared = next(iter(self.job.photographs.values())).parents[2]  # of dataset/images/<label>/<picture>
            raise UserError(f"{error}; {remedy(prepared)}") from error

    def _start(self, labels: Sequence[str]) -> Start:
        keys, means = self.job.parameters, self.statistics[1]
        images = [read_start(self.job.photographs[label], self.shape) for label in labels if self.job.photographs]
        images += [means[label] for label in labels if keys["start"] == "class_mean"]
        side = min(self.shape)
        blur = keys["start_blur_sigma"] * side / (keys["reference_size"] or side)
        return Start(keys["start"], keys["start_color"], keys["start_noise"], blur, images)


def read_start(path: Path, shape: tuple[int, int]) -> torch.Tensor:
    """Return the middle of a photograph, (3, H, W) in [0, 1], at (height, width). Raises UserError if it can't be
    read."""
    try:
        picture = read_photograph(path)
    except ValueError as error:
        raise UserError(f"the start photograph '{path}' can't be read: {error}") from error
    return to_tensor(resize_and_crop(picture, shape)).float() / 255

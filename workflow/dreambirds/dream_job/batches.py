"""The batches of a dream job: how many dreams fit into memory, and what is done if memory runs out."""

import gc
import logging
import math
from collections.abc import Callable, Iterator

import torch
from torch import nn

from dreambirds.dreaming.features import FeatureExtractor, diversity_layers, make_objective
from dreambirds.dreaming.matching import references_like, view_types
from dreambirds.dreaming.octaves import input_shapes
from dreambirds.dreaming.recipe import Recipe
from dreambirds.dreaming.targets import Targets
from dreambirds.dreaming.variants import gram_matrices
from dreambirds.errors import UserError, first_line, is_out_of_memory
from dreambirds.plan.memory import AT_ONCE
from dreambirds.shapes import shape_text

SHARE = 0.8  # of the free memory
# factor on the tensors that autograd saves, for gradients and the workspaces of convolutions
WORKSPACE = 2.0
# images in float32 that a step needs per dream: the image, its view, gradients, and padded and blurred copies
COPIES = 12
log = logging.getLogger(__name__)


def batch_size(bytes_a_dream: int, bytes_free: int, device: torch.device, variants: int = 1) -> int:
    """Return the batch size in dreams of `variants` images: at least 1, and at most what is useful on the device."""
    return max(1, min(AT_ONCE[device.type] // variants, int(SHARE * bytes_free / max(1, bytes_a_dream))))


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
    """Estimate the bytes per dream of images of (height, width), of all its variants together.

    Its target is a class, or units of a layer.

    Runs the model once at each size that it will see. Raises UserError if the model lacks a layer, channel, position or
    batch norm that the recipe uses, or does not accept images of such a size.
    """
    sizes = [_bytes_of(model, recipe, view, target_layer) for view in input_shapes(recipe, shape)]
    return recipe.variants * (max(sizes) * max(1, recipe.crops) + COPIES * 3 * 4 * math.prod(shape))


def _bytes_of(model: nn.Module, recipe: Recipe, shape: tuple[int, int], target_layer: str | None) -> int:
    score = make_objective(recipe.objective, model, target_layer)
    diverse = diversity_layers(recipe, model)
    layers = [*score.layers, *diverse]
    extractor = FeatureExtractor(model, layers, score.logits, statistics=recipe.batch_norm_prior > 0)
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
        for layer in diverse:
            grams = gram_matrices(outputs.layers[layer])
            _ = (grams * grams.detach().clone()).sum()  # two tensors per image: its own, and the normalized one
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    compared = sum(reference.mean.nbytes for reference in outputs.references.values()) * (1 + len(view_types(recipe)))
    activations = sum(size for pointer, size in saved.items() if pointer not in own)
    return round(WORKSPACE * activations) + image.nbytes + compared

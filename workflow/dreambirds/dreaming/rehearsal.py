"""Try a recipe on a model before anything is dreamt, and tell what memory a dream will take."""

import math

import torch
from torch import nn

from dreambirds.data.shapes import say
from dreambirds.dreaming.layers import Watched
from dreambirds.dreaming.objective import Objective
from dreambirds.dreaming.octaves import shapes_seen
from dreambirds.dreaming.recipe import Recipe
from dreambirds.errors import StudyError, first_line
from dreambirds.mishaps import is_out_of_memory

# beside what autograd keeps: gradients, and the workspaces of convolutions
WORKSPACE = 2.0
# a step holds so many whole pictures in float32: the picture, its view, gradients, what is padded and blurred
COPIES = 12


def rehearse(model: nn.Module, recipe: Recipe, shape: tuple[int, int]) -> int:
    """Show a model all sizes that a dream of (height, width) will show it; return about how many bytes a picture needs.

    Raises StudyError if the model has no such layer, channel, place or batch norm, or does not take such pictures.
    """
    views = max(_bytes_of(model, recipe, view) for view in shapes_seen(recipe, shape)) * max(1, recipe.crops)
    return views + COPIES * 3 * 4 * math.prod(shape)


def _bytes_of(model: nn.Module, recipe: Recipe, shape: tuple[int, int]) -> int:
    score = Objective(recipe.objective)
    watched = Watched(model, score.layers, score.logits, statistics=recipe.batch_norm_prior > 0)
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
        except StudyError:
            raise
        except (AssertionError, RuntimeError, ValueError) as error:
            if is_out_of_memory(error):
                raise
            raise StudyError(f"the model does not take pictures of {say(shape)} pixels: {first_line(error)}") from error
        score(seen, torch.zeros(1, dtype=torch.long, device=device))
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    return round(WORKSPACE * sum(size for place, size in kept.items() if place not in own)) + image.nbytes

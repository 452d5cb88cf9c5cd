"""Try an objective on a model before anything is dreamt, and tell what a dream will take."""

from collections.abc import Mapping

import torch
from torch import nn

from dreambirds.dreaming.layers import Watched
from dreambirds.dreaming.objective import Objective
from dreambirds.errors import StudyError

# beside what autograd keeps: gradients, and the workspaces of convolutions
WORKSPACE = 2.0


def rehearse(model: nn.Module, objective: str | Mapping[str, float], side: int) -> int:
    """Look once at a picture of (side, side) and score it; return the bytes that one image of a step needs, about.

    Raises StudyError if the model has no such layer, channel or place, or does not take such pictures.
    """
    score = Objective(objective)
    watched = Watched(model, score.layers, score.logits)
    device = next(model.parameters()).device
    image = torch.full((1, 3, side, side), 0.5, device=device, requires_grad=True)
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
            raise StudyError(f"the model does not take pictures of {side}x{side} pixels: {error}") from error
        score(seen, torch.zeros(1, dtype=torch.long, device=device))
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    return round(WORKSPACE * sum(size for place, size in kept.items() if place not in own)) + image.nbytes


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception says that a GPU or the machine has no memory left."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "DefaultCPUAllocator" in str(error)

"""What models and recipes take of memory, and whether files of weights fit: looked at once each, and kept in the store
for `plan.memory`."""

import math
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import timm.optim
import torch
from torch import nn

from dreambirds.dream_job.context import COPIES, estimate_activation_memory
from dreambirds.dreaming.features import find_layers
from dreambirds.dreaming.objectives import layers
from dreambirds.dreaming.octaves import shapes_seen
from dreambirds.dreaming.recipe import Recipe, as_recipe
from dreambirds.errors import UserError, error_context, first_line, is_out_of_memory
from dreambirds.evaluation.judge import load_judge
from dreambirds.models.classifier import Classifier, build, options_for, probe
from dreambirds.models.inference import prepare_for_inference
from dreambirds.plan import inputs, memory
from dreambirds.plan.plan import Plan
from dreambirds.shapes import in_proportion, shape_of
from dreambirds.training.trainer import prepare_to_train, set_training_mode

LARGEST = 1024**2  # pixels that are tried; what more of them take is reckoned from these
BATCH = 2  # pictures; batch norms need as many
CPU = torch.device("cpu")


def profile_memory(plan: Plan) -> None:
    """Measure all that `memory.needs_profiling` misses; each model is built once.

    Raises UserError where a model does not take the data set's pictures or its file of weights, or has not the layers,
    channels and batch norms that a recipe looks at, or does not take what that shows, or where a judge from a file does
    not fit; recipes of more than 1024 x 1024 pixels are left to the dream.
    """
    found = []
    for run in plan.trained:
        if any(memory.read(what) is None for what in memory.profile_keys(plan, run)):
            for what, value in _measure_run(plan, run):
                memory.note(what, value)
                found.append((what, value))
    for judge, what in memory.judges(plan).items():
        if memory.read(what) is None:
            found.append((what, _measure_judge(plan, judge)))
    for what, value in found:  # only now, since a refused study leaves nothing behind
        memory.write(what, value)


def _measure_run(plan: Plan, run: str) -> Iterator[tuple[dict, dict]]:
    keys, own = plan.trained[run], memory.weights(plan, run)
    subject = _Subject(plan, run, keys["weights"] if own and memory.read(own) is None else None)
    trained, optimizer = memory.training(plan, run), memory.optimizer(plan, run)
    with error_context(plan.path(run)):
        subject.check()
        if own and memory.read(own) is None:
            yield own, {"weights": subject.weights}
        if memory.read(optimizer) is None:
            yield optimizer, {"per_byte": optimizer_state(keys["optimizer"])}
        if memory.read(trained) is None:
            yield trained, subject.training(trained["trainable"])
    for name in plan.dreaming_epochs.get(run, ()):
        dreamt = memory.dreaming(plan, run, name)
        if memory.read(dreamt) is None:
            with error_context(f"dreams.recipes.{name} on the run '{run}'"):
                yield dreamt, {"picture": subject.dreaming(plan.recipes[name], plan.shape(name))}


def _measure_judge(plan: Plan, judge: str) -> dict:
    loaded = load_judge(judge, plan.judges[judge], Path(inputs.weights(plan, judge)), plan.labels, CPU)
    return {"weights": _bytes(_tensors(loaded.classifier))}


class _Subject:
    """A run's model, with random weights or those of a file."""

    def __init__(self, plan: Plan, run: str, weights: str | None):
        keys = plan.trained[run]
        self.given = keys["model_options"]
        self.shape, self.classes = shape_of(plan.config["dataset"]["image_size"]), len(plan.labels)
        self.options = options_for(keys["model"], keys["model_options"], self.shape)
        with error_context(plan.path(run)):
            self.classifier = build(keys["model"], self.classes, self.options, weights)
        self.frozen = cache(self._freeze)

    def check(self) -> None:
        """Raise UserError unless the model takes the data set's pictures."""
        if math.prod(self.shape) <= LARGEST:
            probe(self.classifier, self.shape, self.classes, self.given and self.options)

    @property
    def weights(self) -> int:
        """The bytes of the weights."""
        return _bytes(_tensors(self.classifier))

    def training(self, trainable: str) -> dict[str, int]:
        """Return the bytes of the weights, of those that learn, and of what one picture takes in training."""
        small = self.shape if "img_size" in self.options else _small(self.shape)
        self.classifier.requires_grad_(True)
        run = {"trainable": trainable, "freeze_batch_norm": False}
        prepare_to_train(self.classifier, run)
        set_training_mode(self.classifier, run)
        picture = kept_in_training(self.classifier, small) * math.prod(self.shape) / math.prod(small)
        learning = [parameter for parameter in self.classifier.parameters() if parameter.requires_grad]
        return {"weights": self.weights, "learning": _bytes(learning), "picture": math.ceil(picture)}

    def dreaming(self, parameters: dict, shape: tuple[int, int]) -> int | None:
        """Return the bytes that a picture takes in a dream of (height, width); None if only the dream can tell."""
        recipe = as_recipe(parameters, min(shape), min(self.shape))
        seen = frozenset(
            layer for name in layers(recipe.objective) for layer in find_layers(self.classifier.network, name)
        )
        model = self.frozen(not recipe.batch_norm_prior, seen)
        largest = max(shapes_seen(recipe, shape), key=math.prod)
        if math.prod(largest) <= LARGEST:
            return estimate_activation_memory(model, recipe, shape)
        try:
            return _rehearse_smaller(model, recipe, shape, largest)
        except UserError:
            return None

    def _freeze(self, fold: bool, seen: Collection[str]) -> Classifier:
        shape = self.shape if "img_size" in self.options else _small(self.shape)
        return prepare_for_inference(self.classifier, shape, CPU, fold, seen)


def kept_in_training(classifier: Classifier, shape: tuple[int, int]) -> float:
    """Return the bytes that each picture of (height, width) leaves for the backward pass of a classifier in training,
    or that its largest activations take, if these are more."""
    kept, held, largest = {}, [], 0

    def note(tensor: torch.Tensor) -> torch.Tensor:
        held.append(tensor)  # else another tensor could get its place
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    def look(_module, _inputs, output) -> None:
        nonlocal largest
        largest = max(largest, output.nbytes if isinstance(output, torch.Tensor) else 0)

    hooks = [module.register_forward_hook(look) for module in classifier.modules()]
    images = torch.rand(BATCH, 3, *shape).contiguous(memory_format=torch.channels_last)
    try:
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            classifier(images)
    except (AssertionError, RuntimeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        raise UserError(f"the model can't be trained: {first_line(error)}") from error
    finally:
        for hook in hooks:
            hook.remove()
    own = {tensor.untyped_storage().data_ptr() for tensor in _tensors(classifier)}
    return max(sum(size for place, size in kept.items() if place not in own), 2 * largest) / BATCH


def optimizer_state(name: str) -> float:
    """Return how many bytes one of timm's optimisers keeps for each byte of weights that learn."""
    network = nn.Sequential(nn.Conv2d(16, 16, 3), nn.Linear(64, 64))
    optimizer = timm.optim.create_optimizer_v2(network, opt=name, lr=1e-3)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    state = [value for entries in optimizer.state.values() for value in entries.values()]
    return _bytes(value for value in state if isinstance(value, torch.Tensor)) / _bytes(network.parameters())


def _rehearse_smaller(model: nn.Module, recipe: Recipe, shape: tuple[int, int], largest: tuple[int, int]) -> int:
    plain, small = replace(recipe, octaves=1, pad=0, crop_output_size=None, tile=None), _small(largest)
    views = (estimate_activation_memory(model, plain, small) - _whole(small)) * math.prod(largest) / math.prod(small)
    return math.ceil(views) + _whole(shape)


def _whole(shape: tuple[int, int]) -> int:
    """Return what `estimate_activation_memory` counts for whole pictures."""
    return COPIES * 3 * 4 * math.prod(shape)


def _small(shape: tuple[int, int]) -> tuple[int, int]:
    share = math.sqrt(LARGEST / math.prod(shape))
    return shape if share >= 1 else in_proportion(shape, math.floor(share * min(shape)))


def _tensors(classifier: Classifier) -> list[torch.Tensor]:
    return [*classifier.parameters(), *classifier.buffers()]


def _bytes(tensors) -> int:
    return sum(tensor.nbytes for tensor in tensors)

"""Check the models of a study: measure the memory of models and recipes, and check weights files.

This is the job `check`, which needs torch. Each check is done once, and its result is kept in the store
(`plan.measurements`).
"""

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache

import timm.optim
import torch
from torch import nn

from dreambirds.config.checkpoints import given_checkpoints
from dreambirds.dream_job.batches import COPIES, estimate_activation_memory
from dreambirds.dream_job.targets import Facts, batch_targets, check_targets, naming_targets
from dreambirds.dreaming.features import diversity_layers, find_layers
from dreambirds.dreaming.objectives import layers
from dreambirds.dreaming.octaves import input_shapes
from dreambirds.dreaming.recipe import Recipe, as_recipe
from dreambirds.errors import UserError, error_context, first_line, is_out_of_memory, renamed_key
from dreambirds.evaluation.judge import load_judge, weights_of
from dreambirds.models.classifier import Classifier, build, options_for, probe
from dreambirds.models.inference import prepare_for_inference
from dreambirds.plan import inputs, measurements
from dreambirds.plan.plan import Plan
from dreambirds.shapes import in_proportion, shape_of
from dreambirds.training.trainer import prepare_to_train, set_training_mode

LARGEST = 1024**2  # pixels that are measured; larger shapes are extrapolated
BATCH = 2  # images; batch norm needs two
CPU = torch.device("cpu")


def check_models(plan: Plan) -> None:
    """Measure everything that a plan needs and the store lacks; build each model once.

    Raises UserError if a model does not accept the data set's images, its weights file, or the views of a recipe, if it
    lacks layers, channels or batch norms that a recipe uses, or if the weights file of a judge does not fit. Recipes
    larger than 1024 x 1024 pixels are checked only when dreaming.
    """
    found = []
    for run in plan.networks:
        if any(measurements.read(key) is None for key in measurements.profile_keys(plan, run)):
            for key, value in _measure_run(plan, run):
                measurements.note(key, value)
                found.append((key, value))
    for judge, key in measurements.judges(plan).items():
        if measurements.read(key) is None:
            found.append((key, _measure_judge(plan, judge)))
    for key, value in found:  # only now, so a refused study leaves no files
        measurements.write(key, value)


def _measure_run(plan: Plan, run: str) -> Iterator[tuple[dict, dict]]:
    files = {file: key for file, key in measurements.weights(plan, run).items() if measurements.read(key) is None}
    model, trained = _RunModel(plan, run, next(iter(files), None)), measurements.training(plan, run)
    for number, (file, key) in enumerate(files.items()):
        if number > 0:
            model.load(file)
        yield key, {"weights": model.weights}
    with error_context(plan.path(run)):
        model.check()
        if run in plan.trained and measurements.read(optimizer := measurements.optimizer(plan, run)) is None:
            yield optimizer, {"per_byte": optimizer_state(plan.trained[run]["optimizer"])}
        if measurements.read(trained) is None:
            yield trained, model.training(trained["trainable"])
    for name in measurements.dreamt_recipes(plan, run):
        dreamt = measurements.dreaming(plan, run, name)
        if measurements.read(dreamt) is None:
            units = dreamt.get("units", {})
            with _named(run):
                model.check_units(units, plan.shape(name))
            with error_context(f"dreams.recipes.{name}"), _named(run):
                yield dreamt, {"image": model.dreaming(plan.recipes[name], plan.shape(name), units)}


@contextmanager
def _named(run: str) -> Iterator[None]:
    """Name the run whose model does not fit in any UserError raised inside."""
    try:
        yield
    except UserError as error:
        raise UserError(f"for the run '{run}', {error.message}", error.key) from error


def _measure_judge(plan: Plan, judge: str) -> dict:
    keys = plan.judges[judge]
    loaded = load_judge(judge, keys, weights_of(keys, inputs.weights(plan, judge)), plan.labels, CPU)
    return {"weights": _bytes(_tensors(loaded.classifier))}


class _RunModel:
    """Model of a run, with random weights or those of a file."""

    def __init__(self, plan: Plan, run: str, weights: str | None):
        keys = plan.networks[run]
        self.given = keys["model_options"]
        self.shape, self.classes = shape_of(plan.config["dataset"]["image_size"]), len(plan.class_names(run)[0])
        self.options = options_for(keys["model"], keys["model_options"], self.shape)
        self.foreign = run in plan.foreign
        self.keys, self.path = keys, plan.path(run)
        self.load(weights)
        self.frozen = cache(self._freeze)

    def load(self, weights: str | None) -> None:
        """Build the model with the weights of a file, None for random ones. Raises UserError if they do not fit."""
        with error_context(self.path), renamed_key("weights", given_checkpoints(self.keys)[0]):
            self.classifier = build(
                self.keys["model"],
                self.classes,
                self.options,
                weights,
                new_head=not self.foreign,
                weights_key=self.keys["weights_key"],
                head=self.keys["head"],
                normalization=self.keys["normalization"],
            )

    def check(self) -> None:
        """Raise UserError if the model does not accept the data set's images."""
        if math.prod(self.shape) <= LARGEST:
            probe(self.classifier, self.shape, self.classes, self.given and self.options)

    @property
    def weights(self) -> int:
        """The size of the weights in bytes."""
        return _bytes(_tensors(self.classifier))

    def training(self, trainable: str) -> dict[str, int]:
        """Return the bytes of all weights, trainable weights, and one training image."""
        small = self.shape if "img_size" in self.options else _small(self.shape)
        self.classifier.requires_grad_(True)
        run = {"trainable": trainable, "freeze_batch_norm": False}
        prepare_to_train(self.classifier, run)
        set_training_mode(self.classifier, run)
        image = training_bytes(self.classifier, small) * math.prod(self.shape) / math.prod(small)
        trainable_weights = [parameter for parameter in self.classifier.parameters() if parameter.requires_grad]
        return {"weights": self.weights, "learning": _bytes(trainable_weights), "image": math.ceil(image)}

    def dreaming(self, parameters: dict, shape: tuple[int, int], units: Mapping[str, Facts]) -> int | None:
        """Return the bytes of an image in a dream of (height, width), of a class or of `units`; None if unknown."""
        recipe = as_recipe(parameters, min(shape), min(self.shape))
        scored = [*layers(recipe.objective), *(facts["layer"] for facts in units.values())]
        used_layers = frozenset(layer for name in scored for layer in find_layers(self.classifier.network, name))
        used_layers = used_layers.union(diversity_layers(recipe, self.classifier))
        model = self.frozen(not recipe.batch_norm_prior, used_layers)
        largest = max(input_shapes(recipe, shape), key=math.prod)
        if math.prod(largest) <= LARGEST:
            layers_scored = {None, *(facts["layer"] for facts in units.values())}
            return max(estimate_activation_memory(model, recipe, shape, layer) for layer in layers_scored)
        try:
            return _extrapolate(model, recipe, shape, largest)
        except UserError:
            return None

    def check_units(self, units: Mapping[str, Facts], shape: tuple[int, int]) -> None:
        """Raise UserError, for `dreams.targets`, unless the model has the units for dreams of (height, width)."""
        for label, facts in units.items():
            with naming_targets():
                observed = frozenset(find_layers(self.classifier.network, facts["layer"]))
            check_targets(self.frozen(True, observed), batch_targets([label], units, (), CPU), _small(shape))

    def _freeze(self, fold: bool, used_layers: Collection[str]) -> Classifier:
        shape = self.shape if "img_size" in self.options else _small(self.shape)
        return prepare_for_inference(self.classifier, shape, CPU, fold, used_layers)


def training_bytes(classifier: Classifier, shape: tuple[int, int]) -> float:
    """Return the bytes per image of (height, width) that a training step needs.

    This is what autograd saves for the backward pass, or twice the largest activation if that is more. Raises UserError
    if the model cannot be trained.
    """
    saved, references, largest = {}, [], 0

    def note(tensor: torch.Tensor) -> torch.Tensor:
        references.append(tensor)  # otherwise another tensor could reuse its memory
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    def measure(_module, _inputs, output) -> None:
        nonlocal largest
        largest = max(largest, output.nbytes if isinstance(output, torch.Tensor) else 0)

    hooks = [module.register_forward_hook(measure) for module in classifier.modules()]
    images = torch.rand(BATCH, 3, *shape).contiguous(memory_format=torch.channels_last)
    try:
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            classifier(images)
    except (AssertionError, RuntimeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        raise UserError(f"the model cannot be trained ({first_line(error)}); choose another model") from error
    finally:
        for hook in hooks:
            hook.remove()
    weights = {tensor.untyped_storage().data_ptr() for tensor in _tensors(classifier)}
    return max(sum(size for address, size in saved.items() if address not in weights), 2 * largest) / BATCH


def optimizer_state(name: str) -> float:
    """Return the size of a timm optimizer's state, per byte of trainable weights."""
    network = nn.Sequential(nn.Conv2d(16, 16, 3), nn.Linear(64, 64))
    optimizer = timm.optim.create_optimizer_v2(network, opt=name, lr=1e-3)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    state = [value for entries in optimizer.state.values() for value in entries.values()]
    return _bytes(value for value in state if isinstance(value, torch.Tensor)) / _bytes(network.parameters())


def _extrapolate(model: nn.Module, recipe: Recipe, shape: tuple[int, int], largest: tuple[int, int]) -> int:
    plain, small = replace(recipe, octaves=1, pad=0, crop_output_size=None, tile=None), _small(largest)
    measured = estimate_activation_memory(model, plain, small) - recipe.variants * _image_copies(small)
    views = measured * math.prod(largest) / math.prod(small)
    return math.ceil(views) + recipe.variants * _image_copies(shape)


def _image_copies(shape: tuple[int, int]) -> int:
    """Return the bytes that `estimate_activation_memory` counts for full images."""
    return COPIES * 3 * 4 * math.prod(shape)


def _small(shape: tuple[int, int]) -> tuple[int, int]:
    share = math.sqrt(LARGEST / math.prod(shape))
    return shape if share >= 1 else in_proportion(shape, math.floor(share * min(shape)))


def _tensors(classifier: Classifier) -> list[torch.Tensor]:
    return [*classifier.parameters(), *classifier.buffers()]


def _bytes(tensors) -> int:
    return sum(tensor.nbytes for tensor in tensors)

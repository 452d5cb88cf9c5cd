"""The bare passes of a study's models: their number, and the seconds of each.

The bare passes of training are updates (forward, backward and the optimizer's step), adversarial steps (forward, and
backward to the images), and forward passes on validation images. Those of dreaming are one forward pass and one
backward pass to the images per step, through the complete frozen model. All are counted in images, with the batch sizes
of the study's jobs and with images in memory.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial

import torch
from torch.nn import functional

from dreambirds.device import autocast, choose_device, resolve_precision
from dreambirds.dream_job.batches import batch_size, estimate_activation_memory
from dreambirds.dreaming.octaves import input_shapes, octave_shapes
from dreambirds.dreaming.recipe import Recipe, as_recipe
from dreambirds.models.classifier import Classifier, build, options_for
from dreambirds.models.inference import prepare_for_inference
from dreambirds.plan.measurements import stored
from dreambirds.plan.memory import dream_bytes
from dreambirds.plan.plan import Plan
from dreambirds.shapes import shape_of, shape_text
from dreambirds.training.data import ResumableBatchSampler
from dreambirds.training.loss import perturbation_norm
from dreambirds.training.optim import make_optimizer
from dreambirds.training.trainer import parts, prepare_to_train, resolve_dtype, set_training_mode

WARM = 2  # warm-up passes
SHORT = 0.5  # minimum seconds per timed loop
# a function that runs one pass, and the number of images per pass
Loop = tuple[Callable[[], None], int]


def count_training(run: dict, training: int, validation: int) -> dict[str, int]:
    """Return the number of images in all passes of a run, by kind of pass.

    `training` and `validation` are the sizes of the two splits.
    """
    order = ResumableBatchSampler(training, run["batch_size"], run["seed"])
    goals = [round(epoch * order.per_epoch) for epoch in run["epochs"]]
    passed = Counter(updates=0, adversarial=0, validation=validation)  # validates before the first update
    for number in range(goals[-1]):
        images = min(order.batch_size, training - number % order.per_epoch * order.batch_size)
        steps = run["adversarial"]["steps"] * (perturbation_norm(run["adversarial"], number / order.per_epoch) > 0)
        passed.update(updates=images, adversarial=steps * images)
    for epoch, done, goal in zip(run["epochs"], [0, *goals], goals, strict=False):
        validations = len(list(parts(done, goal, order.per_epoch))) or (epoch > 0)
        passed.update(validation=validations * validation)
    return dict(passed)


def count_dreaming(recipe: Recipe, shape: tuple[int, int]) -> dict[tuple[int, int], int]:
    """Return the number of images that the model sees in one dream, by shape.

    `shape` is the dream's (height, width).
    """
    octaves, last = octave_shapes(recipe, shape), recipe.steps[-1]
    earlier = (len(octaves) - 1) * recipe.octave_steps
    images: Counter = Counter()
    for octave, steps in zip(octaves, [*[recipe.octave_steps] * (len(octaves) - 1), last - earlier], strict=True):
        view = max(input_shapes(replace(recipe, octaves=1), octave), key=math.prod)
        tiles = not recipe.tile or math.prod(math.ceil((side + 2 * recipe.pad) / recipe.tile) for side in octave)
        images[view] += steps * tiles * max(1, recipe.crops)
    return dict(images)


def training_loops(run: dict, shape: tuple[int, int], classes: int, device: torch.device) -> dict[str, Loop]:
    """Return the bare passes of a run's training on images of (height, width)."""
    options = options_for(run["model"], run["model_options"], shape)
    classifier = build(run["model"], classes, options).to(device, memory_format=torch.channels_last)
    prepare_to_train(classifier, run)
    optimizer, dtype = make_optimizer(run, classifier.network), resolve_dtype(run["precision"], device)
    images = noise(run["batch_size"], shape, device)
    targets = torch.arange(len(images), device=device) % classes

    def loss_of(batch: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            return functional.cross_entropy(classifier(batch), targets)

    def update() -> None:
        set_training_mode(classifier, run)
        optimizer.zero_grad()
        loss_of(images).backward()
        optimizer.step()

    def attack() -> None:
        classifier.eval()
        leaf = images.detach().requires_grad_(True)
        torch.autograd.grad(loss_of(leaf), leaf)

    def validate() -> None:
        classifier.eval()
        with torch.no_grad():
            loss_of(images)

    passes = {"updates": update, "adversarial": attack, "validation": validate}
    return {kind: (run_pass, len(images)) for kind, run_pass in passes.items()}


def dreaming_loop(
    model: Classifier, shape: tuple[int, int], batch: int, precision: str, device: torch.device
) -> tuple[Callable[[], None], int]:
    """Return a bare step of a batch of dreams.

    It runs forward, takes one logit per image, and runs backward to the images.
    """
    images = noise(batch, shape, device)

    def step() -> None:
        leaf = images.detach().requires_grad_(True)
        with autocast(precision, device):
            score = model(leaf)[:, 0].sum()
        torch.autograd.grad(score, leaf)

    return step, batch


def noise(count: int, shape: tuple[int, int], device: torch.device) -> torch.Tensor:
    """Return uniform noise, (count, 3, *shape) in [0, 1]."""
    return torch.rand(count, 3, *shape).to(device, memory_format=torch.channels_last)


def job_device(plan: Plan, stage: str, cores: int) -> torch.device:
    """Return the device of a stage's jobs, and set their number of threads."""
    return choose_device(plan.config["gpu"], min(cores, plan.config["threads"][stage]))


def training_parts(plan: Plan, cores: int) -> Iterator[tuple[tuple[str, str, str], Loop]]:
    """Yield the bare passes of training by (stage, run or judge, kind)."""
    device, shape = job_device(plan, "train", cores), shape_of(plan.config["dataset"]["image_size"])
    for name, run in plan.trained.items():
        for kind, loop in training_loops(run, shape, len(plan.labels), device).items():
            yield ("train", name, kind), loop


def dreaming_parts(plan: Plan, cores: int) -> Iterator[tuple[tuple[str, str, str], Loop]]:
    """Yield the bare passes of each recipe's dreams at each shape that the model sees.

    The keys are (stage, run, recipe and shape).
    """
    device, trained = job_device(plan, "dream", cores), shape_of(plan.config["dataset"]["image_size"])
    for run, recipes in plan.dreaming_epochs.items():
        keys = plan.config["runs"][run]
        options = options_for(keys["model"], keys["model_options"], trained)
        classifier = build(keys["model"], len(plan.labels), options).eval()
        frozen = cache(partial(prepare_for_inference, classifier, trained, device))
        for name in recipes:
            parameters = plan.recipes[name]
            model, shape = frozen(not parameters["batch_norm_prior"]), plan.shape(name)
            recipe, precision = (
                as_recipe(parameters, min(shape), min(trained)),
                resolve_precision(parameters["precision"], device),
            )
            cuda = device.type == "cuda"
            free = torch.cuda.mem_get_info()[0] if cuda else dream_bytes(plan, stored(plan), run, name)
            most = max(map(len, plan.parts.values()))
            batch = min(most, batch_size(estimate_activation_memory(model, recipe, shape), free, device)) * max(
                1, recipe.crops
            )
            for view in count_dreaming(recipe, shape):
                yield (
                    ("dream", run, f"{name}, {shape_text(view)}"),
                    dreaming_loop(model, view, batch, precision, device),
                )


def count(plan: Plan, training: int, validation: int) -> dict[tuple[str, str, str], int]:
    """Return the number of images that each part of the study passes."""
    counts: Counter = Counter()
    for run, keys in plan.trained.items():
        for kind, images in count_training(keys, training, validation).items():
            counts["train", run, kind] += images
    for run, recipes in plan.dreaming_epochs.items():
        for name, epochs in recipes.items():
            shape, trained = plan.shape(name), shape_of(plan.config["dataset"]["image_size"])
            for view, images in count_dreaming(as_recipe(plan.recipes[name], min(shape), min(trained)), shape).items():
                dreams = len(epochs) * len(plan.dreamt)
                counts["dream", run, f"{name}, {shape_text(view)}"] += dreams * images
    return dict(counts)


def time_loops(loops: dict[tuple, Loop], rounds: int, device: torch.device) -> dict[tuple, float]:
    """Return the seconds per image of each loop in its best round.

    Each round runs all loops in turn.
    """
    best, times = dict.fromkeys(loops, math.inf), {}
    for key, (run, _) in loops.items():
        seconds_of(run, WARM, device)
        times[key] = max(1, math.ceil(SHORT / seconds_of(run, 1, device)))
    for _ in range(rounds):
        for key, (run, images) in loops.items():
            best[key] = min(best[key], seconds_of(run, times[key], device) / times[key] / images)
    return best


def seconds_of(run: Callable[[], None], times: int, device: torch.device) -> float:
    """Return the seconds that `times` passes take."""
    started = time.perf_counter()
    for _ in range(times):
        run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def floors(plan: Plan, cores: int, rounds: int) -> dict[tuple[str, str, str], float]:
    """Return the seconds per image of the bare passes in each part of the study."""
    seconds = {}
    for stage, passes in (("train", training_parts), ("dream", dreaming_parts)):
        seconds |= time_loops(dict(passes(plan, cores)), rounds, job_device(plan, stage, cores))
    return seconds

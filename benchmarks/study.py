"""What a whole study costs beside the bare passes of its models: ``make bench-study``.

Runs a study, the default one unless another is named, in a temporary folder and with an empty store; measures in the
same run, before and after it, what its bare passes take on as many threads as a job has; and prints, and with --json
writes, the wall time, the sum of the bare passes, and their ratio. Bare passes of training are the updates (forward,
backward and the optimiser's step), those that find harder pictures (forward, and backward to the pictures), and looks
at the pictures that validate; of dreaming, forward and backward to the pictures, a pass a step, through the whole
frozen model. All are counted in pictures, at the batches of the study's jobs, with the pictures in memory.

Jobs run side by side, so that the wall time may be below the sum; the second ratio counts the wall time of every core.
"""

import argparse
import json
import math
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import torch
import yaml
from torch.nn import functional

from benchmarks.records import tell
from benchmarks.running import snakemake
from dreambirds.data.tables import read_images
from dreambirds.device import autocast, choose_device, resolve_precision
from dreambirds.dream_job.context import batch_size, estimate_activation_memory
from dreambirds.dreaming.octaves import octave_shapes, shapes_seen
from dreambirds.dreaming.recipe import Recipe, as_recipe
from dreambirds.models.classifier import Classifier, build, options_for
from dreambirds.models.inference import prepare_for_inference
from dreambirds.plan.memory import dream_bytes
from dreambirds.plan.plan import Plan, make_plan
from dreambirds.shapes import shape_of, shape_text
from dreambirds.startup.memory_profile import profile_memory as measure_memory
from dreambirds.training.data import Order
from dreambirds.training.loss import adversarial_length
from dreambirds.training.optim import make_optimizer
from dreambirds.training.trainer import parts, prepare_to_train, resolve_dtype, set_training_mode

ROOT = Path(__file__).parents[1]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
AT_MOST = 1.5
WARM = 2  # passes before any is timed
SHORT = 0.5  # seconds of a timed loop
# what is passed, in which words, and how many pictures a pass takes
Loop = tuple[Callable[[], None], int]


def count_training(run: dict, learnt: int, validated: int) -> dict[str, int]:
    """Return how many pictures a run passes in updates, in finding harder pictures and in validation, from how many
    there are to learn from and to validate."""
    order = Order(learnt, run["batch_size"], run["seed"])
    goals = [round(epoch * order.per_epoch) for epoch in run["epochs"]]
    passed = Counter(updates=0, harder=0, validation=validated)  # a look before the first update
    for number in range(goals[-1]):
        pictures = min(order.batch_size, learnt - number % order.per_epoch * order.batch_size)
        hard = adversarial_length(run["adversarial"], number / order.per_epoch) > 0
        passed.update(updates=pictures, harder=hard * run["adversarial"]["steps"] * pictures)
    for epoch, done, goal in zip(run["epochs"], [0, *goals], goals, strict=False):
        looks = len(list(parts(done, goal, order.per_epoch))) or (epoch > 0)
        passed.update(validation=looks * validated)
    return dict(passed)


def count_dreaming(recipe: Recipe, shape: tuple[int, int]) -> dict[tuple[int, int], int]:
    """Return how many pictures one dream of (height, width) shows its model in all its steps, by their shape."""
    octaves, last = octave_shapes(recipe, shape), recipe.steps[-1]
    grown = (len(octaves) - 1) * recipe.octave_steps
    shown: Counter = Counter()
    for octave, steps in zip(octaves, [*[recipe.octave_steps] * (len(octaves) - 1), last - grown], strict=True):
        view = max(shapes_seen(replace(recipe, octaves=1), octave), key=math.prod)
        tiles = not recipe.tile or math.prod(math.ceil((side + 2 * recipe.pad) / recipe.tile) for side in octave)
        shown[view] += steps * tiles * max(1, recipe.crops)
    return dict(shown)


def training_loops(run: dict, shape: tuple[int, int], classes: int, device: torch.device) -> dict[str, Loop]:
    """Return the bare passes of a run's training on pictures of (height, width)."""
    options = options_for(run["model"], run["model_options"], shape)
    classifier = build(run["model"], classes, options).to(device, memory_format=torch.channels_last)
    prepare_to_train(classifier, run)
    optimizer, dtype = make_optimizer(run, classifier.network), resolve_dtype(run["precision"], device)
    images = noise(run["batch_size"], shape, device)
    targets = torch.arange(len(images), device=device) % classes

    def loss_of(pictures: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            return functional.cross_entropy(classifier(pictures), targets)

    def update() -> None:
        set_training_mode(classifier, run)
        optimizer.zero_grad()
        loss_of(images).backward()
        optimizer.step()

    def harder() -> None:
        classifier.eval()
        leaf = images.detach().requires_grad_(True)
        torch.autograd.grad(loss_of(leaf), leaf)

    def look() -> None:
        classifier.eval()
        with torch.no_grad():
            loss_of(images)

    return {"updates": (update, len(images)), "harder": (harder, len(images)), "validation": (look, len(images))}


def dreaming_loop(
    model: Classifier, shape: tuple[int, int], batch: int, precision: str, device: torch.device
) -> tuple[Callable[[], None], int]:
    """Return a bare step of a batch of dreams: forward, a logit of each, and backward to the pictures."""
    images = noise(batch, shape, device)

    def step() -> None:
        leaf = images.detach().requires_grad_(True)
        with autocast(precision, device):
            score = model(leaf)[:, 0].sum()
        torch.autograd.grad(score, leaf)

    return step, batch


def noise(count: int, shape: tuple[int, int], device: torch.device) -> torch.Tensor:
    """Return pictures (count, 3, *shape) in [0, 1]."""
    return torch.rand(count, 3, *shape).to(device, memory_format=torch.channels_last)


def job_device(plan: Plan, stage: str, cores: int) -> torch.device:
    """Return where a job of a stage computes, and let it have as many threads as it has there."""
    return choose_device(plan.config["gpu"], min(cores, plan.config["threads"][stage]))


def training_parts(plan: Plan, cores: int) -> Iterator[tuple[tuple[str, str, str], Loop]]:
    """Yield the bare passes of the training of every run and judge, by (stage, run, kind)."""
    device, shape = job_device(plan, "train", cores), shape_of(plan.config["dataset"]["image_size"])
    for name, run in plan.trained.items():
        for kind, loop in training_loops(run, shape, len(plan.labels), device).items():
            yield ("train", name, kind), loop


def dreaming_parts(plan: Plan, cores: int) -> Iterator[tuple[tuple[str, str, str], Loop]]:
    """Yield the bare passes of every recipe's dreams, at every shape that they show, by (stage, run, recipe and
    shape)."""
    device, trained = job_device(plan, "dream", cores), shape_of(plan.config["dataset"]["image_size"])
    for run, keys in plan.config["runs"].items():
        options = options_for(keys["model"], keys["model_options"], trained)
        classifier = build(keys["model"], len(plan.labels), options).eval()
        frozen = cache(partial(prepare_for_inference, classifier, trained, device))
        for name, parameters in plan.recipes.items():
            model, shape = frozen(not parameters["batch_norm_prior"]), plan.shape(name)
            recipe, precision = (
                as_recipe(parameters, min(shape), min(trained)),
                resolve_precision(parameters["precision"], device),
            )
            cuda = device.type == "cuda"
            free = torch.cuda.mem_get_info()[0] if cuda else dream_bytes(plan, run, name)
            most = max(map(len, plan.parts.values()))
            batch = min(most, batch_size(estimate_activation_memory(model, recipe, shape), free, device)) * max(
                1, recipe.crops
            )
            for view in count_dreaming(recipe, shape):
                yield (
                    ("dream", run, f"{name}, {shape_text(view)}"),
                    dreaming_loop(model, view, batch, precision, device),
                )


def count(plan: Plan, learnt: int, validated: int) -> dict[tuple[str, str, str], int]:
    """Return how many pictures the study passes in each part."""
    counts: Counter = Counter()
    for run, keys in plan.trained.items():
        for kind, pictures in count_training(keys, learnt, validated).items():
            counts["train", run, kind] += pictures
    for run, keys in plan.config["runs"].items():
        for name, parameters in plan.recipes.items():
            shape, trained = plan.shape(name), shape_of(plan.config["dataset"]["image_size"])
            for view, pictures in count_dreaming(as_recipe(parameters, min(shape), min(trained)), shape).items():
                dreams = len(keys["epochs"]) * len(plan.dreamt)
                counts["dream", run, f"{name}, {shape_text(view)}"] += dreams * pictures
    return dict(counts)


def time_loops(loops: dict[tuple, Loop], rounds: int, device: torch.device) -> dict[tuple, float]:
    """Return the seconds of one picture in each loop: its best round, all loops in turn."""
    best, times = dict.fromkeys(loops, math.inf), {}
    for key, (run, _) in loops.items():
        seconds_of(run, WARM, device)
        times[key] = max(1, math.ceil(SHORT / seconds_of(run, 1, device)))
    for _ in range(rounds):
        for key, (run, pictures) in loops.items():
            best[key] = min(best[key], seconds_of(run, times[key], device) / times[key] / pictures)
    return best


def seconds_of(run: Callable[[], None], times: int, device: torch.device) -> float:
    """Return the seconds of so many passes."""
    began = time.perf_counter()
    for _ in range(times):
        run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def floors(plan: Plan, cores: int, rounds: int) -> dict[tuple[str, str, str], float]:
    """Return the seconds of one picture in each part of the study."""
    found = {}
    for stage, yielded in (("train", training_parts), ("dream", dreaming_parts)):
        found |= time_loops(dict(yielded(plan, cores)), rounds, job_device(plan, stage, cores))
    return found


def bench(config: dict, cores: int, rounds: int) -> dict:
    """Run a study between two measurements of its bare passes, print the table, and return the figures."""
    plan = make_plan(config)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["DREAMBIRDS_STORE"] = str(folder / "apart")  # the study's own store begins empty
        measure_memory(plan)
        (folder / "study.yaml").write_text(yaml.safe_dump(config))
        before = floors(plan, cores, rounds)
        wall, _ = snakemake(ROOT, folder, cores)
        after = floors(plan, cores, rounds)
        images = read_images(folder / "results" / plan.study / "dataset")
    splits = images[images["path"] != ""]["split"].value_counts()
    counts = count(plan, int(splits["train"]), int(splits.get("validation", 0)))
    return figures(counts, before, after, wall, cores)


def figures(counts: dict, before: dict, after: dict, wall: float, cores: int) -> dict:
    """Print a line for each part, and return the ratios with what they are made of."""
    lines = []
    for key, pictures in counts.items():
        each = (before[key] + after[key]) / 2
        about = dict(zip(("stage", "run", "part"), key, strict=True)) | {"pictures": pictures}
        times = {"ms_before": 1000 * before[key], "ms_after": 1000 * after[key], "seconds": pictures * each}
        lines.append(about | times)
    tell(lines, None)
    model = sum(line["seconds"] for line in lines)
    ratios = {"wall_over_model": wall / model, "wall_of_all_cores_over_model": wall * cores / model}
    return {**ratios, "wall_seconds": wall, "model_seconds": model, "cores": cores, "parts": lines}


def main(arguments: list[str] | None = None) -> dict:
    """Run the benchmark and return its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--config", type=Path, default=ROOT / "config/default.yaml", help="the study to run, its paths in full"
    )
    parser.add_argument("--cores", type=int, default=CORES, help="cores for Snakemake; all unless told")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the bare passes, of which the best counts")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    settings = parser.parse_args(arguments)
    found = bench(yaml.safe_load(settings.config.read_text()), settings.cores, settings.rounds)
    print(
        f"wall time {found['wall_seconds']:.1f} s on {settings.cores} cores, bare passes {found['model_seconds']:.1f} s"
    )
    print(f"wall over model {found['wall_over_model']:.2f}, which should be at most {AT_MOST}")
    print(f"wall time of all cores over model {found['wall_of_all_cores_over_model']:.2f}")
    if settings.json:
        settings.json.write_text(json.dumps(found, indent=1))
    return found


if __name__ == "__main__":
    main()

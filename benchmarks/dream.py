"""Compare the dream loop with a bare forward and backward pass (the floor).

Run it as ``make bench``. Prints one row per loop: seconds per image and step, and their ratio to the floor. --json
writes the same as JSON. In each round, all loops of a model run in turn, and the best round of each loop counts. This
reduces the influence of other load on the machine.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.records import report
from dreambirds.config.recipes import expand_grid
from dreambirds.device import autocast, resolve_precision
from dreambirds.dreaming.dream import dream
from dreambirds.dreaming.features import FeatureExtractor, make_objective
from dreambirds.dreaming.matching import photograph_statistics, stack_statistics
from dreambirds.dreaming.recipe import as_recipe
from dreambirds.models.classifier import Classifier, build
from dreambirds.models.inference import prepare_for_inference
from dreambirds.seeding import generator

HERE = Path(__file__).parent
CLASSES = 8
PEERS = ("lucent", "torch-dreams")
PEER_MODEL = ("inception_v4", 299)
# model, image size, batch size, steps per round
CASES = [
    *(("inception_v4", 299, 4, 20), ("inception_v4", 128, 4, 40), ("mobilenetv2_100", 128, 8, 40)),
    ("test_resnet", 64, 8, 200),
]
PHOTOGRAPHS = 4  # per class; the number does not affect the time of a step
Loop = tuple[Callable[[], None], int]


def targets_of(batch: int, device: torch.device) -> torch.Tensor:
    """Return the target classes of a batch, (B,)."""
    return torch.arange(batch, device=device) % CLASSES


def starts_of(batch: int, side: int, device: torch.device) -> torch.Tensor:
    """Return noise, (B, 3, side, side).

    On plain gray, a network without biases would have no gradient.
    """
    return torch.rand((batch, 3, side, side), generator=torch.Generator().manual_seed(0)).to(device)


def floor(model: Classifier, side: int, batch: int, steps: int, precision: str, device: torch.device) -> Callable:
    """Return the bare loop of the frozen, folded model.

    It runs forward, takes the target's logit, and runs backward to the input.
    """
    targets = targets_of(batch, device)[:, None]
    images = starts_of(batch, side, device).contiguous(memory_format=torch.channels_last)

    def run() -> None:
        for _ in range(steps):
            leaf = images.detach().requires_grad_(True)
            with autocast(precision, device):
                score = model(leaf).gather(1, targets).sum()
            torch.autograd.grad(score, leaf)

    return run


def textbook(model: Classifier, side: int, steps: int, device: torch.device) -> Callable:
    """Return a typical loop: one image, in float32.

    Its parameters accumulate unneeded gradients.
    """
    image = starts_of(1, side, device).requires_grad_(True)

    def run() -> None:
        for _ in range(steps):
            score = model(image)[0, 0]
            score.backward()
            with torch.no_grad():
                image.add_(0.01 * image.grad / (image.grad.std() + 1e-8)).clamp_(0, 1)
                image.grad.zero_()

    return run


def ours(
    classifier: Classifier, preset: str, side: int, batch: int, steps: int, precision: str, device: torch.device
) -> Callable:
    """Return our loop with a preset.

    If the preset compares with photographs, noise stands in for them.
    """
    (parameters,) = expand_grid("bench", {"preset": preset}).values()
    recipe = replace(as_recipe(parameters, side, side), steps=(steps,))
    objective = make_objective(recipe.objective, classifier)
    model = prepare_for_inference(classifier, side, device, hooked=objective.layers)
    starts, references = starts_of(batch, side, device), None
    if objective.matched:
        features = FeatureExtractor(model, sorted(objective.matched), logits=False)
        photographs = starts_of(PHOTOGRAPHS, side, device)
        statistics = photograph_statistics(features, photographs, recipe, precision)
        references = stack_statistics([statistics] * batch)

    def run() -> None:
        rngs = [generator(0, str(index)) for index in range(batch)]
        targets = targets_of(batch, device)
        dream(model, targets, starts, recipe, rngs, references=references, precision=precision)

    return run


def measure(loops: dict[str, Loop], rounds: int, device: torch.device) -> dict[str, float]:
    """Return the seconds per image and step of each loop in its best round.

    `loops` contains each loop with its number of images times steps.
    """
    best = dict.fromkeys(loops, float("inf"))
    for _ in range(rounds):
        for name, (run, image_steps) in loops.items():
            started = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize()
            best[name] = min(best[name], (time.perf_counter() - started) / image_steps)
    return best


def time_peer(python: Path, name: str, rounds: int, threads: int) -> float | None:
    """Return the seconds per step of a peer, timed in its own venv.

    The peer has default settings. Return None if it is not installed.
    """
    if not python.exists():
        return None
    command = [python, HERE / "peers.py", name, "--rounds", rounds, "--threads", threads]
    done = subprocess.run([str(argument) for argument in command], capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        print(f"cannot time {name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])["seconds_per_step"]


def bench(case: tuple, settings: argparse.Namespace, device: torch.device) -> list[dict]:
    """Return the records of one model, image size and batch size."""
    name, side, batch, steps = case
    steps = settings.steps or steps
    precision = resolve_precision(settings.precision, device)
    torch.manual_seed(0)
    classifier = build(name, CLASSES, {}).eval()
    model = prepare_for_inference(classifier, side, device)
    loops = {
        "floor": (floor(model, side, batch, steps, precision, device), batch * steps),
        **{
            preset: (ours(classifier, preset, side, batch, steps, precision, device), batch * steps)
            for preset in ("original", "bird", "portrait")
        },
        "textbook": (textbook(classifier.to(device), side, steps, device), steps),
    }
    seconds = measure(loops, settings.rounds, device)
    if (name, side) == PEER_MODEL and settings.peers:
        peers = {peer: time_peer(settings.peers, peer, settings.rounds, settings.threads) for peer in PEERS}
        seconds |= {peer: found for peer, found in peers.items() if found is not None}
    case_facts = {"model": name, "size": side}
    single = dict.fromkeys(("textbook", *PEERS), (1, "float32"))
    return [
        {
            **case_facts,
            **dict(zip(("batch", "precision"), single.get(loop, (batch, precision)), strict=True)),
            "loop": loop,
            "seconds_per_image_step": value,
            "ratio_to_floor": value / seconds["floor"],
        }
        for loop, value in seconds.items()
    ]


def main(arguments: list[str] | None = None) -> list[dict]:
    """Run the benchmark and return its records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the records to this file")
    parser.add_argument("--models", nargs="+", help="run only these models")
    parser.add_argument("--batches", nargs="+", type=int, help="batch sizes to run instead; for a GPU, 1 16 64")
    parser.add_argument("--steps", type=int, help="steps per round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the best counts")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--peers", type=Path, help="the Python of a venv with torch-lucent and torch-dreams")
    settings = parser.parse_args(arguments)
    torch.set_num_threads(settings.threads)
    cases = [case for case in CASES if not settings.models or case[0] in settings.models]
    cases = [(name, side, size, steps) for name, side, batch, steps in cases for size in settings.batches or [batch]]
    records = [record for case in cases for record in bench(case, settings, torch.device(settings.device))]
    return report(records, settings.json)


if __name__ == "__main__":
    main()

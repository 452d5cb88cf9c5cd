"""The jobs of the benchmark of recognition: the dreams of all classes by one preset or tool, with one seed."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.equal_passes import class_presets, count_passes, scale_to_passes
from benchmarks.running import ROOT
from dreambirds.data.tables import start_photographs
from dreambirds.dream_job.batches import in_batches
from dreambirds.dream_job.context import DreamContext, DreamJob
from dreambirds.dream_job.statistics import write_statistics
from dreambirds.dream_job.views import to_image
from dreambirds.dreaming.dream import dream
from dreambirds.dreaming.objectives import needs_photographs
from dreambirds.errors import UserError, first_line
from dreambirds.io import atomic_write, digest_of, sha256_of
from dreambirds.plan.paths import prepared_folder
from dreambirds.runtime.code_version import code_digest, stage_code
from dreambirds.seeding import generator
from dreambirds.shapes import in_proportion

HERE = Path(__file__).parent
# the tools, each with the passes per dream that it takes by default
TOOLS = {"torch-lucent": 512, "torch-dreams": 120, "horama": 6000}
RESULT = "result.json"
MEMORY = 2 * 10**9  # bytes for the images of a batch
Dreaming = Callable[[Path], dict[str, Any]]


@dataclass(frozen=True)
class Network:
    """The checkpoint that dreams, with the prepared data set of its study.

    `weights` is the file of the checkpoint, `folder` the study's results. `names` are the display names of the classes
    by label, and `trained` is the (height, width) of the network's images.
    """

    weights: Path
    folder: Path
    names: dict[str, str]
    trained: tuple[int, int]

    def prepared(self, shape: tuple[int, int]) -> Path:
        """Return the folder of the data set, prepared at a (height, width)."""
        return self.folder.parent / Path(prepared_folder(self.folder.name, shape, self.trained)).relative_to("results")

    def prepared_files(self, shape: tuple[int, int]) -> list[Path]:
        """Return the table and the images of the data set, prepared at a (height, width)."""
        return [self.prepared(shape) / name for name in ("images.csv", "pictures.npy")]

    @property
    def facts(self) -> dict[str, Any]:
        """What determines the dreams of the network."""
        images = self.prepared(self.trained) / "images.csv"
        return {"weights": sha256_of(self.weights), "images": sha256_of(images), "labels": list(self.names)}


@dataclass(frozen=True)
class Entry:
    """A preset or a tool, as one row of the table.

    `uses` names what it uses of the photographs, and `own_passes` are the passes of a dream with its default number of
    steps. `shape` is the (height, width) of its dreams.
    """

    name: str
    own_passes: int
    uses: str
    facts: dict[str, Any]
    dream: Callable[[int, Path], dict[str, Any]]
    shape: tuple[int, int]


@dataclass(frozen=True)
class Job:
    """The dreams of all classes by an entry with one seed, in a folder.

    `dream` writes one PNG file per class into a folder, and returns the steps and passes of a dream and its seconds.
    The result is kept together with `facts`, and is valid as long as these are the same.
    """

    name: str
    seed: int
    folder: Path
    facts: dict[str, Any]
    dream: Dreaming

    def result(self) -> dict[str, Any] | None:
        """Return the kept result, or None if the job has to run."""
        try:
            kept: dict[str, Any] = json.loads((self.folder / RESULT).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return kept if kept.get("key") == digest_of(self.facts) else None

    def run(self) -> None:
        """Dream, and keep the result. It is written last, so an interrupted job runs again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / RESULT).unlink(missing_ok=True)
        result = {**self.dream(self.folder), "key": digest_of(self.facts), "facts": self.facts}
        with atomic_write(self.folder / RESULT) as temporary:
            temporary.write_text(json.dumps(result, indent=1), encoding="utf-8")


def run_jobs(jobs: Iterable[Job], minutes: float | None, clock: Callable[[], float] = time.monotonic) -> list[Job]:
    """Run the jobs that have no valid result, in order; return those that remain.

    No job begins after so many `minutes`; None does not limit the time.
    """
    began, waiting = clock(), [job for job in jobs if job.result() is None]
    while waiting and (minutes is None or clock() - began < 60 * minutes):
        job, started = waiting.pop(0), clock()
        job.run()
        print(f"{job.name}, seed {job.seed}: {clock() - started:.0f} s; jobs left: {len(waiting)}", flush=True)
    return waiting


def preset_entries(network: Network, passes: int, threads: int) -> list[Entry]:
    """Return the presets that have a class as their target, with about `passes` passes per dream."""
    entries = []
    for name, own in class_presets().items():
        shape = in_proportion(network.trained, own["size"] or min(network.trained))
        parameters = {**scale_to_passes(own, passes, shape, network.trained), "precision": "float32"}
        uses = "photographs of the class" if needs_photographs(own["objective"]) else ""
        uses = uses or ("spectrum of the photographs" if own["parameterization"] == "maco" else "")
        run = partial(_dream_preset, network, name, parameters, shape, threads)
        facts = {**network.facts, "parameters": parameters, "code": stage_code("dreaming")}
        entries.append(Entry(name, count_passes(own, shape, network.trained), uses, facts, run, shape))
    return entries


def _dream_preset(
    network: Network,
    name: str,
    parameters: Mapping[str, Any],
    shape: tuple[int, int],
    threads: int,
    seed: int,
    to: Path,
) -> dict[str, Any]:
    """Dream of all classes with a preset; write the images into the folder `to`.

    The seconds are those of the dream loop, without the preparation of the network and of its photographs.
    """
    torch.set_num_threads(threads)
    statistics, compares = to / "statistics.safetensors", needs_photographs(parameters["objective"])
    write_statistics(network.prepared(network.trained), shape, statistics)
    photographs = [str(network.prepared(network.trained) / "images.csv")] if parameters["start"] == "photograph" else []
    job = DreamJob(
        checkpoint=network.weights,
        recipe=name,
        parameters={**parameters, "seed": seed},
        names=network.names,
        photographs=start_photographs(photographs, network.names),
        statistics=statistics,
        bytes_free=MEMORY,
        code=stage_code("dreaming"),
        references=network.prepared(shape) if compares else None,
    )
    context = DreamContext(job, torch.device("cpu"))
    labels, seconds = list(network.names), 0.0
    context.own.references(labels)  # computes and stores them

    def dream_of(indices: list[int]) -> torch.Tensor:
        nonlocal seconds
        chosen = [labels[index] for index in indices]
        rngs = [generator(seed, label) for label in chosen]
        member, starts, spectrum = context.own.member(chosen), context.starts(chosen, rngs), context.statistics[0]
        started = time.perf_counter()
        result = dream(
            member.model,
            member.targets,
            starts,
            context.recipe,
            rngs,
            spectrum=spectrum,
            references=member.references,
        )
        seconds += time.perf_counter() - started
        return result.snapshots[context.recipe.steps[-1]]

    for indices, images in in_batches(dream_of, len(labels), context.batch):
        for index, image in zip(indices, images, strict=True):
            to_image(image).save(to / f"{labels[index]}.png")
    statistics.unlink()
    passes = count_passes(parameters, shape, network.trained)
    return {"steps": context.recipe.steps[-1], "passes": passes, "seconds": seconds / len(labels)}


def tool_entries(network: Network, passes: int, threads: int, python: Path) -> list[Entry]:
    """Return the other tools, with about `passes` passes per dream.

    `python` is the interpreter of their virtual environment. Their versions are those of ``requirements.txt``.
    """
    pins = (HERE / "requirements.txt").read_text(encoding="utf-8").splitlines()
    versions = dict(pin.split("==") for pin in pins if "==" in pin)
    code = code_digest([HERE / "peers.py", HERE / "peer_dreams.py"])
    entries = []
    for tool, own in TOOLS.items():
        facts = {**network.facts, "version": versions[tool], "passes": passes, "code": code}
        run = partial(_dream_tool, network, tool, passes, threads, python)
        entries.append(Entry(f"{tool}-{versions[tool]}", own, "", facts, run, network.trained))
    return entries


def _dream_tool(
    network: Network, tool: str, passes: int, threads: int, python: Path, seed: int, to: Path
) -> dict[str, Any]:
    """Dream of all classes with a tool in its own process; write the images into the folder `to`."""
    if not python.exists():
        raise UserError(f"cannot run {tool}, because '{python}' does not exist; run 'make .venv-bench/installed' first")
    command = [python.absolute(), "-m", "benchmarks.peer_dreams", tool, "--checkpoint", network.weights.absolute()]
    command += ["--passes", passes, "--seed", seed, "--threads", threads, "--folder", to.absolute()]
    arguments = [str(argument) for argument in [*command, "--labels", *network.names]]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        end = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise UserError(f"{tool} failed ({first_line(ValueError(end[0]))}); run '{' '.join(arguments)}' to see why")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def make_jobs(entries: Iterable[Entry], seeds: Iterable[int], folder: Path) -> list[Job]:
    """Return one job per seed and entry, in a subfolder of `folder`: all entries of the first seed come first."""
    entries = list(entries)
    return [
        Job(
            entry.name,
            seed,
            folder / entry.name / f"seed-{seed}",
            {**entry.facts, "seed": seed},
            partial(entry.dream, seed),
        )
        for seed in seeds
        for entry in entries
    ]


def ensure(files: Iterable[Path], config: Path, study: Path) -> None:
    """Make the files of a study with Snakemake, as far as they are missing.

    Raises UserError if Snakemake fails, or if a file is missing and `study` is not the folder of the config's study.
    """
    missing = [file for file in dict.fromkeys(files) if not file.exists()]
    if not missing:
        return
    if study.absolute() != (Path("results") / study.name).absolute():
        raise UserError(f"'{missing[0]}' does not exist; run the study of '{config}' first", "--study")
    targets = [str(file) for file in missing]
    command = [sys.executable, "-m", "snakemake", *targets, "--configfile", str(config), "--cores", "2"]
    if subprocess.run(command).returncode:
        raise UserError(f"Snakemake could not make '{targets[0]}'; see its messages above")

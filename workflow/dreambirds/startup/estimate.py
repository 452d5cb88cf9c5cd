"""Estimate how long a study will take on this machine, and how much disk its missing results need.

Times come from records of earlier jobs (`runtime.timings`), sizes from the numbers and sizes of images and weights.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage
from typing import Any, NamedTuple

from dreambirds.config import VIEWS
from dreambirds.data.sources.catalog import list_photographs
from dreambirds.data.tables import check_images
from dreambirds.dreaming.objectives import needs_photographs
from dreambirds.models import MODEL_FILE
from dreambirds.plan import excitation, inputs, measurements, memory, targets
from dreambirds.plan.paths import checkpoint_folder, prepared_folder
from dreambirds.plan.plan import DreamPart, Plan
from dreambirds.runtime.machine import cpu_count
from dreambirds.runtime.timings import (
    Work,
    dream_work,
    job_work,
    judge_work,
    seconds_per_unit,
    time_text,
    training_work,
)
from dreambirds.shapes import shape_of
from dreambirds.startup.command_line import is_dry_run

BYTES = 3  # of a pixel, in red, green and blue
COPIES = 2  # of a dream: in the store and in its archive
# As measured in the default study:
PNG = 0.6  # bytes of a PNG file per byte of its image
FIGURES = 3  # bytes of montages, films and the gallery, per byte of the dreams' PNG files
TRACE = 56  # bytes of a line of a trace, which has one per step
IMAGES = "images.csv"  # the table of a prepared data set
Checkpoint = tuple[str, float, float]  # its run, its epoch, and the number of epochs since the checkpoint before it


class Task(NamedTuple):
    """Work that a study still needs: the rule, the number of jobs and of units of `work`, the threads of each job, and
    what the work is called."""

    rule: str
    jobs: int
    units: float
    work: Work | None = None
    threads: int = 1
    title: str = ""


@dataclass(frozen=True)
class Estimate:
    """The expected seconds of the work that has a record, the titles of the work that has none, the expected bytes, and
    the free bytes of the disk.

    `cores` is the number of cores that share the work; None on a cluster, where `seconds` is the sum over all jobs.
    `complete` is whether the bytes include all checkpoints: without a memory profile, their size is unknown.
    """

    seconds: float
    unknown: list[str]
    size: int
    free: int
    cores: int | None
    complete: bool = True

    def __str__(self) -> str:
        """Return the estimate as one sentence."""
        where = f"on {self.cores} core{'s' * (self.cores > 1)}" if self.cores else "of all jobs together"
        if self.seconds == 0:
            trains = any(title.startswith("training") for title in self.unknown)
            time = "time unknown until the first epoch" if trains else "time unknown"
        elif self.unknown:
            named = ", ".join(self.unknown[:2]) + (", …" if len(self.unknown) > 2 else "")
            time = f"more than {time_text(self.seconds)} {where} (no record yet of {named})"
        else:
            time = f"about {time_text(self.seconds)} {where}"
        disk = f"{'about' if self.complete else 'more than'} {size_text(self.size)} of disk"
        return f"Expected: {time}; {disk}{f', but only {size_text(self.free)} are free' * (self.size > self.free)}."


def granted_cores(workflow: Any) -> int | None:
    """Return how many cores a run has, None on a cluster.

    For a dry run without ``--cores``, it is all that this process may use.
    """
    cores: int | None = workflow.resource_settings.cores
    return cpu_count() if cores == 1 and is_dry_run() else cores


def estimate(plan: Plan, missing: list[DreamPart], cores: int | None) -> Estimate | None:
    """Return what the missing results of a study will take, None if nothing is missing.

    `missing` are the dream jobs without results.
    """
    untrained = [checkpoint for checkpoint in _checkpoints(plan) if not _exists(plan, *checkpoint[:2])]
    unprepared = [shape for shape, folder in _prepared(plan).items() if not (folder / IMAGES).exists()]
    images, training = _count_images(plan) if untrained or unprepared else (0, 0.0)
    tasks = [*_training(plan, untrained, training), *_dreaming(plan, missing), *_judging(plan, missing)]
    tasks += _others(plan, missing, len(unprepared))
    if not tasks:
        return None
    starts = {rule: seconds_per_unit(job_work(rule)) for rule in {task.rule for task in tasks}}
    known = [seconds for task in tasks if (seconds := starts[task.rule]) is not None]
    typical = sum(known) / len(known) if known else 0.0
    total, unknown = 0.0, []
    for task in tasks:
        start = starts[task.rule]
        unit = seconds_per_unit(task.work) if task.work else 0.0
        if unit is None:
            unknown.append(task.title)
            continue
        seconds = task.jobs * (typical if start is None else start) + task.units * unit
        total += seconds * (min(task.threads, cores) / cores if cores else 1)
    size, complete = _size(plan, missing, untrained, images * sum(map(math.prod, unprepared)))
    return Estimate(total, list(dict.fromkeys(unknown)), size, disk_usage(".").free, cores, complete)


def _training(plan: Plan, untrained: list[Checkpoint], images: float) -> Iterator[Task]:
    """Yield the training of the missing checkpoints on so many images."""
    shape, threads = shape_of(plan.config["dataset"]["image_size"]), plan.config["threads"]["train"]
    for run, _, epochs in untrained:
        if run in plan.foreign:
            yield Task("import_checkpoint", 1, 0)
            continue
        work = training_work(plan.trained[run], shape)
        yield Task("train", 1, epochs * images, work if epochs else None, threads, f"training '{run}'")


def _checkpoints(plan: Plan) -> Iterator[Checkpoint]:
    """Yield the run and epoch of each checkpoint, and the number of epochs from the checkpoint before it."""
    for run in plan.networks:
        epochs = plan.epochs(run)
        for before, epoch in zip([0, *epochs], epochs, strict=False):
            yield run, epoch, epoch - before


def _exists(plan: Plan, run: str, epoch: float) -> bool:
    return Path(checkpoint_folder(plan.study, run, epoch), MODEL_FILE).exists()


def _count_images(plan: Plan) -> tuple[int, float]:
    """Return the numbers of images and of training images; the latter is approximate until the data set is prepared."""
    dataset, folder = plan.config["dataset"], Path("results", plan.study, "dataset")
    if (folder / IMAGES).exists():
        splits = [row["split"] for row in check_images(folder)]
        return len(splits), float(splits.count("train"))
    parts = [photograph.part for photograph in list_photographs(dataset, plan.labels)]
    return len(parts), parts.count("train") + parts.count("") * (1 - dataset["validation_fraction"])


def _dreaming(plan: Plan, missing: list[DreamPart]) -> Iterator[Task]:
    """Yield the missing dream jobs, by run and recipe."""
    jobs: dict[tuple[str, str], list[DreamPart]] = {}
    for job in missing:
        jobs.setdefault((job.run, job.recipe), []).append(job)
    for (run, recipe), parts in jobs.items():
        keys, labels = plan.recipes[recipe], sum(len(plan.parts[job.part]) for job in parts)
        models = [plan.config["runs"][network]["model"] for network in plan.dreaming_networks(run, recipe)]
        works = [dream_work(models[0], keys, plan.shape(recipe), models[1:])]
        if seconds_per_unit(works[0]) is None:  # networks that have not dreamt together, but may have dreamt alone
            works = [dream_work(model, keys, plan.shape(recipe)) for model in models]
        units = labels * keys["variants"] * keys["steps"][-1] / len(works)
        title = f"dreams of the recipe '{recipe}' by '{run}'"
        for number, work in enumerate(works):
            started = len(parts) if number == 0 else 0
            yield Task("dream", started, units, work, plan.config["threads"]["dream"], title)


def _judging(plan: Plan, missing: list[DreamPart]) -> Iterator[Task]:
    """Yield the judges of missing dreams, or whose tables are missing."""
    dreamt = set(missing)
    for judge in plan.judges:
        jobs = inputs.judged_jobs(plan, judge, plan.dream_jobs)
        tables = zip(jobs, inputs.judged_tables(plan, judge, jobs), strict=True)
        unjudged = [job for job, table in tables if job in dreamt or not Path(table).exists()]
        if unjudged:
            if inputs.answers(plan, judge):
                yield Task("judge_answers", len(unjudged), 0)
                continue
            images, title = len(VIEWS) * plan.count_dreams(unjudged), f"judging by '{judge}'"
            yield Task("judge", len(unjudged), images, judge_work(judge), plan.config["threads"]["dream"], title)


def _others(plan: Plan, missing: list[DreamPart], unprepared: int) -> Iterator[Task]:
    """Yield the jobs without work of a known size, by rule: those whose files are missing or show missing dreams."""
    if unprepared:
        yield Task("dataset", unprepared, 0)
    files = {
        "overview": targets.overview(plan)[:1],
        "pixels": inputs.pixel_tables(plan, plan.dream_jobs),
        "excitation": excitation.tables(plan),
        "curves": targets.curves(plan),
        "montage": targets.montages(plan),
        "film": targets.films(plan),
        "results": targets.results(plan, ())[3:],  # several rules: tables, plots and pages
    }
    of_dreams = ("pixels", "montage", "film", "results")
    for rule, paths in files.items():
        jobs = sum(not Path(path).exists() or (len(missing) > 0 and rule in of_dreams) for path in paths)
        if jobs:
            yield Task(rule, jobs, 0)


def _prepared(plan: Plan) -> dict[tuple[int, int], Path]:
    """Return the folders of the prepared images by (height, width): for training, and for dreams compared with them."""
    trained = shape_of(plan.config["dataset"]["image_size"])
    compared = {plan.shape(recipe) for recipe, keys in plan.recipes.items() if needs_photographs(keys["objective"])}
    return {shape: Path(prepared_folder(plan.study, shape, trained)) for shape in {trained, *compared}}


def _size(plan: Plan, missing: list[DreamPart], untrained: list[Checkpoint], unprepared: int) -> tuple[int, bool]:
    """Return about how many bytes the missing results take, and whether this includes all checkpoints.

    `unprepared` is the number of pixels of all images that are not prepared yet. A dream counts twice, in the store and
    in its archive; the files next to the archive are links to the store.
    """
    total, complete = unprepared * BYTES * (1 + PNG), True
    for job in missing:
        keys, labels = plan.recipes[job.recipe], len(plan.parts[job.part])
        pixels = math.prod(plan.sheet_shape(job.recipe))
        images = plan.count_dreams([job]) * len(VIEWS) * BYTES * pixels * PNG
        others = labels * (TRACE * keys["steps"][-1] + memory.frames(keys) * pixels)
        total += COPIES * (images + others) + FIGURES * images
    for run, _, _ in untrained:
        found = measurements.read(measurements.training(plan, run))
        kept = measurements.read(measurements.optimizer(plan, run)) if run in plan.trained else {"per_byte": 0}
        complete = complete and found is not None and kept is not None
        total += found["weights"] + found["learning"] * kept["per_byte"] if found and kept else 0
    return math.ceil(total), complete


def size_text(size: int) -> str:
    """Return a number of bytes as people say it: ``58 MB`` or ``1.2 GB``."""
    return f"{size / 10**9:.1f} GB" if size >= 10**9 else f"{math.ceil(size / 10**6)} MB"

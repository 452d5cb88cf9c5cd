"""Record how long work takes on this machine, for the estimate at the start of a run.

Each kind of work has a small file in the store with the seconds per unit of the last job that did it. A file that is
missing, corrupt or cannot be written only makes the estimate less complete.
"""

import json
import math
import platform
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import psutil

from dreambirds.io import atomic_write, digest_of, store_entry, store_target
from dreambirds.runtime.snakemake_lock import job_process, snakemake_processes

Work = dict[str, Any]  # the facts that identify a kind of work, as JSON
TRAINING = ("model", "trainable", "batch_size", "precision", "compile")
PASSES = (  # the keys of a recipe that determine what the network computes and keeps in a step
    *("objective", "match_statistics", "match_regions", "match_crop_regions", "match_stride", "octaves"),
    *("octave_scale", "pad", "crops", "crop_area", "whole_views", "whole_steps", "crop_output_size", "tile"),
)
recorded_here: list[float] = []  # seconds of the work that this process has recorded


def training_work(run: Mapping[str, Any], shape: tuple[int, int]) -> Work:
    """Return the kind of work of training on one image of (height, width); `run` is a run's section of the config."""
    adversarial = run["adversarial"]["epsilon"] > 0
    return {"work": "train", **{key: run[key] for key in TRAINING}, "adversarial": adversarial, "shape": list(shape)}


def dream_work(model: str, recipe: Mapping[str, Any], shape: tuple[int, int], committee: Sequence[str] = ()) -> Work:
    """Return the kind of work of one step of one image of (height, width); a dream has one per variant.

    `recipe` has a recipe's values. `committee` are the models of networks that take turns with the dreamer's `model`.
    """
    prior = recipe["batch_norm_prior"] > 0
    keys = {key: recipe[key] for key in (*PASSES, "precision")}
    work = {"work": "dream", "model": model, **keys, "batch_norm_prior": prior, "shape": list(shape)}
    return {**work, "committee": list(committee)} if committee else work


def judge_work(judge: str) -> Work:
    """Return the kind of work of judging one image."""
    return {"work": "judge", "judge": judge}


def job_work(rule: str) -> Work:
    """Return the kind of work of one job of a rule, apart from training, dreaming and judging themselves."""
    return {"work": "job", "rule": rule}


def record(work: Work, seconds: float, units: float = 1) -> None:
    """Record that so many units of a kind of work took `seconds`; replaces the earlier record of this kind."""
    recorded_here.append(seconds)
    if units <= 0:
        return
    path = store_target(*_names(work))
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps({"work": work, "seconds": seconds / units}), encoding="utf-8")


def record_job(rule: str) -> None:
    """Record how long this job took, from the start of its processes, apart from the work that it recorded itself."""
    with suppress(psutil.Error):
        record(job_work(rule), max(0.0, time.time() - _started() - sum(recorded_here)))


def seconds_per_unit(work: Work) -> float | None:
    """Return the recorded seconds per unit of a kind of work on this machine, None if there is no record."""
    try:
        seconds = float(json.loads(store_entry(*_names(work)).read_text(encoding="utf-8"))["seconds"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return seconds if 0 <= seconds < math.inf else None


def time_text(seconds: float) -> str:
    """Return a duration as people say it: ``45 s``, ``4 min``, ``3 h 20 min`` or ``2 d 4 h``."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def _names(work: Work) -> tuple[str, str]:
    return "timings", f"{digest_of([work, _machine()])[:32]}.json"


@cache
def _machine() -> list[str]:
    return [platform.node(), platform.machine()]


def _started() -> float:
    """Return when this job began, in seconds since 1970. Its first process is a Snakemake below the main Snakemake."""
    job = [job_process(), *snakemake_processes()[:-1]][-1]
    return job.create_time()

"""Check a study before its first job, and announce what it will compute."""

import itertools
import json
import os
import shlex
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from dreambirds.config.load import Section
from dreambirds.config.study import check_all_but_labels, expand_config
from dreambirds.data.sources.catalog import left_out
from dreambirds.data.sources.catalog import missing as missing_resource
from dreambirds.data.sources.source import Resource
from dreambirds.data.tables import check_images, check_labels
from dreambirds.dream_job.store_gc import PARTS
from dreambirds.errors import RETRAIN, UserError, counted
from dreambirds.io import TEMPORARY_NAME, remove_stale_temp_files, store_root, store_target
from dreambirds.models import MODEL_FILE
from dreambirds.plan import inputs
from dreambirds.plan.checkpoints import foreign_files, previous_checkpoint
from dreambirds.plan.inputs import start_images
from dreambirds.plan.paths import CHECKED, STATE_FILE, archive_path, checkpoint_folder, epoch_name
from dreambirds.plan.plan import DreamPart, Plan
from dreambirds.startup.estimate import estimate
from dreambirds.startup.machine import announce_store

METADATA = "__metadata__"  # the entry of a safetensors header that is not a tensor
SECOND = 10**9  # nanoseconds
MINUTE = 60 * SECOND
SKEW = 5 * SECOND  # the clocks of a cluster's machines may differ by this much
UNTRACKED = ("images", "pictures", "sheets")  # folders whose files Snakemake does not check one by one
DEEPEST = 4  # levels of folders below the study's; the images of a label are deeper and are not tracked either
STAGES = ("dataset", "runs", "dreams", "montages", "films", "judged", "pixels", "plots", "gallery", "findings")
OUTPUT_CACHE = "SNAKEMAKE_OUTPUT_CACHE"


def clamp_future_mtimes(folder: Path) -> None:
    """Set modification times in the future to within the last second, in their order, and print how many there were.

    `folder` is a study's folder. Files whose time cannot be set stay unchanged.
    """
    now = time.time_ns()
    ahead = {entry.path: when for entry, when in _files(folder, 0) if when > now + SKEW}
    times = sorted(set(ahead.values()))
    dates = {when: now - SECOND * (len(times) - 1 - rank) // len(times) for rank, when in enumerate(times)}
    for path, when in ahead.items():
        with suppress(OSError):
            os.utime(path, ns=(dates[when], dates[when]), follow_symlinks=False)
    if ahead:
        print(
            f"{counted(len(ahead), 'file')} had a modification time in the future (was the clock set back?); "
            f"{'it now has' if len(ahead) == 1 else 'they now have'} the current time.",
            file=sys.stderr,
        )


def last_change(path: Path) -> int:
    """Return the later of the modification times of a file and a link to it, in nanoseconds, as Snakemake does."""
    return max(path.stat().st_mtime_ns, path.lstat().st_mtime_ns)


def _files(folder: Path, depth: int) -> Iterator[tuple[os.DirEntry, int]]:
    """Yield files with their modification times, in nanoseconds."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                yield entry, entry.stat(follow_symlinks=False).st_mtime_ns
            elif depth < DEEPEST and folder.name not in UNTRACKED:
                yield from _files(Path(entry.path), depth + 1)


def check_folders(plan: Plan) -> None:
    """Raise UserError if a file or a broken link is in place of a folder of the study or of the store."""
    root, store = Path("results") / plan.study, store_root()
    parts = itertools.product(("runs", "dreams", "montages", "films"), plan.networks)
    dreams = [(run, epoch_name(epoch)) for run, epoch in plan.dreaming_checkpoints()]
    folders = [
        *(root / stage for stage in STAGES),
        *(root / stage / run for stage, run in parts),
        *(root / "dreams" / run / epoch for run, epoch in dreams),
        *(root / "runs" / run / epoch_name(epoch) for run in plan.networks for epoch in plan.epochs(run)),
        Path("results/logs") / plan.study,
        *(store / part for part in (*PARTS, "cache")),
    ]
    for path in sorted({path for folder in folders for path in (*folder.parents, folder)}):
        if path.is_symlink() and not path.exists():
            raise UserError(f"'{path}' is a broken link, and a folder is expected there; fix or remove the link")
        if path.exists() and not path.is_dir():
            raise UserError(f"'{path}' is a file, and a folder is expected there; move the file away")


def check_existing_results(plan: Plan) -> None:
    """Raise UserError if an existing table of the data set or checkpoint is incomplete, or an input is from the future.

    Snakemake would discard everything computed from an input with a modification time in the future.
    """
    dataset = Path("results") / plan.study / "dataset"
    if (dataset / "images.csv").exists():
        check_images(dataset)  # and the labels, if they exist
    elif (dataset / "labels.csv").exists():
        check_labels(dataset)
    for path in _checkpoints(plan):
        if path.exists():
            _check_complete(path)
    ahead = time.time_ns() + SKEW
    for path in sorted(set(_own_files(plan))):
        if path.exists() and last_change(path) > ahead:
            when, touch = (
                datetime.fromtimestamp(last_change(path) // 10**9),
                "touch -h" if path.is_symlink() else "touch",
            )
            raise UserError(
                f"'{path}' has a modification time in the future ({when}); run `{touch} {shlex.quote(str(path))}`"
            )


def _checkpoints(plan: Plan) -> Iterator[Path]:
    """Yield the files of weights and optimizer states of all kept epochs."""
    for run in plan.networks:
        for epoch in plan.epochs(run):
            folder = Path(checkpoint_folder(plan.study, run, epoch))
            yield from (folder / MODEL_FILE, folder / STATE_FILE)


def _check_complete(path: Path) -> None:
    """Raise UserError if a file is truncated or not in the safetensors format; the tensors are not read.

    The format: the length of the header in 8 bytes, the header as JSON, and the tensors without gaps.
    """
    try:
        with path.open("rb") as file:
            length, size = int.from_bytes(file.read(8), "little"), path.stat().st_size
            tensors = json.loads(file.read(min(length, size)))
        ends = [tensor["data_offsets"][1] for name, tensor in tensors.items() if name != METADATA]
        expected = 8 + length + max(ends, default=0)
        reason = f"it has {size} bytes instead of {expected}" if size != expected else ""
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        reason = "its header is incomplete"
    if reason:
        raise UserError(f"'{path}' is corrupt ({reason}); {RETRAIN}")


def _own_files(plan: Plan) -> Iterator[Path]:
    """Yield the inputs outside the study's folder whose times Snakemake compares with those of its results."""
    first = [previous_checkpoint(plan, run, plan.epochs(run)[0]) for run in plan.trained]
    first += [foreign_files(plan, run, epoch) for run, epochs in plan.foreign.items() for epoch in epochs]
    runs = [file for files in first for name in files for file in files[name]]
    judges = [file for judge in plan.judges for file in inputs.judge_files(plan, judge)]
    photographs = [file for recipe in plan.recipes for file in start_images(plan, recipe)]
    for file in (*runs, *judges, *photographs):
        if not Path(file).is_relative_to(Path("results") / plan.study):
            yield Path(file)


def keep_measurements(plan: Plan) -> None:
    """Keep the measurements of a study's models if the job that adds to them was killed: it replaces them atomically.

    Otherwise Snakemake takes them for incomplete, and runs only that job, not those behind it.
    """
    name = urlsafe_b64encode(f"results/{plan.study}/{CHECKED}".encode()).decode()
    with suppress(OSError):
        Path(".snakemake", "incomplete", name).unlink()


def remove_partial_files(plan: Plan) -> None:
    """Remove temporary files of killed jobs that are older than a minute.

    Of the images of dreams, of which there may be many, only those of missing dream jobs are searched.
    """
    for folder in {Path(archive_path(plan.study, *job)).parent for job in missing_jobs(plan)}:
        remove_stale_temp_files(folder, MINUTE / SECOND)
    oldest = time.time_ns() - MINUTE
    for entry, when in _files(Path("results") / plan.study, 0):
        if when < oldest and TEMPORARY_NAME.fullmatch(entry.name):
            with suppress(OSError):  # it was renamed, or belongs to another user
                Path(entry.path).unlink()


def missing_jobs(plan: Plan) -> list[DreamPart]:
    """Return the dream jobs whose archive does not exist."""
    return [job for job in plan.dream_jobs if not Path(archive_path(plan.study, *job)).exists()]


def announce_study(plan: Plan, cores: int | None) -> None:
    """Print to standard error how many dreams the study requests, how many exist, and an estimate for what is missing.

    Also print which classes and folders of photographs are left out. `cores` is the number of CPU cores of the run,
    None on a cluster.
    """
    announce_store()
    missing, runs, recipes = missing_jobs(plan), len(plan.dreaming_epochs), len(plan.recipes)
    expected, requested = estimate(plan, missing, cores), plan.count_dreams(plan.dream_jobs)
    checkpoints, labels = len(plan.dreaming_checkpoints()), len(plan.names)
    of = [
        (checkpoints, "checkpoint"),
        (runs, "run"),
        (recipes, "recipe"),
        (labels, "target" if plan.targets else "class"),
    ]
    print(
        f"Study '{plan.study}': {counted(requested, 'dream')} requested "
        f"({', '.join(counted(*each) for each in of)}), {requested - plan.count_dreams(missing)} of them exist.",
        file=sys.stderr,
    )
    for line in left_out(plan.config["dataset"]):
        print(f"Photographs: {line}.", file=sys.stderr)
    if expected:
        print(expected, file=sys.stderr)
    for run in plan.foreign:
        print("\n".join(_mapping(plan, run)), file=sys.stderr)


def _mapping(plan: Plan, run: str) -> list[str]:
    """Return lines that say which epoch each checkpoint of a run that was trained elsewhere is; empty if all exist."""
    found = plan.foreign[run].values()
    if all(Path(checkpoint_folder(plan.study, run, each.epoch), MODEL_FILE).exists() for each in found):
        return []
    lines = [f"  epoch {each.epoch}: '{each.weights}' ({each.source})" for each in found]
    return [f"Run '{run}' was trained elsewhere; its checkpoints:", *lines]


def set_output_cache() -> None:
    """Put Snakemake's output cache into the store, unless the environment sets another folder.

    Without a folder, cluster jobs fail if the cache is in use.
    """
    if OUTPUT_CACHE not in os.environ:
        folder = store_target("cache", "entry").parent.absolute()
        with suppress(OSError):  # then Snakemake reports that there is no cache
            folder.mkdir(parents=True, exist_ok=True)
            os.environ[OUTPUT_CACHE] = str(folder)


def missing_download(config: Section) -> Resource | None:
    """Return the data set that must be downloaded before the study can be planned, None if none. Keeps `config` as is.

    Raises UserError for everything that can be checked without the data, so a typo is found before the download.
    """
    config, grids = expand_config(config)
    resource = missing_resource(config)
    if resource:
        check_all_but_labels(config, grids)
    return resource


def announce_download(resource: Resource) -> None:
    """Print to standard error that this run only downloads the data, and how to continue."""
    print(
        f"The data set is missing: this run downloads {resource.title} to '{resource.place}'. "
        "Run the same command again to train and dream.",
        file=sys.stderr,
    )

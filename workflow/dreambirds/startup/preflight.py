"""Check all that can be known before the first job, and say what the study will make."""

import copy
import itertools
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pandas as pd
from safetensors import SafetensorError, safe_open

from dreambirds.config.load import Section, check
from dreambirds.data.sources.catalog import missing
from dreambirds.data.sources.source import Resource
from dreambirds.data.tables import read_images, read_labels
from dreambirds.dream_job.store_gc import PARTS
from dreambirds.errors import TRAIN_AGAIN, UserError
from dreambirds.io import store_root
from dreambirds.models import MODEL_FILE
from dreambirds.plan import inputs
from dreambirds.plan.checkpoints import previous_checkpoint
from dreambirds.plan.inputs import start_images
from dreambirds.plan.paths import STATE_FILE, checkpoint_folder, epoch_name, picture_path
from dreambirds.plan.plan import Plan, check_all_but_labels
from dreambirds.startup.estimate import estimate

SECOND = 10**9  # nanoseconds
SKEW = 5 * SECOND  # by which the clocks of a cluster's machines may differ
UNSEEN = ("images", "pictures", "sheets")  # folders whose files Snakemake does not look at one by one
DEEPEST = 4  # folders below a study's; a label's own pictures are not looked at either
STAGES = ("dataset", "runs", "dreams", "montages", "films", "judged", "plots", "gallery", "finding", "findings")
PLACE = "SNAKEMAKE_OUTPUT_CACHE"


def clamp_future_mtimes(folder: Path) -> None:
    """Date files below a study's folder that are from the future to the last second, in their order, and say on
    standard error how many there were. What can't be dated stays as it is.
    """
    now = time.time_ns()
    ahead = {entry.path: when for entry, when in _files(folder, 0) if when > now + SKEW}
    times = sorted(set(ahead.values()))
    dates = {when: now - SECOND * (len(times) - 1 - place) // len(times) for place, when in enumerate(times)}
    for path, when in ahead.items():
        with suppress(OSError):
            os.utime(path, ns=(dates[when], dates[when]), follow_symlinks=False)
    if ahead:
        print(f"The clock was set back: {len(ahead)} files from the future are dated to now.", file=sys.stderr)


def last_change(path: Path) -> int:
    """Return when a file, or a link to it, last changed, in nanoseconds: the later of the two, as Snakemake sees it."""
    return max(path.stat().st_mtime_ns, path.lstat().st_mtime_ns)


def _files(folder: Path, depth: int) -> Iterator[tuple[os.DirEntry, int]]:
    """Yield files with the times of their last change, in nanoseconds."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                yield entry, entry.stat(follow_symlinks=False).st_mtime_ns
            elif depth < DEEPEST and folder.name not in UNSEEN:
                yield from _files(Path(entry.path), depth + 1)


def check_folders(plan: Plan) -> None:
    """Raise UserError where a file or a broken link lies in place of one of the study's folders, or of the store's."""
    root, store = Path("results") / plan.study, store_root()
    parts = itertools.product(("runs", "dreams", "montages", "films"), plan.trained)
    dreams = [(run, epoch_name(epoch)) for run, epoch in plan.dreaming_checkpoints()]
    folders = [
        *(root / stage for stage in STAGES),
        *(root / stage / run for stage, run in parts),
        *(root / "dreams" / run / epoch for run, epoch in dreams),
        *(root / "runs" / run / epoch_name(epoch) for run in plan.trained for epoch in plan.epochs(run)),
        Path("results/logs") / plan.study,
        *(store / part for part in (*PARTS, "cache")),
    ]
    for place in sorted({place for folder in folders for place in (*folder.parents, folder)}):
        if place.is_symlink() and not place.exists():
            raise UserError(f"'{place}' is a link that leads to no folder; mend or remove it")
        if place.exists() and not place.is_dir():
            raise UserError(f"'{place}' is a file where a folder should be; move it away")


def check_existing_results(plan: Plan) -> None:
    """Raise UserError if the data set's tables or a checkpoint are there and not whole, or if a file of the user's own
    is from the future, so that Snakemake would throw away whatever is made from it.
    """
    dataset = Path("results") / plan.study / "dataset"
    if (dataset / "images.csv").exists():
        read_images(dataset)  # and the labels, if they are there
    elif (dataset / "labels.csv").exists():
        read_labels(dataset)
    for path in _checkpoints(plan):
        if path.exists():
            _check_whole(path)
    ahead = time.time_ns() + SKEW
    for path in sorted(set(_own_files(plan))):
        if path.exists() and last_change(path) > ahead:
            when, how = datetime.fromtimestamp(last_change(path) // 10**9), "touch -h" if path.is_symlink() else "touch"
            raise UserError(f"'{path}' is dated {when}, and nothing can be made from a file of the future; `{how}` it")


def _checkpoints(plan: Plan) -> Iterator[Path]:
    """Yield the weights and the optimisers' states of all kept epochs."""
    for run in plan.trained:
        for epoch in plan.epochs(run):
            folder = Path(checkpoint_folder(plan.study, run, epoch))
            yield from (folder / MODEL_FILE, folder / STATE_FILE)


def _check_whole(path: Path) -> None:
    """Raise UserError if a file is cut or no safetensors; its numbers are not read."""
    try:
        with safe_open(path, framework="np"):
            pass
    except SafetensorError as error:
        raise UserError(f"'{path}' is no whole checkpoint ({error!r}); {TRAIN_AGAIN}") from error


def _own_files(plan: Plan) -> Iterator[Path]:
    """Yield the files outside the study's folder that Snakemake compares with what is made from them."""
    runs = [previous_checkpoint(plan, run, plan.epochs(run)[0]).get("pretrained") for run in plan.trained]
    judges = [file for judge in plan.judges for file in (inputs.weights(plan, judge), *inputs.names(plan, judge))]
    photographs = [file for recipe in plan.recipes for file in start_images(plan, recipe)]
    for file in filter(None, (*runs, *judges, *photographs)):
        if not Path(file).is_relative_to(Path("results") / plan.study):
            yield Path(file)


def existing_dreams(plan: Plan) -> pd.Series:
    """Return for each row of the plan's dreams whether its raw image exists."""
    folder = Path("results") / plan.study / "dreams"
    exists = [picture_path(folder, dream).exists() for dream in plan.dreams.itertuples()]
    return pd.Series(exists, index=plan.dreams.index, dtype=bool)


def announce_study(plan: Plan, cores: int | None) -> None:
    """Print to standard error how many dreams the study requests, how many exist, and an estimate for what is missing.

    `cores` is the number of CPU cores of the run, None on a cluster.
    """
    exists, runs, recipes = existing_dreams(plan), len(plan.dreaming_epochs), len(plan.recipes)
    checkpoints, labels = len(plan.dreaming_checkpoints()), len(plan.names)
    of = [(checkpoints, "checkpoint"), (runs, "run"), (recipes, "recipe"), (labels, "class")]
    print(
        f"Study '{plan.study}': {counted(len(plan.dreams), 'dream')} requested "
        f"({', '.join(counted(*each) for each in of)}), {exists.sum()} of them exist.",
        file=sys.stderr,
    )
    if expected := estimate(plan, exists, cores):
        print(expected, file=sys.stderr)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is one."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def set_output_cache() -> None:
    """Let Snakemake's cache lie in the store, unless the environment names another folder: without any, jobs on a
    cluster that were told to use it fail."""
    if PLACE not in os.environ:
        folder = (store_root() / "cache").absolute()
        with suppress(OSError):  # then Snakemake says that there is no cache
            folder.mkdir(parents=True, exist_ok=True)
            os.environ[PLACE] = str(folder)


def missing_download(config: Section) -> Resource | None:
    """Return what must be fetched before the study can be planned, None if nothing. `config` is not changed.

    Raises UserError for all that can be told to be wrong without the data, so that no typo waits for a download.
    """
    config = copy.deepcopy(config)
    check(config, "config")
    resource = missing(config)
    if resource:
        check_all_but_labels(config)
    return resource


def announce_download(resource: Resource) -> None:
    """Say on standard error, in one line, what this run does and what the next one will do."""
    print(
        f"The photographs are not here yet: this fetches {resource.title} to {resource.place}; "
        "then the same command again trains and dreams.",
        file=sys.stderr,
    )

"""What stands before a run: whether it can be built upon.

Snakemake deletes what a job made before as soon as the job starts, so a job that then refuses its input costs finished
work.
"""

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from safetensors import SafetensorError, safe_open

from dreambirds.clock import SKEW, changed
from dreambirds.data.tables import read_images, read_labels
from dreambirds.errors import TRAIN_AGAIN, StudyError
from dreambirds.study import judgement
from dreambirds.study.chain import link
from dreambirds.study.paths import epoch_name
from dreambirds.study.plan import Plan
from dreambirds.study.sources import starts


def check_standing(plan: Plan) -> None:
    """Raise StudyError if the data set's tables or a checkpoint are there and not whole, or if a file of the user's own
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
        if path.exists() and changed(path) > ahead:
            when, how = datetime.fromtimestamp(changed(path) // 10**9), "touch -h" if path.is_symlink() else "touch"
            raise StudyError(f"'{path}' is dated {when}, and nothing can be made from a file of the future; `{how}` it")


def _checkpoints(plan: Plan) -> Iterator[Path]:
    """Yield the weights and the optimisers' states of all kept epochs."""
    for run in plan.trained:
        for epoch in plan.epochs(run):
            for ending in ("safetensors", "state.safetensors"):
                yield Path("results") / plan.study / "runs" / run / f"{epoch_name(epoch)}.{ending}"


def _check_whole(path: Path) -> None:
    """Raise StudyError if a file is cut or no safetensors; its numbers are not read."""
    try:
        with safe_open(path, framework="np"):
            pass
    except SafetensorError as error:
        raise StudyError(f"'{path}' is no whole checkpoint ({error!r}); {TRAIN_AGAIN}") from error


def _own_files(plan: Plan) -> Iterator[Path]:
    """Yield the files outside the study's folder that Snakemake compares with what is made from them."""
    runs = [link(plan, run, plan.epochs(run)[0]).get("pretrained") for run in plan.trained]
    judges = [file for judge in plan.judges for file in (judgement.weights(plan, judge), *judgement.names(plan, judge))]
    photographs = [file for recipe in plan.recipes for file in starts(plan, recipe)]
    for file in filter(None, (*runs, *judges, *photographs)):
        if not Path(file).is_relative_to(Path("results") / plan.study):
            yield Path(file)

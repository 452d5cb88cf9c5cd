"""How much of a study is there already."""

import sys
from pathlib import Path

from dreambirds.study.paths import picture_path
from dreambirds.study.plan import Plan


def count_present(plan: Plan) -> int:
    """Return how many of the study's dreams have their raw picture on disk."""
    return sum(Path(picture_path(plan.study, dream)).exists() for dream in plan.dreams.itertuples())


def announce(plan: Plan) -> None:
    """Say on standard error, in one line, what the study asks for and what there is."""
    runs, labels = len(plan.config["runs"]), len(plan.names)
    checkpoints = sum(len(plan.epochs(run)) for run in plan.config["runs"])
    print(
        f"Study '{plan.study}': {len(plan.dreams)} dreams asked for ({checkpoints} checkpoints of {runs} run(s), "
        f"{len(plan.recipes)} recipes, {labels} labels, and their steps), {count_present(plan)} there already.",
        file=sys.stderr,
    )

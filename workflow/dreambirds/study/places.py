"""Whether a study's folders can be where they belong."""

import itertools
from pathlib import Path

from dreambirds.data.files import store_root
from dreambirds.errors import StudyError
from dreambirds.study.paths import epoch_name
from dreambirds.study.plan import Plan

STAGES = ("dataset", "runs", "dreams", "montages", "films", "judged", "plots", "gallery", "finding", "findings")
STORED = ("dreams", "prepared", "memory", "photographs", "cache")


def check_places(plan: Plan) -> None:
    """Raise StudyError where a file or a broken link lies in place of one of the study's folders, or of the store's."""
    root, store = Path("results") / plan.study, store_root()
    parts = itertools.product(("runs", "dreams", "montages", "films"), plan.trained)
    dreams = itertools.product(plan.config["runs"], map(epoch_name, plan.dreams["epoch"].unique()))
    folders = [
        *(root / stage for stage in STAGES),
        *(root / stage / run for stage, run in parts),
        *(root / "dreams" / run / epoch for run, epoch in dreams),
        Path("results/logs") / plan.study,
        *(store / part for part in STORED),
    ]
    for place in sorted({place for folder in folders for place in (*folder.parents, folder)}):
        if place.is_symlink() and not place.exists():
            raise StudyError(f"'{place}' is a link that leads to no folder; mend or remove it")
        if place.exists() and not place.is_dir():
            raise StudyError(f"'{place}' is a file where a folder should be; move it away")

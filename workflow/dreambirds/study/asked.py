"""What a dream job was asked for, so that it runs again where a label is new, and not where one is gone.

Its pictures are too many for Snakemake to count: 100,000 of them took it minutes and a gigabyte of records.
"""

import itertools
import json
from pathlib import Path
from typing import TypedDict

from dreambirds.data.files import atomically, digest_of
from dreambirds.study.paths import VIEWS, index_name, job_folder, picture_name
from dreambirds.study.plan import Plan


class _Note(TypedDict):
    """What is noted beside a job's pictures."""

    asked: str
    labels: list[str]


def asked(plan: Plan, recipe: str, part: int | None, run: str, epoch: str) -> str:
    """Return a word that is another one as soon as a job lacks a picture, and stays while labels only go."""
    folder, names = Path(job_folder(plan.study, run, epoch, recipe)), plan.parts[part]
    before = _read(folder, part)
    pictures = itertools.product(names, plan.recipes[recipe]["steps"], VIEWS)
    if set(names) <= set(before["labels"]) and all((folder / picture_name(*each)).exists() for each in pictures):
        return before["asked"]
    return f"{len(names)} labels ({digest_of([*names, before['asked']])[:8]})"


def note(folder: Path, part: int | None, asked: str, labels: list[str]) -> None:
    """Write beside a job's pictures that it was asked in this word, and which labels it has dreamt of."""
    with atomically(folder / _name(part)) as temporary:
        temporary.write_text(json.dumps({"asked": asked, "labels": labels}))


def _read(folder: Path, part: int | None) -> _Note:
    try:
        before = json.loads((folder / _name(part)).read_text())
        return {"asked": str(before["asked"]), "labels": list(before["labels"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"asked": "", "labels": []}


def _name(part: int | None) -> str:
    return f".{index_name(part)}.json"

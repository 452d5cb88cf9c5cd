"""The job of one judge: to look at real photographs first, and then at all dreams that it has not dreamt itself."""

from dataclasses import dataclass
from pathlib import Path

import torch

from dreambirds.code_version import libraries
from dreambirds.data.files import sha256_of
from dreambirds.data.tables import write_table
from dreambirds.judging.dreams import read_dreams, views_of
from dreambirds.judging.judge import load_judge
from dreambirds.judging.judged import Bench, judge_dreams
from dreambirds.judging.real import check_row, look_at_real
from dreambirds.study.judgement import section, shown
from dreambirds.study.judges import kind
from dreambirds.study.plan import Plan


@dataclass(frozen=True)
class Case:
    """Which judge, the files of its weights and of its classes' names, the prepared data set's folder, and a digest of
    the code."""

    judge: str
    weights: Path
    names: list[Path]
    dataset: Path
    code: str


def write_judgement(plan: Plan, case: Case, device: torch.device, judged: Path, check: Path) -> None:
    """Write a judge's word on each view of each dream that it is shown, and a row on how good a judge it is.

    Raises StudyError if its weights can't be read or do not fit, if it knows none of the study's classes, or if a table
    of dreams is not whole.
    """
    asked = plan.judges[case.judge]
    judge = load_judge(case.judge, asked, case.weights, plan.labels, device)
    sha256 = sha256_of(case.weights)
    real = look_at_real(judge, case.dataset)
    dreams = read_dreams(plan, shown(plan, case.judge))
    words = judge_dreams(Bench(judge, real, _facts(plan, case, sha256)), views_of(plan, dreams))
    write_table(words, judged, "%.6g")
    write_table(check_row(judge, real, kind(asked), [label.label for label in plan.labels], sha256), check, "%.6g")


def _facts(plan: Plan, case: Case, weights_sha256: str) -> dict:
    """Return all that decides a judge's word on a picture, but for the picture."""
    return {
        "weights_sha256": weights_sha256,
        "judge": section(plan, case.judge),
        "names": [sha256_of(path) for path in case.names],
        "labels": [[label.label, label.name] for label in plan.labels],
        "dataset_sha256": sha256_of(case.dataset / "images.csv"),
        "versions": libraries("judging"),
        "code": case.code,
    }

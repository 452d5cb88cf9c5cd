"""Snakemake's report of the tiny study, made once for all tests of a process."""

import json
import re
import zipfile
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.helpers.studies import Study, tiny

_kept = []  # folders that are removed when Python ends


@cache
def reported_study() -> Study:
    """Return the tiny study, finished, whose report is unzipped in the folder ``report`` beside its config."""
    _kept.append(TemporaryDirectory())
    study = Study(Path(_kept[-1].name), tiny())
    study.run()
    study.run("--report", "results/tiny/report.zip")
    with zipfile.ZipFile(study.results / "report.zip") as archive:
        archive.extractall(study.folder)
    return study


def report_page(study: Study) -> Path:
    """Return the report's page."""
    return study.folder / "report" / "report.html"


def read_report(study: Study) -> tuple[dict, dict]:
    """Return what the report's page holds: its categories, and a record of each result by its path."""
    page = report_page(study).read_text(encoding="utf-8")
    found = [re.search(rf"^\s*var {name} = (?=\{{\")", page, re.MULTILINE) for name in ("categories", "results")]
    return tuple(json.JSONDecoder().raw_decode(page, match.end())[0] for match in found)

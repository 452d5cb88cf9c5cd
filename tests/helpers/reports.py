"""Snakemake's report of the tiny study."""

import json
import re
import zipfile
from pathlib import Path

from tests.helpers.studies import Study


def make_report(study: Study) -> None:
    """Create the report of a finished study, and unzip it into the folder ``report`` next to its config."""
    study.run("--report", "results/tiny/report.zip")
    with zipfile.ZipFile(study.results / "report.zip") as archive:
        archive.extractall(study.folder)


def report_page(study: Study) -> Path:
    """Return the path of the report's page."""
    return study.folder / "report" / "report.html"


def read_report(study: Study) -> tuple[dict, dict]:
    """Return the data of the report's page: its categories, and the record of each result by its path."""
    page = report_page(study).read_text(encoding="utf-8")
    found = [re.search(rf"^\s*var {name} = (?=\{{\")", page, re.MULTILINE) for name in ("categories", "results")]
    return tuple(json.JSONDecoder().raw_decode(page, match.end())[0] for match in found)

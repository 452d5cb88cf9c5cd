"""docs/measurements.md documents each column of the tables, in their order."""

import re
from pathlib import Path

import pytest

from dreambirds.config.dreamers import parameter_names
from dreambirds.evaluation import tables
from dreambirds.evaluation.contrasts import FINDINGS

PAGE = (Path(__file__).parents[2] / "docs" / "measurements.md").read_text()
KEYS = "each recipe key but `seed`"


def documented(table: str) -> list[list[str]]:
    """Return the page's rows on a table: column, unit, meaning."""
    section = PAGE.partition(f"\n## `{table}.csv`")[2].partition("\n## ")[0]
    rows = [re.split(r"(?<!\\) *\| *", line)[1:-1] for line in section.splitlines() if line.startswith("| ")]
    return [row for row in rows if row[0] != "column"]


WRITTEN = {"dreams": tables.DREAMS, "judgements": tables.JUDGEMENTS, "runs": tables.RUNS, "judges": tables.JUDGES}
WRITTEN |= {"finding": ["question", "text", *FINDINGS]}


@pytest.mark.parametrize("table", WRITTEN)
def test_every_column_is_documented_with_its_unit_and_meaning(table):
    rows = documented(table)
    names = [name for column, _, _ in rows for name in _names(column)]
    assert names == WRITTEN[table]
    assert all(unit and len(meaning) > 3 for _, unit, meaning in rows)


def _names(column: str) -> list[str]:
    return [key for key in parameter_names() if key != "seed"] if column == KEYS else [column.strip("`")]

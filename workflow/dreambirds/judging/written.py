"""The tables that a study ends in, read back by what shows them."""

from pathlib import Path

import pandas as pd

from dreambirds.data.tables import read_table
from dreambirds.judging.dreams import DREAM
from dreambirds.study.plan import Plan


def read_written(plan: Plan, results: Path, name: str) -> pd.DataFrame:
    """Return the table ``dreams``, ``runs`` or ``judges`` of a study's results.

    Raises StudyError if it can't be read or lacks a row of what the plan asks for.
    """
    asked = {
        "dreams": plan.dreams[DREAM],
        "runs": plan.dreams[["run", "epoch"]].drop_duplicates(),
        "judges": pd.DataFrame({"judge": list(plan.judges)}),
    }
    return read_table(results / f"{name}.csv", rows=asked[name])

"""Report the results of benchmarks: a table on the terminal, and the same as JSON."""

import json
from pathlib import Path

import pandas as pd


def report(records: list[dict], file: Path | None) -> list[dict]:
    """Print records as a table, write them as JSON if requested, and return them."""
    print(pd.DataFrame(records).to_string(index=False, float_format="{:.4g}".format))
    if file:
        file.write_text(json.dumps(records, indent=1), encoding="utf-8")
    return records

"""The table of dreams as a DataFrame, for jobs."""

from collections.abc import Sequence

import pandas as pd

from dreambirds.plan.dream_table import Dream


def dream_frame(dreams: Sequence[Dream]) -> pd.DataFrame:
    """Return the rows of the table of dreams; integer epochs stay integers next to fractional ones."""
    table = pd.DataFrame(dreams, columns=Dream._fields)
    if table["epoch"].dtype.kind == "f":
        table["epoch"] = pd.Series([dream.epoch for dream in dreams], dtype=object)
    return table

"""A cache of metrics of images, in the store, for all studies."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dreambirds.errors import reason_of
from dreambirds.io import atomic_write, digest_of, store_entry, store_target

# columns with text; the others are numbers
TEXT = dict.fromkeys(("key", "prediction", "features", "nearest", "nearest_pixels"), str)
log = logging.getLogger(__name__)


class MetricCache:
    """A folder of tables with the metrics of images, by the key of an image.

    Its name is a digest of everything else that determines the metrics. Each job adds a table and changes no other, so
    any number of jobs may use the cache at the same time. A job reads only the tables of one `shard`.
    """

    def __init__(self, facts: dict, shard: Sequence = ()):
        """Load the cached metrics for `facts` and a shard, such as the run, epoch and recipe of the images."""
        names = "judged", digest_of(facts)[:32], digest_of(list(shard))[:16]
        self.folder = store_target(*names, "x").parent
        folders = sorted({store_entry(*names), self.folder})
        tables = [_read(path) for folder in folders for path in sorted(folder.glob("[0-9a-f]*.csv"))]
        self.rows = pd.concat(tables) if tables else pd.DataFrame()
        self.rows = self.rows[~self.rows.index.duplicated()]

    def missing(self, keys: pd.Series) -> pd.Series:
        """Return a mask of the keys that are not in the cache."""
        return ~keys.isin(self.rows.index)

    def add(self, rows: pd.DataFrame) -> None:
        """Add metrics, one row per image, indexed by key, and write them. Log a warning if that fails."""
        self.rows = pd.concat([self.rows, rows]) if len(self.rows) else rows
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.folder / f"{digest_of(sorted(rows.index))[:16]}.csv") as temporary:
                rows.to_csv(temporary, index_label="key")
        except OSError as error:
            message = "cannot write to '%s' (%s); other studies will measure these images again"
            log.warning(message, self.folder, reason_of(error))


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, index_col="key", dtype=TEXT, keep_default_na=False, na_values=[""])
    except (OSError, ValueError):  # removed or corrupt: measured again
        return pd.DataFrame()

"""What was measured of pictures before, in any study: kept by the pictures' contents, so that each is measured once."""

import logging
from pathlib import Path

import pandas as pd

from dreambirds.data.files import atomically, digest_of, store_root

log = logging.getLogger(__name__)


class Memory:
    """Measurements by a key a picture; the facts that decide them, but for the picture, name the file."""

    def __init__(self, facts: dict):
        """Take up what is known under these facts."""
        self.path = store_root() / "judged" / f"{digest_of(facts)[:32]}.csv"
        self.known = _read(self.path)

    def missing(self, keys: pd.Series) -> pd.Series:
        """Tell of each key whether nothing is known under it."""
        return ~keys.isin(self.known.index)

    def learn(self, rows: pd.DataFrame) -> None:
        """Take measurements up, a row each; the index holds the keys."""
        self.known = pd.concat([self.known, rows]) if len(self.known) else rows

    def keep(self) -> None:
        """Write down what is known, beside what other jobs have learnt; where that can't be, say so."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            theirs = _read(self.path)
            whole = pd.concat([theirs[~theirs.index.isin(self.known.index)], self.known]) if len(theirs) else self.known
            with atomically(self.path) as temporary:
                whole.to_csv(temporary, index_label="key")
        except OSError as error:
            log.warning("measurements can't be kept for other studies in '%s' (%s)", self.path.parent, error.strerror)


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, index_col="key", dtype={"key": str})
    except (OSError, ValueError):  # gone or damaged: measured again
        return pd.DataFrame()

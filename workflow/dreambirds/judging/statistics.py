"""How sure a number is: bootstrap intervals, and paired differences with their effect sizes."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

RESAMPLES, CONFIDENCE = 2000, 0.95
ROUNDING = 1e-9  # a spread below so much of the mean is none
FEWEST = 5  # pairs that an interval is said of


def bootstrap_mean(values: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Return the mean of values (N,) and the ends of its 95 % interval, by the percentile bootstrap (Efron 1979).

    Values that are NaN are left out. With fewer than two the interval is NaN, and so is the mean of none.
    """
    values = np.asarray(values, dtype=float)
    values = values[~np.isnan(values)]
    if len(values) < 2:
        return (float(values[0]) if len(values) else np.nan), np.nan, np.nan
    drawn = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=200,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(values.mean()), float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)


@dataclass(frozen=True)
class Difference:
    """A mean paired difference, the ends of its 95 % interval, its size in units of the differences' own standard
    deviation (Cohen's d for pairs, d_z; Lakens 2013), and how many pairs there are."""

    mean: float
    low: float
    high: float
    effect: float
    pairs: int

    @property
    def seen(self) -> bool:
        """Whether there are enough pairs, and the interval leaves out zero."""
        return self.pairs >= FEWEST and (self.low > 0 or self.high < 0)


def difference_of_labels(pairs: pd.DataFrame) -> tuple[pd.DataFrame, Difference]:
    """Return the means of each label, and what became of them, from a row a pair: ``label``, ``before`` and ``after``.

    Dreams of one label are alike, so that each label's pairs are averaged first, and the interval is over labels.
    Pairs with a NaN are left out.
    """
    means = pairs.dropna().groupby("label")[["before", "after"]].mean()
    return means, paired_difference(means["before"].to_numpy(), means["after"].to_numpy())


def paired_difference(before: np.ndarray, after: np.ndarray) -> Difference:
    """Return what `after` (N,) is more than `before` (N,), pair by pair; pairs with a NaN are left out.

    The interval is Student's: with some eight pairs a percentile bootstrap would be too sure of itself.
    """
    differences = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    differences = differences[~np.isnan(differences)]
    pairs = len(differences)
    mean = float(differences.mean()) if pairs else np.nan
    spread = float(differences.std(ddof=1)) if pairs > 1 else np.nan
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, pairs - 1) * spread / np.sqrt(pairs) if pairs > 1 else np.nan
    alike = 0.0 if mean == 0 else np.nan
    effect = mean / spread if spread > ROUNDING * abs(mean) else alike
    return Difference(mean, mean - reach, mean + reach, float(effect), pairs)

"""Contrasts of an experiment: effects and their intervals."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from dreambirds.config.contrasts import CHANCE, OF_CHANCE, USUAL, Comparison, DreamQuery
from dreambirds.config.load import Section
from dreambirds.evaluation.columns import SUFFIX

RESAMPLES, CONFIDENCE = 2000, 0.95
ROUNDING = 1e-9  # a spread below so much of the mean is none
FEWEST = 5  # pairs that an interval is said of
FINDINGS = [
    "vary",
    "baseline",
    "compared",
    "where",
    "measure",
    "mean_baseline",
    "mean_compared",
    "difference",
    "ci_low",
    "ci_high",
]
FINDINGS += ["cohens_dz", "n_classes", "n_pairs", "verdict"]
OF_JUDGE = ("judge_probability", "judge_top1", "judge_rank", "feature_ratio", "seed_agreement")
SEEN = {True: "higher", False: "lower"}
UNSEEN, FEW, UNKNOWN = "no difference seen", "too few classes to tell", "not measured"


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
    ci_low: float
    ci_high: float
    cohens_dz: float
    pairs: int

    @property
    def seen(self) -> bool:
        """Whether there are enough pairs, and the interval leaves out zero."""
        return self.pairs >= FEWEST and (self.ci_low > 0 or self.ci_high < 0)


def difference_of_labels(pairs: pd.DataFrame) -> tuple[pd.DataFrame, Difference]:
    """Return the means of each label, and what became of them, from a row a pair: ``label``, ``baseline`` and
    ``compared``.

    Dreams of one label are alike, so that each label's pairs are averaged first, and the interval is over labels.
    Pairs with a NaN are left out.
    """
    means = pairs.dropna().groupby("label")[["baseline", "compared"]].mean()
    return means, paired_difference(means["baseline"].to_numpy(), means["compared"].to_numpy())


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


def compute_contrasts(
    comparisons: Iterable[Comparison], grids: dict[str, Section], recipes: dict[str, Section], dreams: pd.DataFrame
) -> pd.DataFrame:
    """Return one row per comparison and measure of a study's experiment, with the columns of `FINDINGS`.

    `grids` are the recipes as the config writes them, `recipes` the same spread out; `dreams` is the study's table.
    Each class's pairs are averaged first, since its dreams are alike, so that means, the 95 % interval and the effect
    (d_z) are over classes. Where a judge measured, both dreams of a pair were its own to judge.
    """
    known = DreamQuery(grids, recipes, in_views(dreams))
    rows = []
    for comparison in comparisons:
        pairs = None if comparison.baseline is None else known.pairs(comparison)
        for measure in comparison.measures:
            found = _by_chance(known, comparison, measure) if pairs is None else _measured(known, pairs, measure)
            rows.append(_row(comparison, measure, found))
    return pd.DataFrame(rows, columns=FINDINGS)


def in_views(dreams: pd.DataFrame) -> pd.DataFrame:
    """Return a row a dream and view, its column ``view`` beside columns without a view's ending."""
    endless = [column for column in dreams if f"{column}_rescaled" in dreams]
    tables = []
    for view, ending in SUFFIX.items():
        others = [f"{column}{other}" for column in endless for other in SUFFIX.values() if other != ending]
        names = {f"{column}{ending}": column for column in endless}
        tables.append(dreams.drop(columns=others).rename(columns=names).assign(view=view))
    return pd.concat(tables, ignore_index=True)


def _measured(known: DreamQuery, pairs: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return a row a pair: its ``label``, and the measure ``baseline`` and ``compared``."""
    one, two = (known.table.loc[pairs[side]].reset_index(drop=True) for side in ("baseline", "compared"))
    found = pd.DataFrame({"label": one["label"], "baseline": one[measure], "compared": two[measure]})
    return found[one["judge"] == two["judge"]] if measure in OF_JUDGE else found


def _by_chance(known: DreamQuery, comparison: Comparison, measure: str) -> pd.DataFrame:
    """Return a row a dream: how often dreams of other labels are taken for its label, and whether it is.

    Were dreams no sign of what they are of, both would be the same on average, whatever a judge likes to see.
    """
    rows = known.side(comparison, comparison.compared)
    rows = rows[rows[measure].notna()]
    labels = rows["label"].unique()
    taken = {label: (rows.loc[rows["label"] != label, OF_CHANCE[measure]] == label).mean() for label in labels}
    return pd.DataFrame({"label": rows["label"], "baseline": rows["label"].map(taken), "compared": rows[measure]})


def _row(comparison: Comparison, measure: str, pairs: pd.DataFrame) -> list:
    means, found = difference_of_labels(pairs)
    before = CHANCE if comparison.baseline is None else say(comparison.baseline)
    sides = means.mean() if len(means) else (np.nan, np.nan)
    words = [comparison.vary, before, say(comparison.compared), where(comparison), measure]
    numbers = [*sides, found.mean, found.ci_low, found.ci_high, found.cohens_dz, found.pairs, len(pairs.dropna())]
    return [*words, *numbers, _word(found)]


def _word(found: Difference) -> str:
    if not found.pairs:
        return UNKNOWN
    if found.pairs < FEWEST:
        return FEW
    return SEEN[found.mean > 0] if found.seen else UNSEEN


def say(value: object) -> str:
    """Return a value of a config as people read it: ``random 0.1 to 1`` of ``{random: [0.1, 1.0]}``."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {say(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return " to ".join(map(say, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def where(comparison: Comparison) -> str:
    """Return what else counts in a comparison, as text: ``recipe bird, first step``; the usual is not told."""
    words = []
    for column, values in comparison.where.items():
        if USUAL.get(column) == values:
            continue
        told = " or ".join(map(say, values))
        words.append(f"{told} {column}" if values in (["first"], ["last"]) or column == "view" else f"{column} {told}")
    return ", ".join(words)

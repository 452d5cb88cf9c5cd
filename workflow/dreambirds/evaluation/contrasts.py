"""Contrasts of a question: effects and their confidence intervals."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from dreambirds.config.contrasts import CHANCE, CHANCE_COLUMNS, DEFAULT_WHERE, Comparison, DreamQuery, Group
from dreambirds.evaluation.columns import SUFFIX

RESAMPLES, CONFIDENCE = 2000, 0.95
ROUNDING = 1e-9  # a standard deviation below this fraction of the mean counts as 0
FEWEST = 5  # pairs needed to interpret an interval
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
OF_JUDGE = ("judge_probability", "judge_top1", "judge_rank", "judge_reference_top1")
OF_JUDGE += ("feature_ratio", "nearest_ratio", "seed_agreement")
DIRECTIONS = {True: "higher", False: "lower"}
NO_DIFFERENCE, TOO_FEW, NOT_MEASURED = "no difference seen", "too few classes to tell", "not measured"


def bootstrap_mean(values: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Return the mean of values (N,) and the bounds of its 95% interval.

    The interval is that of the percentile bootstrap (Efron 1979). NaN values are ignored. With fewer than two values
    the interval is NaN; with none, the mean is NaN too.
    """
    values = np.asarray(values, dtype=float)
    values = values[~np.isnan(values)]
    if len(values) < 2:
        return (float(values[0]) if len(values) else np.nan), np.nan, np.nan
    result = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=200,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(values.mean()), float(result.confidence_interval.low), float(result.confidence_interval.high)


@dataclass(frozen=True)
class Difference:
    """A mean paired difference, its 95% interval, and its effect size.

    `ci_low` and `ci_high` are the bounds of the interval, `pairs` is the number of pairs. The effect size is Cohen's d
    for pairs, d_z: the mean divided by the standard deviation of the differences (Lakens 2013).
    """

    mean: float
    ci_low: float
    ci_high: float
    cohens_dz: float
    pairs: int

    @property
    def significant(self) -> bool:
        """Whether there are enough pairs, and the interval excludes zero."""
        return self.pairs >= FEWEST and (self.ci_low > 0 or self.ci_high < 0)


def difference_of_labels(pairs: pd.DataFrame) -> tuple[pd.DataFrame, Difference]:
    """Return the means of each label, and the difference over labels.

    `pairs` has one row per pair: ``label``, ``baseline`` and ``compared``. Dreams of one label are not independent, so
    each label's pairs are averaged first, and the interval is over labels. Pairs with a NaN are ignored.
    """
    means = pairs.dropna().groupby("label")[["baseline", "compared"]].mean()
    return means, paired_difference(means["baseline"].to_numpy(), means["compared"].to_numpy())


def paired_difference(before: np.ndarray, after: np.ndarray) -> Difference:
    """Return the mean paired difference of `after` (N,) minus `before` (N,).

    Pairs with a NaN are ignored. The interval is Student's t. With about eight pairs, a percentile bootstrap interval
    would be too narrow.
    """
    differences = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    differences = differences[~np.isnan(differences)]
    pairs = len(differences)
    mean = float(differences.mean()) if pairs else np.nan
    spread = float(differences.std(ddof=1)) if pairs > 1 else np.nan
    margin = stats.t.ppf((1 + CONFIDENCE) / 2, pairs - 1) * spread / np.sqrt(pairs) if pairs > 1 else np.nan
    constant = 0.0 if mean == 0 else np.nan  # all differences are the same
    effect = mean / spread if spread > ROUNDING * abs(mean) else constant
    return Difference(mean, mean - margin, mean + margin, float(effect), pairs)


def compute_contrasts(comparisons: Iterable[Comparison], query: DreamQuery, dreams: pd.DataFrame) -> pd.DataFrame:
    """Return one row per comparison and measure of a question.

    The columns are `FINDINGS`. `query` selects dreams, whose metrics `dreams` contains, a table with the columns of
    ``dreams.csv``. Dreams of one class are not independent, so its pairs are averaged first: means, the 95% interval
    and the effect size (d_z) are over classes. For a judge's measures, only pairs with the same judge for both dreams
    count.
    """
    metrics = stack_views(dreams).astype({"epoch": float})
    rows = []
    for comparison in comparisons:
        own = metrics[metrics["label"].isin(query.compared_labels(comparison))]
        if comparison.baseline is None:
            compared = of_groups(own, query.side(comparison, comparison.compared))
            found = {measure: _by_chance(compared, measure) for measure in comparison.measures}
        else:
            sides = zip(*query.pairs(comparison), strict=True)
            one, two = (of_groups(own, groups) for groups in sides)
            found = {measure: _measured(one, two, measure) for measure in comparison.measures}
        rows += [_row(comparison, measure, values) for measure, values in found.items()]
    return pd.DataFrame(rows, columns=FINDINGS)


def of_groups(metrics: pd.DataFrame, groups: Sequence[Group]) -> pd.DataFrame:
    """Return the rows of groups, from a table with one row per dream and view.

    A column ``number`` is the position of the group, and rows are sorted by it and by the label.
    """
    chosen = pd.DataFrame(groups, columns=Group._fields).assign(number=range(len(groups))).astype({"epoch": float})
    return chosen.merge(metrics, on=list(Group._fields)).sort_values(["number", "label"], ignore_index=True)


def stack_views(dreams: pd.DataFrame) -> pd.DataFrame:
    """Return one row per dream and view.

    The result has a column ``view``, and metric columns without a view suffix.
    """
    metrics = [column for column in dreams if f"{column}_rescaled" in dreams]
    tables = []
    for view, suffix in SUFFIX.items():
        others = [f"{column}{other}" for column in metrics for other in SUFFIX.values() if other != suffix]
        names = {f"{column}{suffix}": column for column in metrics}
        tables.append(dreams.drop(columns=others).rename(columns=names).assign(view=view))
    return pd.concat(tables, ignore_index=True)


def _measured(one: pd.DataFrame, two: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return one row per pair: ``label``, ``baseline`` and ``compared``.

    The last two are the measure of both dreams. Rows of `one` and `two` at the same position are a pair.
    """
    values = pd.DataFrame({"label": one["label"], "baseline": one[measure], "compared": two[measure]})
    return values[one["judge"] == two["judge"]] if measure in OF_JUDGE else values


def _by_chance(rows: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return one row per dream: ``label``, ``baseline`` and ``compared``.

    ``compared`` is whether the dream is classified as its own label, ``baseline`` how often dreams of other labels are
    classified as this label. If dreams contained no information about their label, both would be the same on average,
    whichever classes a judge prefers.
    """
    rows = rows[rows[measure].notna()]
    labels = rows["label"].unique()
    confused = {label: (rows.loc[rows["label"] != label, CHANCE_COLUMNS[measure]] == label).mean() for label in labels}
    return pd.DataFrame({"label": rows["label"], "baseline": rows["label"].map(confused), "compared": rows[measure]})


def _row(comparison: Comparison, measure: str, pairs: pd.DataFrame) -> list:
    means, difference = difference_of_labels(pairs)
    before = CHANCE if comparison.baseline is None else format_value(comparison.baseline)
    sides = means.mean() if len(means) else (np.nan, np.nan)
    names = [comparison.vary, before, format_value(comparison.compared), format_filter(comparison), measure]
    interval = [difference.mean, difference.ci_low, difference.ci_high]
    counts = [difference.pairs, len(pairs.dropna())]
    return [*names, *sides, *interval, difference.cohens_dz, *counts, _verdict(difference)]


def _verdict(difference: Difference) -> str:
    if not difference.pairs:
        return NOT_MEASURED
    if difference.pairs < FEWEST:
        return TOO_FEW
    return DIRECTIONS[difference.mean > 0] if difference.significant else NO_DIFFERENCE


def format_value(value: object) -> str:
    """Return a config value as readable text.

    An example is ``random 0.1 to 1`` for ``{random: [0.1, 1.0]}``.
    """
    if isinstance(value, dict):
        return ", ".join(f"{name} {format_value(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return " to ".join(map(format_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def format_filter(comparison: Comparison) -> str:
    """Return the filter of a comparison as text.

    An example is ``recipe bird, first step``. Default conditions are omitted.
    """
    conditions = []
    for column, values in comparison.where.items():
        if DEFAULT_WHERE.get(column) == values:
            continue
        text = " or ".join(map(format_value, values))
        before = values in (["first"], ["last"]) or column == "view"
        conditions.append(f"{text} {column}" if before else f"{column} {text}")
    return ", ".join(conditions)

"""The answer of an experiment: what became of each measure where one thing was changed, and how sure that is."""

import numpy as np
import pandas as pd

from dreambirds.judging.columns import SUFFIX
from dreambirds.judging.statistics import FEWEST, Difference, difference_of_labels
from dreambirds.study.experiment import CHANCE, OF_CHANCE, USUAL, Comparison, Dreams
from dreambirds.study.plan import Plan

FINDINGS = ["vary", "before", "after", "where", "measure", "mean_before", "mean_after", "difference", "low", "high"]
FINDINGS += ["effect", "labels", "pairs", "answer"]
OF_JUDGE = ("judge_probability", "judge_top1", "judge_rank", "feature_ratio", "seed_agreement")
SEEN = {True: "higher", False: "lower"}
UNSEEN, FEW, UNKNOWN = "no difference seen", "too few classes to tell", "not measured"


def answer(plan: Plan, dreams: pd.DataFrame) -> pd.DataFrame:
    """Return a row a comparison and measure of the study's experiment, with the columns of `FINDINGS`.

    `dreams` is the study's table. Each class's pairs are averaged first, since its dreams are alike, so that means, the
    95 % interval and the effect (d_z) are over classes. Where a judge measured, both dreams of a pair were its own to
    judge.
    """
    known = Dreams(plan.config, plan.recipes, in_views(dreams))
    rows = []
    for comparison in plan.comparisons:
        pairs = None if comparison.before is None else known.pairs(comparison)
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


def _measured(known: Dreams, pairs: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return a row a pair: its ``label``, and the measure ``before`` and ``after``."""
    one, two = (known.table.loc[pairs[side]].reset_index(drop=True) for side in ("before", "after"))
    found = pd.DataFrame({"label": one["label"], "before": one[measure], "after": two[measure]})
    return found[one["judge"] == two["judge"]] if measure in OF_JUDGE else found


def _by_chance(known: Dreams, comparison: Comparison, measure: str) -> pd.DataFrame:
    """Return a row a dream: how often dreams of other labels are taken for its label, and whether it is.

    Were dreams no sign of what they are of, both would be the same on average, whatever a judge likes to see.
    """
    rows = known.side(comparison, comparison.after)
    rows = rows[rows[measure].notna()]
    labels = rows["label"].unique()
    taken = {label: (rows.loc[rows["label"] != label, OF_CHANCE[measure]] == label).mean() for label in labels}
    return pd.DataFrame({"label": rows["label"], "before": rows["label"].map(taken), "after": rows[measure]})


def _row(comparison: Comparison, measure: str, pairs: pd.DataFrame) -> list:
    means, found = difference_of_labels(pairs)
    before = CHANCE if comparison.before is None else say(comparison.before)
    sides = means.mean() if len(means) else (np.nan, np.nan)
    words = [comparison.vary, before, say(comparison.after), where(comparison), measure]
    numbers = [*sides, found.mean, found.low, found.high, found.effect, found.pairs, len(pairs.dropna())]
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

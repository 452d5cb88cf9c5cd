"""The answer of an experiment: what became of each measure where one thing was changed, and how sure that is."""

import numpy as np
import pandas as pd

from dreambirds.judging.statistics import FEWEST, Difference, difference_of_labels
from dreambirds.study.experiment import ENDS, USUAL, WITHOUT_VIEW, Comparison, Dreams
from dreambirds.study.plan import Plan

FINDINGS = ["vary", "before", "after", "where", "measure", "mean_before", "mean_after", "difference", "low", "high"]
FINDINGS += ["effect", "labels", "pairs", "answer"]
SEEN = {True: "higher", False: "lower"}
UNSEEN, FEW, UNKNOWN = "no difference seen", "too few classes to tell", "not measured"


def answer(plan: Plan, dreams: pd.DataFrame, judges: pd.DataFrame) -> pd.DataFrame:
    """Return a row a comparison and measure of the study's experiment, with the columns of `FINDINGS`.

    `dreams` and `judges` are the study's tables. Dreams that are alike in all but what is varied are pairs; those of
    one class are alike, so that each class's pairs are averaged first, and means, the 95 % interval and the effect
    (d_z) are over classes. Chance is one by the judge's classes, or by the study's for the dreamer's own word.
    """
    rows = []
    for comparison in plan.comparisons:
        for measure in comparison.measures:
            pairs = _pairs(plan, dreams, judges, comparison, measure)
            rows.append(_row(comparison, measure, pairs))
    return pd.DataFrame(rows, columns=FINDINGS)


def by_view(dreams: pd.DataFrame) -> pd.DataFrame:
    """Return a row a dream and view, its column ``view`` beside columns without a view's ending."""
    tables = []
    for view, ending in {"raw": "", "rescaled": "_rescaled"}.items():
        endless = [column for column in dreams if f"{column}_rescaled" in dreams]
        names = {f"{column}{ending}": column for column in endless}
        apart = [f"{column}_rescaled" if not ending else column for column in endless]
        tables.append(dreams.drop(columns=apart).rename(columns=names).assign(view=view))
    return pd.concat(tables, ignore_index=True)


def _pairs(
    plan: Plan, dreams: pd.DataFrame, judges: pd.DataFrame, comparison: Comparison, measure: str
) -> pd.DataFrame:
    """Return a row a pair: its ``label``, and the measure ``before`` and ``after``."""
    known = Dreams(plan.config, plan.recipes, by_view(dreams))
    after = _side(known, comparison, comparison.after, measure)
    if comparison.before is None:
        chance = 1 / len(plan.labels) if measure in WITHOUT_VIEW else _chance(after, judges)
        return after.assign(before=chance, after=after[measure])[["label", "before", "after"]]
    before = _side(known, comparison, comparison.before, measure)
    both = before.merge(after, on=["label", "partner", *_shared(comparison)], suffixes=("_before", "_after"))
    both = both.rename(columns={f"{measure}_before": "before", f"{measure}_after": "after"})
    return both[["label", "before", "after"]]


def _side(known: Dreams, comparison: Comparison, value: object, measure: str) -> pd.DataFrame:
    rows = known.pick({**comparison.where, comparison.vary: [value]})
    kept = rows[["run", "epoch", "step", "view", "label", "judge", measure]]
    return kept.assign(partner=known.partners(rows, comparison.vary))


def _shared(comparison: Comparison) -> list[str]:
    """Return the columns that pairs share: not what varies, nor what are the last epochs of runs or steps of recipes,
    since others may have other ones."""
    vary = comparison.vary
    loose = "epoch" if vary == "run" else None if vary in ("epoch", "step", "view") else "step"
    if loose and not set(comparison.where[loose]) <= set(ENDS):
        loose = None
    return [column for column in ("run", "epoch", "step", "view") if column not in (vary, loose)]


def _chance(rows: pd.DataFrame, judges: pd.DataFrame) -> pd.Series:
    return 1 / rows["judge"].map(judges.set_index("judge")["classes"])


def _row(comparison: Comparison, measure: str, pairs: pd.DataFrame) -> list:
    means, found = difference_of_labels(pairs)
    before = "chance" if comparison.before is None else say(comparison.before)
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

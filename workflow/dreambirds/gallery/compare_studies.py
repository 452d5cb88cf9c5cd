"""Two studies side by side: in which parameters they differ, and what that did to the measurements."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dreambirds.errors import StudyError
from dreambirds.gallery.compare_tables import JOB, LOWER_IS_BETTER, MEASURES, Study, at_last_step, plain
from dreambirds.judging.statistics import difference_of_labels

MOST_PAIRS = 36


@dataclass(frozen=True)
class Effect:
    """What became of a measurement: its means over the pairs, the mean difference (second less first) with the ends of
    its 95 % interval, and of how many labels and pairs it is; ``verdict`` is better, worse, or empty."""

    measure: str
    first: float
    second: float
    mean: float
    low: float
    high: float
    labels: int
    pairs: int
    verdict: str


def differences(first: Study, second: Study) -> pd.DataFrame:
    """Return the settings in which two studies differ: ``of`` (the study, a run or a recipe), ``parameter``, and the
    values ``first`` and ``second``, NaN where a study has none.

    Runs and recipes of one name are compared; where the studies share no name, the first of each. What only one study
    has is one row.
    """
    rows = []
    for kind, told in (("study", _study), ("run", _runs), ("recipe", _recipes)):
        for name, one, two in _matched(told(first), told(second)):
            keys = [key for key in {**one, **two} if str(one.get(key)) != str(two.get(key))]
            rows += [(f"{kind} {name}".strip(), key, one.get(key, np.nan), two.get(key, np.nan)) for key in keys]
    return pd.DataFrame(rows, columns=["of", "parameter", "first", "second"])


def _matched(ours: dict[str, dict], theirs: dict[str, dict]) -> Iterator[tuple[str, dict, dict]]:
    shared = [name for name in ours if name in theirs]
    yield from ((name, ours[name], theirs[name]) for name in shared)
    alone, strange = ([name for name in found if name not in shared] for found in (ours, theirs))
    if not shared:
        one, two = alone.pop(0), strange.pop(0)
        yield f"{one} / {two}", ours[one], theirs[two]
    yield from ((name, {"": "there"}, {}) for name in alone)
    yield from ((name, {}, {"": "there"}) for name in strange)


def _study(study: Study) -> dict[str, dict]:
    judges = [judge for judge in study.dreams["judge"].unique() if judge]
    return {"": {"labels": ", ".join(study.dreams["label"].unique()), "judge": ", ".join(judges) or np.nan}}


def _runs(study: Study) -> dict[str, dict]:
    return {run: _run(rows) for run, rows in study.runs.groupby("run", sort=False)}


def _run(rows: pd.DataFrame) -> dict:
    """Return what runs.csv tells of a run; its settings only where it has such a column, of JSON."""
    settings = json.loads(rows["settings"].iloc[0]) if "settings" in rows else {}
    told = {name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()}
    return {**told, "model": rows["model"].iloc[0], "epochs": ", ".join(f"{epoch:g}" for epoch in rows["epoch"])}


def _recipes(study: Study) -> dict[str, dict]:
    rows = study.dreams.drop_duplicates("recipe").to_dict("records")
    return {row["recipe"]: {name: plain(row[name]) for name in study.parameters} for row in rows}


def pairs(first: Study, second: Study) -> pd.DataFrame:
    """Return a row for each two dreams that belong together, with the columns of both, suffixed ``_1`` and ``_2``.

    They share label and step, and their run, epoch and recipe as far as the studies share any. Where the studies share
    no step, the last ones are paired; where they share no run, epoch or recipe, dreams are paired by their place: the
    last epoch, the first run and recipe. Of each trajectory only the last step is taken. Raises StudyError if no
    dreams belong together.
    """
    one, two = first.dreams, second.dreams
    if not set(one["label"]) & set(two["label"]):
        raise StudyError(f"'{first.folder}' and '{second.folder}' have no label in common, so nothing to compare")
    shared = {column: set(one[column]) & set(two[column]) for column in JOB}
    one, two = (_only(table, shared) for table in (one, two))
    keys = ["label", *(column for column in JOB if shared[column])]
    both = one.merge(two, on=[*keys, "step"], suffixes=("_1", "_2"))
    if both.empty:
        one, two = at_last_step(one), at_last_step(two)
        both = one.merge(two, on=keys, suffixes=("_1", "_2"))
        both = pd.concat([both, both[["step_1", "step_2"]].max(axis="columns").rename("step")], axis="columns")
    if both.empty:
        raise StudyError(f"'{first.folder}' and '{second.folder}' have no dreams that belong together")
    return both[both["step"] == both.groupby(keys)["step"].transform("max")].reset_index(drop=True)


def _only(table: pd.DataFrame, shared: dict[str, set]) -> pd.DataFrame:
    """Return the dreams whose run, epoch and recipe are shared; of those that share none, one: the last epoch, or the
    first run or recipe."""
    for column, values in shared.items():
        alone = table["epoch"].max() if column == "epoch" else table[column].iloc[0]
        table = table[table[column].isin(values or {alone})]
    return table


def effects(both: pd.DataFrame) -> list[Effect]:
    """Return what became of each measurement, over the `pairs` of two studies, averaged by label."""
    return [effect for name in MEASURES if (effect := _effect(name, both)) is not None]


def _effect(name: str, both: pd.DataFrame) -> Effect | None:
    known = both[["label", f"{name}_1", f"{name}_2"]].set_axis(["label", "before", "after"], axis="columns").dropna()
    if known.empty:
        return None
    means, found = difference_of_labels(known)
    good = (found.mean < 0) == (name in LOWER_IS_BETTER)
    verdict = ("better" if good else "worse") if found.seen else ""
    sides = means.mean()
    return Effect(name, *sides, found.mean, found.low, found.high, len(means), len(known), verdict)


def most_different(both: pd.DataFrame, most: int = MOST_PAIRS) -> tuple[pd.DataFrame, str]:
    """Return the pairs that differ most, at most so many, and by which measurement: the judge's probability, or the
    model's own where no judge could tell."""
    by = "judge_probability"
    if both[[f"{by}_1", f"{by}_2"]].isna().any(axis="columns").all():
        by = "own_probability"
    apart = (both[f"{by}_2"] - both[f"{by}_1"]).abs()
    return both.loc[apart.nlargest(most).index], by

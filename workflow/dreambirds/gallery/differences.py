"""Differences between two studies: their settings, and the measurements of their dreams in pairs."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dreambirds.errors import UserError
from dreambirds.gallery.comparison import JOB, LOWER_IS_BETTER, MEASURES, Study, at_last_step, parameter_text

MOST_PAIRS = 36


@dataclass(frozen=True)
class Effect:
    """The difference of a metric between two studies.

    `first` and `second` are the means of the two studies, and `mean` is the mean difference, second minus first. The
    ends of its 95% interval and the numbers of labels and pairs follow. `verdict` is better, worse, or empty.
    """

    measure: str
    first: float
    second: float
    mean: float
    ci_low: float
    ci_high: float
    n_classes: int
    n_pairs: int
    verdict: str


def differences(first: Study, second: Study) -> pd.DataFrame:
    """Return the settings in which two studies differ.

    The columns are ``of`` (the study, a run, or a recipe), ``parameter``, and the values ``first`` and ``second``, NaN
    if a study does not have the parameter. Runs and recipes are compared by name, or the first of each study if they
    share no name. A run or recipe that only one study has is one row.
    """
    rows = []
    for kind, settings_of in (("study", _study), ("run", _runs), ("recipe", _recipes)):
        for name, one, two in _matched(settings_of(first), settings_of(second)):
            keys = [key for key in {**one, **two} if str(one.get(key)) != str(two.get(key))]
            rows += [(f"{kind} {name}".strip(), key, one.get(key, np.nan), two.get(key, np.nan)) for key in keys]
    return pd.DataFrame(rows, columns=["of", "parameter", "first", "second"])


def _matched(first: dict[str, dict], second: dict[str, dict]) -> Iterator[tuple[str, dict, dict]]:
    shared = [name for name in first if name in second]
    yield from ((name, first[name], second[name]) for name in shared)
    only_first, only_second = ([name for name in names if name not in shared] for names in (first, second))
    if not shared:
        one, two = only_first.pop(0), only_second.pop(0)
        yield f"{one} / {two}", first[one], second[two]
    yield from ((name, {"": "present"}, {}) for name in only_first)
    yield from ((name, {}, {"": "present"}) for name in only_second)


def _study(study: Study) -> dict[str, dict]:
    judges = [judge for judge in study.dreams["judge"].unique() if judge]
    return {"": {"labels": ", ".join(study.dreams["label"].unique()), "judge": ", ".join(judges) or np.nan}}


def _runs(study: Study) -> dict[str, dict]:
    return {run: _run(rows) for run, rows in study.runs.groupby("run", sort=False)}


def _seeds(seeds: pd.Series) -> str:
    return ", ".join(str(parameter_text(seed)) for seed in sorted(seeds.dropna().unique())) or "—"


def _run(rows: pd.DataFrame) -> dict:
    """Return a run's settings from its rows of runs.csv: the optional JSON column ``settings``, model, and epochs."""
    settings = json.loads(rows["settings"].iloc[0]) if "settings" in rows else {}
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()}
    epochs = ", ".join(f"{epoch:g}" for epoch in rows["epoch"].unique())
    return {**texts, "training_seed": _seeds(rows["training_seed"]), "model": rows["model"].iloc[0], "epochs": epochs}


def _recipes(study: Study) -> dict[str, dict]:
    seeds = study.dreams.groupby("recipe")["dream_seed"].agg(_seeds)
    return {
        row["recipe"]: {
            "dream_seed": seeds[row["recipe"]],
            **{name: parameter_text(row[name]) for name in study.parameters},
        }
        for row in study.dreams.drop_duplicates("recipe").to_dict("records")
    }


def pool_seeds(dreams: pd.DataFrame) -> pd.DataFrame:
    """Return one row per (run, epoch, recipe, label, step): the means of `MEASURES`, and the number of ``dreams``.

    The other columns, such as the paths of the images, are those of the first of these dreams.
    """
    keys = [*JOB, "label", "step"]
    groups = dreams.groupby(keys, sort=False)
    means = groups[list(MEASURES)].mean().assign(dreams=groups.size())
    return dreams.drop(columns=list(MEASURES)).drop_duplicates(keys).merge(means.reset_index(), on=keys)


def pairs(first: Study, second: Study) -> pd.DataFrame:
    """Return one row per pair of dreams, with the columns of both, suffixed ``_1`` and ``_2``.

    The dreams of all seeds are pooled by `pool_seeds`. The dreams of a pair have the same label, and the same run,
    epoch, recipe and step if the studies share any. If they share no run or recipe, the first one of each study is
    used; if they share no epoch or step, the last one. Of each dream only the last shared step is used. Raises
    UserError if there are no pairs.
    """
    one, two = pool_seeds(first.dreams), pool_seeds(second.dreams)
    if not set(one["label"]) & set(two["label"]):
        raise UserError(
            f"'{first.folder}' and '{second.folder}' have no label in common; compare studies that share one"
        )
    shared = {column: set(one[column]) & set(two[column]) for column in JOB}
    one, two = (_only(table, shared) for table in (one, two))
    keys = ["label", *(column for column in JOB if shared[column])]
    both = one.merge(two, on=[*keys, "step"], suffixes=("_1", "_2"))
    if both.empty:
        one, two = at_last_step(one), at_last_step(two)
        both = one.merge(two, on=keys, suffixes=("_1", "_2"))
        both = pd.concat([both, both[["step_1", "step_2"]].max(axis="columns").rename("step")], axis="columns")
    if both.empty:
        raise UserError(
            f"'{first.folder}' and '{second.folder}' have no dreams of the same label, run, epoch and recipe; "
            "compare studies that share some"
        )
    return both[both["step"] == both.groupby(keys)["step"].transform("max")].reset_index(drop=True)


def _only(table: pd.DataFrame, shared: dict[str, set]) -> pd.DataFrame:
    """Return the dreams whose run, epoch and recipe both studies have.

    For a column without shared values, keep the first run or recipe of the remaining dreams, or the last epoch.
    """
    for column, values in shared.items():
        table = table[table[column].isin(values)] if values else table
    for column in ("run", "recipe", "epoch"):
        if not shared[column] and len(table):
            table = table[table[column] == (table["epoch"].max() if column == "epoch" else table[column].iloc[0])]
    return table


def effects(both: pd.DataFrame) -> list[Effect]:
    """Return the effect on each metric that was measured, from the `pairs` of two studies, averaged by label."""
    return [effect for name in MEASURES if (effect := _effect(name, both)) is not None]


def _effect(name: str, both: pd.DataFrame) -> Effect | None:
    known = (
        both[["label", f"{name}_1", f"{name}_2"]].set_axis(["label", "baseline", "compared"], axis="columns").dropna()
    )
    if known.empty:
        return None
    from dreambirds.evaluation.contrasts import difference_of_labels  # scipy.stats takes long to import

    means, found = difference_of_labels(known)
    good = (found.mean < 0) == (name in LOWER_IS_BETTER)
    verdict = ("better" if good else "worse") if found.significant else ""
    sides = means.mean()
    return Effect(name, *sides, found.mean, found.ci_low, found.ci_high, len(means), len(known), verdict)


def most_different(both: pd.DataFrame, most: int = MOST_PAIRS) -> tuple[pd.DataFrame, str]:
    """Return the at most `most` pairs that differ most, and the metric by which they are ranked.

    The metric is the judge's probability, or the dreamer's probability if no pair was judged in both studies.
    """
    by = "judge_probability"
    if both[[f"{by}_1", f"{by}_2"]].isna().any(axis="columns").all():
        by = "dreamer_probability"
    distance = (both[f"{by}_2"] - both[f"{by}_1"]).abs()
    return both.loc[distance.nlargest(most).index], by

"""Comparison of studies: reading their tables, summaries of runs and recipes, and differences between two studies."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dreambirds.data.tables import read_table
from dreambirds.errors import UserError, did_you_mean
from dreambirds.evaluation.columns import DISPLAY_NAMES

MOST_PAIRS = 36
LOWER_IS_BETTER = ("feature_ratio", "spectrum_distance", "seconds")
MEASURES = {
    name: DISPLAY_NAMES[name] for name in ("dreamer_probability", "judge_probability", "judge_top1", *LOWER_IS_BETTER)
}
JOB = ["run", "epoch", "recipe"]
RESULTS = Path("results")
REMEDY = "delete it and run the study again to rebuild it"
BEFORE_PARAMETERS = "image_path_rescaled"  # the recipe's parameters are the columns of dreams.csv after this one


@dataclass(frozen=True)
class Study:
    """A study's results folder, its table with one row per dream, and its table with one row per checkpoint."""

    folder: Path
    dreams: pd.DataFrame
    runs: pd.DataFrame

    @property
    def parameters(self) -> list[str]:
        """The columns of `dreams` that contain the recipe's parameters."""
        return list(self.dreams)[self.dreams.columns.get_loc(BEFORE_PARAMETERS) + 1 :]


def read_study(folder: Path) -> Study:
    """Read a study's tables from its results folder, such as ``results/default``.

    Raises UserError if the folder does not exist, or if one of its tables is missing, unreadable, or lacks a column.
    """
    if not folder.is_dir():
        raise UserError(f"the results folder '{folder}' does not exist; {_suggest(folder)}")
    return Study(folder, *(_read(folder / f"{name}.csv", needed) for name, needed in _NEEDED.items()))


def _suggest(folder: Path) -> str:
    for parent in (folder.parent, RESULTS):
        if studies := [str(path.parent) for path in parent.glob("*/dreams.csv")]:
            return did_you_mean(folder, studies, "available")
    return f"'{RESULTS}' contains no study: run one first"


_NEEDED = {
    "dreams": [*JOB, "label", "class_name", "step", *MEASURES, "image_path", BEFORE_PARAMETERS],
    "runs": ["run", "epoch", "model", "validation_accuracy"],
}


def _read(path: Path, needed: list[str]) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(f"'{path}' does not exist; run the study first (its rule 'measurements' writes this table)")
    table = read_table(path, end=REMEDY)
    missing = [column for column in needed if column not in table]
    if missing:
        raise UserError(f"'{path}' has no column '{missing[0]}'; {REMEDY}")
    return table


def varying(study: Study) -> list[str]:
    """Return the names of the parameters in which the study's recipes differ."""
    recipes = study.dreams.drop_duplicates("recipe")
    return [name for name in study.parameters if recipes[name].nunique(dropna=False) > 1]


def recipes(study: Study) -> pd.DataFrame:
    """Return one row per recipe: its name, and as text the parameters in which the recipes differ."""
    table = study.dreams.drop_duplicates("recipe")[["recipe", *varying(study)]].reset_index(drop=True)
    return table.assign(**{name: table[name].astype(object).map(parameter_text) for name in table.columns[1:]})


def at_last_step(dreams: pd.DataFrame) -> pd.DataFrame:
    """Return the dreams at their recipe's last step."""
    return dreams[dreams["step"] == dreams.groupby("recipe")["step"].transform("max")]


def summary(study: Study, sort: str | None = None) -> pd.DataFrame:
    """Return one row per (run, epoch, recipe), with means over its dreams at the last step.

    The columns are run, epoch, ``validation_accuracy``, recipe, dreams (their number), `MEASURES` (NaN if not
    measured), and the parameters that vary. Rows are grouped by run. Within a run they are sorted by epoch, or by the
    column `sort`, with the best or largest value first. Raises UserError if there is no column `sort`.
    """
    last = at_last_step(study.dreams)
    jobs = last.groupby(JOB, sort=False)
    table = jobs[list(MEASURES)].mean().join(jobs.size().rename("dreams")).reset_index()
    table = table.merge(study.runs[["run", "epoch", "validation_accuracy"]], on=["run", "epoch"], how="left")
    table = table.merge(recipes(study), on="recipe", how="left")
    table = table[["run", "epoch", "validation_accuracy", "recipe", "dreams", *MEASURES, *varying(study)]]
    if sort is not None and sort not in table:
        raise UserError(f"--sort: unknown column '{sort}'; {did_you_mean(sort, table, 'available')}")
    if sort is not None:
        descending = sort not in ("run", "epoch", "recipe", *LOWER_IS_BETTER)
        table = table.sort_values(sort, ascending=not descending, kind="stable", key=_sort_key)
    else:
        table = table.sort_values("epoch", kind="stable")
    runs = list(study.dreams["run"].unique())
    return table.sort_values("run", kind="stable", key=lambda names: names.map(runs.index), ignore_index=True)


def _sort_key(values: pd.Series) -> pd.Series:
    """Return a column as numbers if all of its values are numeric, otherwise as text."""
    numbers = pd.to_numeric(values, errors="coerce")
    return numbers if numbers.notna().sum() == values.notna().sum() else values.astype(str)


def best(table: pd.DataFrame) -> pd.DataFrame:
    """Return, for each row of a `summary` and each of `MEASURES`, whether the value is the best of all rows.

    No value is best if all values are the same, or if there is only one.
    """
    marked = pd.DataFrame(False, index=table.index, columns=list(MEASURES))
    for name in MEASURES:
        values = table[name]
        top = values.min() if name in LOWER_IS_BETTER else values.max()
        if values.nunique() > 1:
            marked[name] = np.isclose(values, top, rtol=1e-9, atol=0)
    return marked


def format_cell(value: object) -> str:
    """Return a value of a table as display text, or a dash if it is missing."""
    if value is None or value != value:
        return "—"
    return f"{value:g}" if isinstance(value, (float, np.floating)) else str(value)


def format_measurement(value: float) -> str:
    """Return a measurement with three decimals, or a dash if it is NaN."""
    return "—" if value != value else f"{value:.3f}"


def parameter_text(value: object) -> object:
    """Return a parameter as text; NaN is returned unchanged.

    An integer and the equal float give the same text, because pandas reads a column as either, depending on its other
    values.
    """
    if value != value:
        return value
    try:
        return f"{float(value):g}"
    except ValueError:
        return str(value)


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


def _run(rows: pd.DataFrame) -> dict:
    """Return a run's settings from its rows of runs.csv: the optional JSON column ``settings``, model, and epochs."""
    settings = json.loads(rows["settings"].iloc[0]) if "settings" in rows else {}
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()}
    return {**texts, "model": rows["model"].iloc[0], "epochs": ", ".join(f"{epoch:g}" for epoch in rows["epoch"])}


def _recipes(study: Study) -> dict[str, dict]:
    rows = study.dreams.drop_duplicates("recipe").to_dict("records")
    return {row["recipe"]: {name: parameter_text(row[name]) for name in study.parameters} for row in rows}


def pairs(first: Study, second: Study) -> pd.DataFrame:
    """Return one row per pair of dreams, with the columns of both, suffixed ``_1`` and ``_2``.

    The dreams of a pair have the same label, and the same run, epoch, recipe and step if the studies share any. If
    they share no run or recipe, the first one of each study is used; if they share no epoch or step, the last one. Of
    each dream only the last shared step is used. Raises UserError if there are no pairs.
    """
    one, two = first.dreams, second.dreams
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

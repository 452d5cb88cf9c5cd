"""Compare studies side by side: what they are, and the tables of their runs and recipes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dreambirds.data.tables import read_table
from dreambirds.errors import UserError, did_you_mean
from dreambirds.evaluation.columns import DISPLAY_NAMES
from dreambirds.evaluation.contrasts import difference_of_labels

MOST_PAIRS = 36
MEASURES = {
    name: DISPLAY_NAMES[name]
    for name in (
        "dreamer_probability",
        "judge_probability",
        "judge_top1",
        "feature_ratio",
        "spectrum_distance",
        "seconds",
    )
}
LOWER_IS_BETTER = ("feature_ratio", "spectrum_distance", "seconds")
JOB = ["run", "epoch", "recipe"]
RESULTS = Path("results")
ANEW = "delete it and run the study again"
BEFORE_PARAMETERS = "image_path_rescaled"  # dreams.csv ends in the recipe's parameters


@dataclass(frozen=True)
class Study:
    """A study's folder, its table of dreams (a row a dream) and its table of checkpoints (a row a checkpoint)."""

    folder: Path
    dreams: pd.DataFrame
    runs: pd.DataFrame

    @property
    def parameters(self) -> list[str]:
        """The columns of `dreams` that hold a recipe's parameters."""
        return list(self.dreams)[self.dreams.columns.get_loc(BEFORE_PARAMETERS) + 1 :]


def read_study(folder: Path) -> Study:
    """Return the tables of a study's results, such as ``results/default``.

    Raises UserError if there is no such folder, or no table of dreams in it.
    """
    if not folder.is_dir():
        raise UserError(f"there is no study '{folder}'; {_others(folder)}")
    return Study(folder, *(_read(folder / f"{name}.csv", needed) for name, needed in _NEEDED.items()))


def _others(folder: Path) -> str:
    for place in (folder.parent, RESULTS):
        if beside := [str(path.parent) for path in place.glob("*/dreams.csv")]:
            return did_you_mean(folder, beside)
    return f"'{RESULTS}' holds none either; run one first"


_NEEDED = {
    "dreams": [*JOB, "label", "class_name", "step", *MEASURES, "image_path", BEFORE_PARAMETERS],
    "runs": ["run", "epoch", "model", "validation_accuracy"],
}


def _read(path: Path, needed: list[str]) -> pd.DataFrame:
    if not path.is_file():
        raise UserError(f"there is no '{path}'; run the study first, its rule 'measurements' writes it")
    table = read_table(path, end=ANEW)
    missing = [column for column in needed if column not in table]
    if missing:
        raise UserError(f"'{path}' has no column '{missing[0]}'; {ANEW}")
    return table


def varying(study: Study) -> list[str]:
    """Return the parameters in which the study's recipes differ from each other."""
    recipes = study.dreams.drop_duplicates("recipe")
    return [name for name in study.parameters if recipes[name].nunique(dropna=False) > 1]


def recipes(study: Study) -> pd.DataFrame:
    """Return a row a recipe: its name, and as text the parameters in which the recipes differ."""
    table = study.dreams.drop_duplicates("recipe")[["recipe", *varying(study)]].reset_index(drop=True)
    return table.assign(**{name: table[name].astype(object).map(plain) for name in table.columns[1:]})


def at_last_step(dreams: pd.DataFrame) -> pd.DataFrame:
    """Return the dreams at their recipe's last step."""
    return dreams[dreams["step"] == dreams.groupby("recipe")["step"].transform("max")]


def summary(study: Study, sort: str | None = None) -> pd.DataFrame:
    """Return a row a (run, epoch, recipe), grouped by run: what varies, how many dreams, and means at the last step.

    The columns are run, epoch, ``validation_accuracy``, recipe, dreams, those of `MEASURES`, in which a NaN stands for
    what was not measured, and the varying parameters. Within a run the rows follow training, or the column
    `sort`, the best or largest first. Raises UserError if there is no such column.
    """
    last = at_last_step(study.dreams)
    jobs = last.groupby(JOB, sort=False)
    table = jobs[list(MEASURES)].mean().join(jobs.size().rename("dreams")).reset_index()
    table = table.merge(study.runs[["run", "epoch", "validation_accuracy"]], on=["run", "epoch"], how="left")
    table = table.merge(recipes(study), on="recipe", how="left")
    table = table[["run", "epoch", "validation_accuracy", "recipe", "dreams", *MEASURES, *varying(study)]]
    if sort is not None and sort not in table:
        raise UserError(f"--sort: there is no column '{sort}'; {did_you_mean(sort, table)}")
    if sort is not None:
        down = sort not in ("run", "epoch", "recipe", *LOWER_IS_BETTER)
        table = table.sort_values(sort, ascending=not down, kind="stable", key=_in_order)
    else:
        table = table.sort_values("epoch", kind="stable")
    runs = list(study.dreams["run"].unique())
    return table.sort_values("run", kind="stable", key=lambda names: names.map(runs.index), ignore_index=True)


def _in_order(values: pd.Series) -> pd.Series:
    """Return a column as it sorts: as numbers where all of it are, else as text."""
    numbers = pd.to_numeric(values, errors="coerce")
    return numbers if numbers.notna().sum() == values.notna().sum() else values.astype(str)


def best(table: pd.DataFrame) -> pd.DataFrame:
    """Return, for each row of a `summary` and each of `MEASURES`, whether it holds the best value of all rows.

    Nothing is best where all values are the same, or where there is one row.
    """
    marked = pd.DataFrame(False, index=table.index, columns=list(MEASURES))
    for name in MEASURES:
        values = table[name]
        top = values.min() if name in LOWER_IS_BETTER else values.max()
        if values.nunique() > 1:
            marked[name] = np.isclose(values, top, rtol=1e-9, atol=0)
    return marked


def said(value: object) -> str:
    """Return a name or a number of a table as people read it, a dash where there is none."""
    if value is None or value != value:
        return "—"
    return f"{value:g}" if isinstance(value, (float, np.floating)) else str(value)


def measured(value: float) -> str:
    """Return a measurement with three decimals, a dash where there is none."""
    return "—" if value != value else f"{value:.3f}"


def plain(value: object) -> object:
    """Return a parameter as text, the same for 1 and 1.0, which depends on what else stands in its column; no value
    stays as it is."""
    if value != value:
        return value
    try:
        return f"{float(value):g}"
    except ValueError:
        return str(value)


@dataclass(frozen=True)
class Effect:
    """What became of a measurement: its means over the pairs, the mean difference (second less first) with the ends of
    its 95 % interval, and of how many labels and pairs it is; ``verdict`` is better, worse, or empty."""

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
    last epoch, the first run and recipe. Of each trajectory only the last step is taken. Raises UserError if no
    dreams belong together.
    """
    one, two = first.dreams, second.dreams
    if not set(one["label"]) & set(two["label"]):
        raise UserError(f"'{first.folder}' and '{second.folder}' have no label in common, so nothing to compare")
    shared = {column: set(one[column]) & set(two[column]) for column in JOB}
    one, two = (_only(table, shared) for table in (one, two))
    keys = ["label", *(column for column in JOB if shared[column])]
    both = one.merge(two, on=[*keys, "step"], suffixes=("_1", "_2"))
    if both.empty:
        one, two = at_last_step(one), at_last_step(two)
        both = one.merge(two, on=keys, suffixes=("_1", "_2"))
        both = pd.concat([both, both[["step_1", "step_2"]].max(axis="columns").rename("step")], axis="columns")
    if both.empty:
        raise UserError(f"'{first.folder}' and '{second.folder}' have no dreams that belong together")
    return both[both["step"] == both.groupby(keys)["step"].transform("max")].reset_index(drop=True)


def _only(table: pd.DataFrame, shared: dict[str, set]) -> pd.DataFrame:
    """Return the dreams whose run, epoch and recipe are shared; of those that share none, one: the first run or recipe
    that is left, or the last epoch."""
    for column, values in shared.items():
        table = table[table[column].isin(values)] if values else table
    for column in ("run", "recipe", "epoch"):
        if not shared[column] and len(table):
            table = table[table[column] == (table["epoch"].max() if column == "epoch" else table[column].iloc[0])]
    return table


def effects(both: pd.DataFrame) -> list[Effect]:
    """Return what became of each measurement, over the `pairs` of two studies, averaged by label."""
    return [effect for name in MEASURES if (effect := _effect(name, both)) is not None]


def _effect(name: str, both: pd.DataFrame) -> Effect | None:
    known = (
        both[["label", f"{name}_1", f"{name}_2"]].set_axis(["label", "baseline", "compared"], axis="columns").dropna()
    )
    if known.empty:
        return None
    means, found = difference_of_labels(known)
    good = (found.mean < 0) == (name in LOWER_IS_BETTER)
    verdict = ("better" if good else "worse") if found.seen else ""
    sides = means.mean()
    return Effect(name, *sides, found.mean, found.ci_low, found.ci_high, len(means), len(known), verdict)


def most_different(both: pd.DataFrame, most: int = MOST_PAIRS) -> tuple[pd.DataFrame, str]:
    """Return the pairs that differ most, at most so many, and by which measurement: the judge's probability, or the
    model's own where no judge could tell."""
    by = "judge_probability"
    if both[[f"{by}_1", f"{by}_2"]].isna().any(axis="columns").all():
        by = "dreamer_probability"
    apart = (both[f"{by}_2"] - both[f"{by}_1"]).abs()
    return both.loc[apart.nlargest(most).index], by

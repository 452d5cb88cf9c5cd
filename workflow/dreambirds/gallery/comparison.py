"""Tables of a study for comparisons, with the seeds pooled, and the summary of its runs and recipes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dreambirds.data.tables import read_table
from dreambirds.errors import UserError, did_you_mean
from dreambirds.evaluation.columns import DISPLAY_NAMES

LOWER_IS_BETTER = ("feature_ratio", "spectrum_distance", "seconds")
MEASURES = {
    name: DISPLAY_NAMES[name] for name in ("dreamer_probability", "judge_probability", "judge_top1", *LOWER_IS_BETTER)
}
MEASURED = ("validation_accuracy", *MEASURES)
JOB = ["run", "epoch", "recipe"]
GROUPS = {"run_group": "run", "recipe_group": "recipe"}  # columns that replace others to pool the seeds
SEEDS = ["training_seed", "dream_seed"]
RESULTS = Path("results")
REMEDY = "delete it and run the study again to rebuild it"
BEFORE_PARAMETERS = "image_path_rescaled"  # the recipe's parameters are the columns of dreams.csv after this one


@dataclass(frozen=True)
class Study:
    """A study's results folder, its table with one row per dream, and its table with one row per checkpoint.

    In both tables, the names of runs and recipes are those of their groups. So runs that differ only in their training
    seed have the same name, and so have recipes that differ only in their dream seed.
    """

    folder: Path
    dreams: pd.DataFrame
    runs: pd.DataFrame

    @property
    def parameters(self) -> list[str]:
        """The columns of `dreams` that contain the recipe's parameters."""
        return list(self.dreams)[self.dreams.columns.get_loc(BEFORE_PARAMETERS) + 1 :]

    @property
    def has_seeds(self) -> bool:
        """Whether any run or recipe stands for several seeds."""
        names = list(GROUPS.values())
        return bool((self.dreams.groupby(names)[SEEDS].nunique() > 1).any(axis=None))


def read_study(folder: Path) -> Study:
    """Read a study's tables from its results folder, such as ``results/default``.

    Raises UserError if the folder does not exist, or if one of its tables is missing, unreadable, or lacks a column.
    """
    dreams, runs = (read_results(folder, name) for name in _NEEDED)
    return Study(folder, _by_group(dreams), _by_group(runs))


def read_results(folder: Path, name: str) -> pd.DataFrame:
    """Return the table ``dreams`` or ``runs`` of a study, as it is. Raises UserError as `read_study` does."""
    if not folder.is_dir():
        raise UserError(f"the results folder '{folder}' does not exist; {_suggest(folder)}")
    return _read(folder / f"{name}.csv", _NEEDED[name])


def _by_group(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which the names of groups replace those of their runs and recipes."""
    groups = {group: name for group, name in GROUPS.items() if group in table}
    return table.drop(columns=list(groups.values())).rename(columns=groups)


def _suggest(folder: Path) -> str:
    for parent in (folder.parent, RESULTS):
        if studies := [str(path.parent) for path in parent.glob("*/dreams.csv")]:
            return did_you_mean(folder, studies, "available")
    return f"'{RESULTS}' contains no study: run one first"


_NEEDED = {
    "dreams": [*JOB, *GROUPS, *SEEDS, "label", "class_name", "step", *MEASURES, "image_path", BEFORE_PARAMETERS],
    "runs": ["run", "run_group", "training_seed", "epoch", "model", "validation_accuracy"],
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
    """Return one row per (run, epoch, recipe), with means over its dreams of all seeds at the last step.

    The columns are run, epoch, ``validation_accuracy``, recipe, dreams (their number), `MEASURES` (NaN if not
    measured), and the parameters that vary. Rows are grouped by run. Within a run they are sorted by epoch, or by the
    column `sort`, with the best or largest value first. Raises UserError if there is no column `sort`.
    """
    last = at_last_step(study.dreams)
    jobs = last.groupby(JOB, sort=False)
    table = jobs[list(MEASURES)].mean().join(jobs.size().rename("dreams")).reset_index()
    accuracy = study.runs.groupby(["run", "epoch"])["validation_accuracy"].mean().reset_index()
    table = table.merge(accuracy, on=["run", "epoch"], how="left")
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


def measured(table: pd.DataFrame) -> pd.DataFrame:
    """Return a `summary` without the measurements that no row has, such as those that need photographs."""
    return table.drop(columns=[name for name in MEASURED if name in table and table[name].isna().all()])


def _sort_key(values: pd.Series) -> pd.Series:
    """Return a column as numbers if all of its values are numeric, otherwise as text."""
    numbers = pd.to_numeric(values, errors="coerce")
    return numbers if numbers.notna().sum() == values.notna().sum() else values.astype(str)


def best(table: pd.DataFrame) -> pd.DataFrame:
    """Return, for each row of a `summary` and each of `MEASURES`, whether the value is the best of all rows.

    No value is best if all values are the same, or if there is only one.
    """
    marked = pd.DataFrame(False, index=table.index, columns=[name for name in MEASURES if name in table])
    for name in marked:
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

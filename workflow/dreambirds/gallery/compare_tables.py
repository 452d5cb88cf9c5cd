"""What there is to compare in a study: its tables, the parameters that vary, and a row a run, epoch and recipe."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dreambirds.data.tables import read_table
from dreambirds.errors import StudyError, nearest
from dreambirds.judging.columns import CALLED

MEASURES = {
    name: CALLED[name]
    for name in (
        "own_probability",
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
BEFORE_PARAMETERS = "picture_rescaled"  # dreams.csv ends in the recipe's parameters


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

    Raises StudyError if there is no such folder, or no table of dreams in it.
    """
    if not folder.is_dir():
        raise StudyError(f"there is no study '{folder}'; {_others(folder)}")
    return Study(folder, *(_read(folder / f"{name}.csv", needed) for name, needed in _NEEDED.items()))


def _others(folder: Path) -> str:
    for place in (folder.parent, RESULTS):
        if beside := [str(path.parent) for path in place.glob("*/dreams.csv")]:
            return nearest(folder, beside)
    return f"'{RESULTS}' holds none either; run one first"


_NEEDED = {
    "dreams": [*JOB, "label", "name", "step", *MEASURES, "picture", BEFORE_PARAMETERS],
    "runs": ["run", "epoch", "model", "validation_accuracy"],
}


def _read(path: Path, needed: list[str]) -> pd.DataFrame:
    if not path.is_file():
        raise StudyError(f"there is no '{path}'; run the study first, its rule 'measurements' writes it")
    table = read_table(path, end=ANEW)
    missing = [column for column in needed if column not in table]
    if missing:
        raise StudyError(f"'{path}' has no column '{missing[0]}'; {ANEW}")
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
    `sort`, the best or largest first. Raises StudyError if there is no such column.
    """
    last = at_last_step(study.dreams)
    jobs = last.groupby(JOB, sort=False)
    table = jobs[list(MEASURES)].mean().join(jobs.size().rename("dreams")).reset_index()
    table = table.merge(study.runs[["run", "epoch", "validation_accuracy"]], on=["run", "epoch"], how="left")
    table = table.merge(recipes(study), on="recipe", how="left")
    table = table[["run", "epoch", "validation_accuracy", "recipe", "dreams", *MEASURES, *varying(study)]]
    if sort is not None and sort not in table:
        raise StudyError(f"--sort: there is no column '{sort}'; {nearest(sort, table)}")
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

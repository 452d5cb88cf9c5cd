"""The numbers of each plot, from the tables of dreams and of checkpoints."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from dreambirds.data.tables import read_table
from dreambirds.judging.statistics import bootstrap_mean

JUDGED, OWN = ("judge_probability", "judge_top1", "judge_sees"), ("own_probability", "own_top1", "own_sees")
INTERVAL = ["mean", "low", "high", "top1", "dreams"]


def source(dreams: pd.DataFrame) -> tuple[str, str, str]:
    """Return the columns that tell how well dreams are recognised: the judge's, or the dreamer's own without one."""
    return JUDGED if dreams[JUDGED[0]].notna().any() else OWN


def last_steps(dreams: pd.DataFrame) -> pd.DataFrame:
    """Return the dreams at their recipe's last step."""
    return dreams[dreams["step"] == dreams.groupby("recipe")["step"].transform("max")]


def last_epochs(dreams: pd.DataFrame) -> pd.DataFrame:
    """Return the dreams of their run's last checkpoint."""
    return dreams[dreams["epoch"] == dreams.groupby("run")["epoch"].transform("max")]


def summarise(dreams: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Return, for each group, the mean probability of the class that was dreamt of with its 95 % interval, the share
    of dreams in which that class comes first, and their number."""
    probability, top1, _ = source(dreams)
    rows = []
    for keys, group in dreams.groupby(by, sort=False):
        counted = int(group[probability].notna().sum())
        rows.append([*keys, *bootstrap_mean(group[probability].to_numpy()), group[top1].mean(), counted])
    return pd.DataFrame(rows, columns=[*by, *INTERVAL])


def by_epoch(dreams: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return how well each recipe's last steps are recognised at each checkpoint, beside its validation accuracy."""
    table = summarise(last_steps(dreams), ["run", "recipe", "epoch"])
    return table.merge(runs[["run", "epoch", "validation_accuracy"]], on=["run", "epoch"], how="left")


def by_step(dreams: pd.DataFrame) -> pd.DataFrame:
    """Return how well each recipe's dreams of the last checkpoint are recognised, step by kept step."""
    return summarise(last_epochs(dreams), ["run", "recipe", "step"])


def epoch_by_step(dreams: pd.DataFrame) -> pd.DataFrame:
    """Return how well dreams are recognised for each run, recipe, checkpoint and kept step."""
    probability, _, _ = source(dreams)
    means = dreams.groupby(["run", "recipe", "epoch", "step"], sort=False)[probability].mean()
    return means.rename("mean").reset_index()


def recipes(dreams: pd.DataFrame) -> pd.DataFrame:
    """Return how well each recipe's last dreams of the last checkpoint are recognised, the best first."""
    return summarise(last_steps(last_epochs(dreams)), ["run", "recipe"]).sort_values("mean", ascending=False)


def classes(dreams: pd.DataFrame) -> pd.DataFrame:
    """Return how well each class is recognised in the last dreams of the last checkpoints, the best first."""
    return summarise(last_steps(last_epochs(dreams)), ["label", "name"]).sort_values("mean", ascending=False)


def confusion(dreams: pd.DataFrame) -> pd.DataFrame:
    """Return as what each class's last dreams of the last checkpoints are taken: the share of dreams, by class seen."""
    _, top1, sees = source(dreams)
    chosen = last_steps(last_epochs(dreams))
    chosen = chosen[chosen[top1].notna()]
    counts = chosen.groupby(["label", sees], sort=False).size().rename("dreams").reset_index()
    counts["share"] = counts["dreams"] / counts.groupby("label")["dreams"].transform("sum")
    return counts.rename(columns={sees: "sees"})


def trajectories(dreams: pd.DataFrame, results: Path) -> pd.DataFrame:
    """Return the dreamer's own probability through the dreams of the last checkpoints, over all classes: its mean and
    quartiles at each step, from the traces that lie beside the pictures below `results`."""
    chosen = last_steps(last_epochs(dreams))
    tables = []
    for (run, recipe), group in chosen.groupby(["run", "recipe"], sort=False):
        traces = list(_traces(group, results))
        if traces:
            grouped = pd.concat(traces).groupby("step")["probability"]
            quartiles = {"mean": grouped.mean(), "low": grouped.quantile(0.25), "high": grouped.quantile(0.75)}
            tables.append(pd.DataFrame(quartiles).reset_index().assign(run=run, recipe=recipe))
    columns = ["run", "recipe", "step", "mean", "low", "high"]
    return pd.concat(tables)[columns] if tables else pd.DataFrame(columns=columns)


def _traces(dreams: pd.DataFrame, results: Path) -> Iterator[pd.DataFrame]:
    """Yield the traces that are there of dreams at their last step, up to the last step that each has done."""
    for picture, done in zip(dreams["picture"], dreams["steps_done"], strict=True):
        path = results / Path(picture).with_name("trace.csv")
        if path.exists():
            end = f"delete the folder '{path.parents[1]}', and the same command makes it again"
            yield read_table(path, rows=pd.DataFrame({"step": [done]}), end=end)


def extremes(table: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return the first and the last rows of a sorted table, at most so many."""
    if len(table) <= most:
        return table
    places = [*range((most + 1) // 2), *range(len(table) - most // 2, len(table))]
    return table.iloc[np.array(places)]

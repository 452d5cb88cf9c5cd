"""The plots of a study: the numbers of each, as a table and as a picture."""

from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib import pyplot
from matplotlib.figure import Figure

from dreambirds.data.tables import read_table, write_table
from dreambirds.evaluation.columns import read_results
from dreambirds.evaluation.contrasts import bootstrap_mean
from dreambirds.figures.draw import bars, confusion_map, lines, maps
from dreambirds.figures.text import save_figure
from dreambirds.plan.plan import Plan

JUDGED, OWN = (
    ("judge_probability", "judge_top1", "judge_prediction"),
    ("dreamer_probability", "dreamer_top1", "dreamer_prediction"),
)
INTERVAL = ["mean", "ci_low", "ci_high", "top1", "dreams"]
TRAIN, VALIDATION = "#0072b2", "#d55e00"


def source(dreams: pd.DataFrame) -> tuple[str, str, str]:
    """Return the columns that tell how well dreams are recognised: the judge's, or the dreamer's own without one."""
    return JUDGED if dreams[JUDGED[0]].notna().any() else OWN


def last_steps(dreams: pd.DataFrame) -> pd.DataFrame:
    """Return the dreams at their recipe's last step."""
    return dreams[dreams["step"] == dreams.groupby("recipe")["step"].transform("max")]


def last_epochs(dreams: pd.DataFrame) -> pd.DataFrame:
    """Return the dreams of their run's last checkpoint."""
    return dreams[dreams["epoch"] == dreams.groupby("run")["epoch"].transform("max")]


def summarize(dreams: pd.DataFrame, by: list[str]) -> pd.DataFrame:
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
    table = summarize(last_steps(dreams), ["run", "recipe", "epoch"])
    return table.merge(runs[["run", "epoch", "validation_accuracy"]], on=["run", "epoch"], how="left")


def by_step(dreams: pd.DataFrame) -> pd.DataFrame:
    """Return how well each recipe's dreams of the last checkpoint are recognised, step by kept step."""
    return summarize(last_epochs(dreams), ["run", "recipe", "step"])


def epoch_by_step(dreams: pd.DataFrame) -> pd.DataFrame:
    """Return how well dreams are recognised for each run, recipe, checkpoint and kept step."""
    probability, _, _ = source(dreams)
    means = dreams.groupby(["run", "recipe", "epoch", "step"], sort=False)[probability].mean()
    return means.rename("mean").reset_index()


def recipes(dreams: pd.DataFrame) -> pd.DataFrame:
    """Return how well each recipe's last dreams of the last checkpoint are recognised, the best first."""
    return summarize(last_steps(last_epochs(dreams)), ["run", "recipe"]).sort_values("mean", ascending=False)


def classes(dreams: pd.DataFrame) -> pd.DataFrame:
    """Return how well each class is recognised in the last dreams of the last checkpoints, the best first."""
    return summarize(last_steps(last_epochs(dreams)), ["label", "class_name"]).sort_values("mean", ascending=False)


def confusion(dreams: pd.DataFrame) -> pd.DataFrame:
    """Return as what each class's last dreams of the last checkpoints are taken: the share of dreams, by class seen."""
    _, top1, sees = source(dreams)
    chosen = last_steps(last_epochs(dreams))
    chosen = chosen[chosen[top1].notna()]
    counts = chosen.groupby(["label", sees], sort=False).size().rename("dreams").reset_index()
    counts["share"] = counts["dreams"] / counts.groupby("label")["dreams"].transform("sum")
    return counts.rename(columns={sees: "prediction"})


def trajectories(dreams: pd.DataFrame, results: Path) -> pd.DataFrame:
    """Return the dreamer's own probability through the dreams of the last checkpoints, over all classes: its mean and
    quartiles at each step, from the traces that lie beside the pictures below `results`."""
    chosen = last_steps(last_epochs(dreams))
    tables = []
    for (run, recipe), group in chosen.groupby(["run", "recipe"], sort=False):
        traces = list(_traces(group, results))
        if traces:
            grouped = pd.concat(traces).groupby("step")["probability"]
            quartiles = {"mean": grouped.mean(), "ci_low": grouped.quantile(0.25), "ci_high": grouped.quantile(0.75)}
            tables.append(pd.DataFrame(quartiles).reset_index().assign(run=run, recipe=recipe))
    columns = ["run", "recipe", "step", "mean", "ci_low", "ci_high"]
    return pd.concat(tables)[columns] if tables else pd.DataFrame(columns=columns)


def _traces(dreams: pd.DataFrame, results: Path) -> Iterator[pd.DataFrame]:
    """Yield the traces that are there of dreams at their last step, up to the last step that each has done."""
    for picture, done in zip(dreams["image_path"], dreams["steps_done"], strict=True):
        path = results / Path(picture).with_name("trace.csv")
        if path.exists():
            end = f"delete the folder '{path.parents[1]}', and the same command makes it again"
            yield read_table(path, rows=pd.DataFrame({"step": [done]}), end=end)


def write_plots(results: Path, folder: Path, plan: Plan | None = None) -> None:
    """Write ``NAME.png`` and ``NAME.csv`` for each plot into a folder, from the tables of a study's `results`.

    Raises UserError if one of them is not whole; with `plan`, also if it lacks a row of what that asks for.
    """
    tables = ("dreams", "runs")
    dreams, runs = (
        read_results(plan, results, name) if plan else read_table(results / f"{name}.csv") for name in tables
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name, (table, draw) in _plots(dreams, runs, results).items():
        write_table(table, folder / f"{name}.csv", "%.6g")
        figure = draw(table) if len(table) else _nothing()
        save_figure(figure, folder / f"{name}.png")


def _plots(
    dreams: pd.DataFrame, runs: pd.DataFrame, results: Path
) -> dict[str, tuple[pd.DataFrame, Callable[[pd.DataFrame], Figure]]]:
    """Return each plot's numbers, and what draws them."""
    judged = source(dreams) == JUDGED
    said = f"{'judge' if judged else 'own'} probability of the class"
    names = dict(dreams[["label", "class_name"]].drop_duplicates().itertuples(index=False))
    several = dreams["run"].nunique() > 1
    return {
        "by-epoch": (
            by_epoch(dreams, runs),
            lambda table: lines(table, "epoch", said, "training epoch", "validation_accuracy"),
        ),
        "by-step": (by_step(dreams), lambda table: lines(table, "step", said, "dream step")),
        "epoch-by-step": (epoch_by_step(dreams), lambda table: maps(table, said)),
        "recipes": (
            recipes(dreams),
            lambda table: bars(table, table["run"] + ", " + table["recipe"] if several else table["recipe"], said),
        ),
        "classes": (classes(dreams), lambda table: bars(table, table["class_name"], said)),
        "trajectories": (
            trajectories(dreams, results),
            lambda table: lines(table, "step", "the dreamer's own probability", "dream step"),
        ),
        "confusion": (confusion(dreams), lambda table: confusion_map(table, names)),
    }


def _nothing() -> Figure:
    figure, axis = pyplot.subplots(figsize=(6, 2))
    axis.axis("off")
    axis.text(0.5, 0.5, "nothing to show: no dream was judged", ha="center", va="center")
    return figure


def plot_curves(history: pd.DataFrame, path: Path) -> None:
    """Draw loss and accuracy against the epoch, from a table with the columns of ``history.csv``."""
    matplotlib.use("agg")
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for axis, measure in zip(axes, ("loss", "accuracy"), strict=True):
        for part, color, mark in (("train", TRAIN, "o"), ("validation", VALIDATION, "s")):
            column = history[f"{part}_{measure}"]
            label = f"{part}, as augmented" if part == "train" else part
            axis.plot(history["epoch"], column, color=color, marker=mark, markersize=4, label=label)
        axis.set_xlabel("training epoch")
        axis.set_ylabel(measure)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[1].set_ylim(-0.02, 1.02)
    axes[0].legend(frameon=False)
    figure.suptitle(f"Run {history['run'].iloc[0]}")
    save_figure(figure, path)

"""How well dreams are recognized: the measurements of a study, summarized for plots and for the gallery."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from dreambirds.data.tables import read_table
from dreambirds.evaluation.contrasts import bootstrap_mean

JUDGED = ("judge_probability", "judge_top1", "judge_prediction")
OWN = ("dreamer_probability", "dreamer_top1", "dreamer_prediction")
INTERVAL = ["mean", "ci_low", "ci_high", "top1", "dreams"]
TRAJECTORY = ["run", "recipe", "step", "mean", "q25", "q75"]


@dataclass(frozen=True)
class Recognition:
    """How well a study's dreams are recognized.

    `dreams` and `runs` are the tables ``dreams.csv`` and ``runs.csv`` of the folder `results`, which also contains the
    traces of the dreams. A judge recognizes the dreams; without one, the dreaming network itself.
    """

    dreams: pd.DataFrame
    runs: pd.DataFrame = field(default_factory=pd.DataFrame)
    results: Path = Path()

    @property
    def columns(self) -> tuple[str, str, str]:
        """The columns of the probability, of whether the class comes first, and of the class that does."""
        return JUDGED if self.dreams[JUDGED[0]].notna().any() else OWN

    @property
    def measure(self) -> str:
        """What axes call the probability."""
        return f"{'judge' if self.columns == JUDGED else 'own'} probability of the class"

    @property
    def names(self) -> dict[str, str]:
        """The names of the classes for people, by label."""
        return dict(self.dreams[["label", "class_name"]].drop_duplicates().itertuples(index=False))

    def last_steps(self) -> "Recognition":
        """Return the dreams at their recipe's last step."""
        steps = self.dreams.groupby("recipe")["step"]
        return replace(self, dreams=self.dreams[self.dreams["step"] == steps.transform("max")])

    def last_epochs(self) -> "Recognition":
        """Return the dreams of the last checkpoint of their run that dreams, so that what is compared had learnt as
        much; a recipe that it does not dream is left out."""
        epochs = self.dreams.groupby("run")["epoch"]
        return replace(self, dreams=self.dreams[self.dreams["epoch"] == epochs.transform("max")])

    def last(self) -> "Recognition":
        """Return the dreams of their run's last checkpoint at their recipe's last step."""
        return self.last_epochs().last_steps()

    def summarize(self, by: list[str]) -> pd.DataFrame:
        """Return one row per group, with the columns of `INTERVAL`.

        They are the mean probability of the class that was dreamt of with its 95 % interval, the share of dreams in
        which that class comes first, and the number of dreams.
        """
        probability, top1, _ = self.columns
        rows = []
        for keys, group in self.dreams.groupby(by, sort=False):
            counted = int(group[probability].notna().sum())
            rows.append([*keys, *bootstrap_mean(group[probability].to_numpy()), group[top1].mean(), counted])
        return pd.DataFrame(rows, columns=[*by, *INTERVAL])

    def rank(self, by: list[str]) -> pd.DataFrame:
        """Return `summarize` of the last dreams, the best group first."""
        return self.last().summarize(by).sort_values("mean", ascending=False)

    def means(self, by: list[str]) -> pd.DataFrame:
        """Return the mean probability of the class of each group, as the column ``mean``."""
        return self.dreams.groupby(by, sort=False)[self.columns[0]].mean().rename("mean").reset_index()

    def confusion(self) -> pd.DataFrame:
        """Return which classes each class is recognized as: the number of dreams and their share, per class seen."""
        _, top1, seen = self.columns
        chosen = self.dreams[self.dreams[top1].notna()]
        counts = chosen.groupby(["label", seen], sort=False).size().rename("dreams").reset_index()
        counts["share"] = counts["dreams"] / counts.groupby("label")["dreams"].transform("sum")
        return counts.rename(columns={seen: "prediction"})

    def trajectories(self) -> pd.DataFrame:
        """Return the dreamer's own probability at each step, over all classes: its mean and quartiles.

        They come from the traces of the dreams. Raises UserError if one is not whole.
        """
        tables = []
        for (run, recipe), group in self.dreams.groupby(["run", "recipe"], sort=False):
            traces = list(self.traces(group))
            if traces:
                grouped = pd.concat(traces).groupby("step")["probability"]
                quartiles = {
                    "mean": grouped.mean(),
                    "q25": grouped.quantile(0.25),
                    "q75": grouped.quantile(0.75),
                }
                tables.append(pd.DataFrame(quartiles).reset_index().assign(run=run, recipe=recipe))
        return pd.concat(tables)[TRAJECTORY] if tables else pd.DataFrame(columns=TRAJECTORY)

    def traces(self, dreams: pd.DataFrame) -> Iterator[pd.DataFrame]:
        """Yield the traces of dreams, as far as they are there, each up to the last step of its dream."""
        for picture, done in zip(dreams["image_path"], dreams["steps_done"], strict=True):
            path = self.results / Path(picture).with_name("trace.csv")
            if path.exists():
                end = f"delete the folder '{path.parents[1]}', and the same command makes it again"
                yield read_table(path, rows=pd.DataFrame({"step": [done]}), end=end)

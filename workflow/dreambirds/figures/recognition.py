"""Summaries of how well dreams are recognized, for plots and for the gallery."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path

import pandas as pd

from dreambirds.dream_job.archive import Picture, read_picture
from dreambirds.errors import REBUILD, UserError
from dreambirds.evaluation.columns import DISPLAY_NAMES
from dreambirds.plan.paths import trace_name

JUDGED = ("judge_probability", "judge_top1", "judge_prediction")
OWN = ("dreamer_probability", "dreamer_top1", "dreamer_prediction")
INTERVAL = ["mean", "ci_low", "ci_high", "top1", "dreams"]
JOB = ["run", "epoch", "recipe"]
GROUP = ["run_group", "recipe_group"]  # runs and recipes that differ only in their seed are pooled
TRAJECTORY = [*GROUP, "step", "mean", "q25", "q75"]


@dataclass(frozen=True)
class Recognition:
    """How well a study's dreams are recognized.

    `dreams` and `runs` are the tables ``dreams.csv`` and ``runs.csv`` of a study, and `archives` contains the archive
    of each (run, epoch, recipe, label), with the traces of the dreams. Recognition is measured by the judge, or by the
    dreaming network if the study has no judge.
    """

    dreams: pd.DataFrame
    runs: pd.DataFrame = field(default_factory=pd.DataFrame)
    archives: Mapping[tuple, str] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, str, str]:
        """The columns with the probability of the class, with whether the class is the top prediction, and with the
        prediction."""
        return JUDGED if self.dreams[JUDGED[0]].notna().any() else OWN

    @property
    def probability_name(self) -> str:
        """The display name of the probability."""
        return DISPLAY_NAMES[self.columns[0]]

    @property
    def top1_name(self) -> str:
        """The display name of the top-1 accuracy."""
        return DISPLAY_NAMES[self.columns[1]]

    @property
    def names(self) -> dict[str, str]:
        """The display names of the classes, by label."""
        return dict(self.dreams[["label", "class_name"]].drop_duplicates().itertuples(index=False))

    def last_steps(self) -> "Recognition":
        """Return the dreams at their recipe's last step."""
        steps = self.dreams.groupby("recipe")["step"]
        return replace(self, dreams=self.dreams[self.dreams["step"] == steps.transform("max")])

    def last_epochs(self) -> "Recognition":
        """Return the dreams of the last checkpoint of each run that has any dreams.

        All compared recipes of a run are then dreams of the same checkpoint; recipes that it does not dream are
        excluded.
        """
        epochs = self.dreams.groupby("run")["epoch"]
        return replace(self, dreams=self.dreams[self.dreams["epoch"] == epochs.transform("max")])

    def last(self) -> "Recognition":
        """Return the dreams of each run's last checkpoint, at their recipe's last step."""
        return self.last_epochs().last_steps()

    def picked(self) -> "Recognition":
        """Return the picked dreams of the recipe groups with several recipes, as groups named ``… (picked)``."""
        several = self.dreams.groupby("recipe_group")["recipe"].transform("nunique") > 1
        chosen = self.dreams[several & (self.dreams["picked"] == 1)]
        return replace(self, dreams=chosen.assign(recipe_group=chosen["recipe_group"] + " (picked)"))

    def accuracies(self) -> pd.DataFrame:
        """Return the mean validation accuracy of the runs of each group, by ``run_group`` and ``epoch``."""
        grouped = self.runs.groupby(["run_group", "epoch"], sort=False)["validation_accuracy"]
        return grouped.mean().reset_index()

    def summarize(self, by: list[str]) -> pd.DataFrame:
        """Return one row per group, with the columns of `INTERVAL`.

        They are the mean probability of the dream's class with its 95% interval over the dreams of all classes and
        seeds, the top-1 accuracy, and the number of dreams with a probability.
        """
        from dreambirds.evaluation.contrasts import bootstrap_mean  # scipy.stats takes long to import

        probability, top1, _ = self.columns
        rows = []
        for keys, group in self.dreams.groupby(by, sort=False):
            count = int(group[probability].notna().sum())
            rows.append([*keys, *bootstrap_mean(group[probability].to_numpy()), group[top1].mean(), count])
        return pd.DataFrame(rows, columns=[*by, *INTERVAL])

    def rank(self, by: list[str]) -> pd.DataFrame:
        """Return the `summarize` table of the last dreams, sorted by mean probability, highest first."""
        return self.last().summarize(by).sort_values("mean", ascending=False)

    def rank_groups(self) -> pd.DataFrame:
        """Return the `rank` table of all dreams by `GROUP`, with the `picked` dreams as additional groups."""
        picked = self.picked()
        tables = [self.rank(GROUP), *([picked.rank(GROUP)] if len(picked.dreams) else [])]
        return pd.concat(tables).sort_values("mean", ascending=False, ignore_index=True)

    def means(self, by: list[str]) -> pd.DataFrame:
        """Return the mean probability of the dream's class per group, as the column ``mean``."""
        return self.dreams.groupby(by, sort=False)[self.columns[0]].mean().rename("mean").reset_index()

    def confusion(self) -> pd.DataFrame:
        """Return the number and share of each class's dreams per prediction.

        The columns are ``label``, ``prediction``, ``dreams`` and ``share``.
        """
        _, top1, prediction = self.columns
        chosen = self.dreams[self.dreams[top1].notna()]
        counts = chosen.groupby(["label", prediction], sort=False).size().rename("dreams").reset_index()
        counts["share"] = counts["dreams"] / counts.groupby("label")["dreams"].transform("sum")
        return counts.rename(columns={prediction: "prediction"})

    def trajectories(self) -> pd.DataFrame:
        """Return the mean and the quartiles of the dreamer's probability at each step, over all classes and seeds.

        They are computed from the traces of the dreams. Raises UserError if an archive is corrupt, or a trace is
        incomplete.
        """
        tables = []
        for keys, group in self.dreams.groupby(GROUP, sort=False):
            traces = list(self.traces(group))
            if traces:
                grouped = pd.concat(traces).dropna(subset="probability").groupby("step")["probability"]
                quartiles = {
                    "mean": grouped.mean(),
                    "q25": grouped.quantile(0.25),
                    "q75": grouped.quantile(0.75),
                }
                tables.append(pd.DataFrame(quartiles).reset_index().assign(**dict(zip(GROUP, keys, strict=True))))
        return pd.concat(tables)[TRAJECTORY] if tables else pd.DataFrame(columns=TRAJECTORY)

    def traces(self, dreams: pd.DataFrame) -> Iterator[pd.DataFrame]:
        """Yield the traces of dreams that have an archive, and check that each contains the last step of its dream."""
        done = dreams.groupby([*JOB, "label"], sort=False)["steps_done"].max()
        for (run, epoch, recipe, label), step in done.items():
            archive = self.archives.get((run, epoch, recipe, label))
            if archive is None:
                continue
            table = pd.read_csv(BytesIO(read_picture(Picture(Path(archive), trace_name(label)))))
            if step not in set(table["step"]):
                raise UserError(f"'{archive}': the trace of '{label}' does not contain the step {step}; {REBUILD}")
            yield table

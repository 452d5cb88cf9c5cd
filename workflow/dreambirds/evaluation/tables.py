"""Tables of results: one row per dream, judgement, checkpoint or judge."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dreambirds.config import VIEWS
from dreambirds.data.tables import read_history, read_table, write_table
from dreambirds.dream_job.archive import read_dreams
from dreambirds.errors import REBUILD, UserError, counted
from dreambirds.evaluation.agreement import seed_agreement
from dreambirds.evaluation.columns import (
    DREAMS,
    JUDGED,
    JUDGEMENTS,
    JUDGES,
    MEANS,
    RUNS,
    SUFFIX,
    TRAINING_METRICS,
    list_views,
    mark_picked,
    recipe_table,
)
from dreambirds.io import sha256_of
from dreambirds.plan.dream_table import DREAM
from dreambirds.plan.inputs import family_of
from dreambirds.plan.paths import picture_path

DREAMS_FOLDER = Path("dreams")  # of a study's results


@dataclass(frozen=True)
class StudyFacts:
    """Facts of a study that its jobs' tables do not contain.

    The ``model``, ``group`` and training ``seed`` of each run, the parameters and the group of each recipe, the display
    name of each label, and the recipes that each judge evaluates, by judge and run, in the order of the config.
    """

    runs: Mapping[str, Mapping[str, Any]]
    recipes: Mapping[str, Mapping[str, Any]]
    recipe_groups: Mapping[str, str]
    names: Mapping[str, str]
    judged_recipes: Mapping[str, Mapping[str, Collection[str]]]

    @property
    def models(self) -> dict[str, str]:
        """The model of each run."""
        return {run: facts["model"] for run, facts in self.runs.items()}


@dataclass(frozen=True)
class JudgeFiles:
    """The files of judge jobs.

    `judged` and `features` have one file for each judge and each archive that it evaluates, in the order of the judges
    and of the archives. `checks` has one file for each judge.
    """

    judged: Sequence[Path]
    features: Sequence[Path]
    checks: Sequence[Path]


@dataclass(frozen=True)
class Measured:
    """Tables of measured dreams.

    `dreams` and `judgements` have the columns of ``dreams.csv`` and ``judgements.csv``, `judges` one row per judge, and
    `views` one row per view of each dream, with its image in the column ``picture``.
    """

    dreams: pd.DataFrame
    judgements: pd.DataFrame
    judges: pd.DataFrame
    views: pd.DataFrame


def measure_dreams(study: StudyFacts, archives: Sequence[Path], pixels: Sequence[Path], judges: JudgeFiles) -> Measured:
    """Return the tables of the dreams in `archives`, which may be a part of the study's.

    `pixels` has the table of image metrics of each archive. Raises UserError if an input cannot be read or is
    incomplete.
    """
    found = read_dreams(archives)
    names = [pd.DataFrame({"judge": [judge]}) for judge in study.judged_recipes]
    known = [read_table(path, rows=row) for path, row in zip(judges.checks, names, strict=True)]
    judgements = _judgements(found, study, judges, known)
    views = list_views(found)
    expected = [rows[[*DREAM, "view"]] for _, rows in views.groupby("archive", sort=False)]
    metrics = [read_table(path, rows=rows) for path, rows in zip(pixels, expected, strict=True)]
    table = merge_dreams(found, judgements, pd.concat(metrics, ignore_index=True), study)
    return Measured(table, judgements, pd.concat(known)[JUDGES] if known else pd.DataFrame(columns=JUDGES), views)


def write_tables(
    measured: Measured,
    models: Mapping[str, str],
    checkpoints: Sequence[tuple[Path, Path]],
    paths: Mapping[str, Path],
) -> None:
    """Write the tables ``dreams``, ``judgements``, ``runs`` and ``judges``.

    `models` contains the model of each run, `checkpoints` the weights and the history of each checkpoint that dreams,
    in the order of the study, and `paths` the path of each table by name.
    """
    runs = run_table(measured.dreams, models, checkpoints)
    write_table(measured.dreams, paths["dreams"], "%.6g")
    write_table(measured.judgements, paths["judgements"], "%.6g")
    write_table(runs, paths["runs"], "%.6g")
    write_table(measured.judges, paths["judges"], "%.6g")


def _judgements(dreams: pd.DataFrame, study: StudyFacts, judges: JudgeFiles, known: list[pd.DataFrame]) -> pd.DataFrame:
    """Return one row per judge and view of each dream, with the columns of `JUDGEMENTS`."""
    jobs = [rows for _, rows in dreams.groupby("archive", sort=False)]
    judged = [
        (check, rows)
        for check, recipes in zip(known, study.judged_recipes.values(), strict=True)
        for rows in jobs
        if rows["recipe"].iloc[0] in recipes.get(rows["run"].iloc[0], ())
    ]
    tables = [read_judged(path, check, rows) for path, (check, rows) in zip(judges.judged, judged, strict=True)]
    if not any(map(len, tables)):
        return pd.DataFrame(columns=JUDGEMENTS)
    families = {name: family_of(recipe) for name, recipe in study.recipes.items()}
    agreement = seed_agreement(tables, judges.features, families)
    joined = pd.concat([table for table in tables if len(table)], ignore_index=True)
    return joined.assign(seed_agreement=agreement)[JUDGEMENTS]


def read_judged(path: Path, check: pd.DataFrame, dreams: pd.DataFrame) -> pd.DataFrame:
    """Read a judge's metrics of the dreams of an archive from the table of its job.

    `check` is its row of ``judges.csv``. Raises UserError unless the table has exactly one row per view of each dream
    whose class the judge knows.
    """
    judge, unknown = check["judge"].iloc[0], check["unmatched"].iloc[0].split()
    expected = dreams.loc[~dreams["label"].isin(unknown), DREAM]
    expected = pd.concat([expected.assign(judge=judge, view=view) for view in VIEWS])
    table = read_table(path, rows=expected)
    if len(table) > len(expected):
        raise UserError(f"'{path}' has {counted(len(table), 'row')} instead of {len(expected)}; {REBUILD}")
    return table


def merge_dreams(
    dreams: pd.DataFrame, judgements: pd.DataFrame, pixels: pd.DataFrame, study: StudyFacts
) -> pd.DataFrame:
    """Return one row per dream, with the columns of `DREAMS`.

    `dreams` is the result of `read_dreams`; `pixels` has the columns of `PIXELS`, and `judgements` those of
    `JUDGEMENTS`, for each dream and view. With several judges, the first one that judges the run and knows the class
    counts.
    """
    own = ["loss", "logit", "probability", "prediction", "distance"]
    table = dreams.rename(columns={metric: f"dreamer_{metric}" for metric in own})
    for column, fact in (("run_group", "group"), ("training_seed", "seed")):
        table[column] = table["run"].map({run: facts[fact] for run, facts in study.runs.items()})
    table["recipe_group"] = table["recipe"].map(study.recipe_groups)
    table["picked"] = mark_picked(table)
    first = (table["dreamer_prediction"] == table["label"]).astype("Int64")
    table["dreamer_top1"] = first.where(table["dreamer_probability"].notna())  # only a class has a probability
    table["class_name"] = table["label"].map(study.names)
    order = {judge: position for position, judge in enumerate(study.judged_recipes)}
    first = judgements.assign(order=judgements["judge"].map(order)).sort_values("order", kind="stable")
    first = first.drop_duplicates([*DREAM, "view"])
    table = table.merge(first[[*DREAM, "judge"]].drop_duplicates(DREAM), on=DREAM, how="left")
    of_judge = first.rename(columns={name: f"judge_{name}" for name in JUDGED[:5]}).drop(columns=["judge", "order"])
    for view, suffix in SUFFIX.items():
        for metrics in (of_judge, pixels):
            selected = metrics[metrics["view"] == view].drop(columns="view")
            renamed = {column: f"{column}{suffix}" for column in selected if column not in DREAM}
            table = table.merge(selected.rename(columns=renamed), on=DREAM, how="left")
    for view, suffix in SUFFIX.items():
        table[f"image_path{suffix}"] = [str(picture_path(DREAMS_FOLDER, dream, view)) for dream in table.itertuples()]
    whole = ("judge_rank", "judge_top1", "judge_reference_top1")
    integers = [column for column in table if column.startswith(whole)]
    integers += ["diverged_at", "training_seed"]
    parameters = recipe_table(study.recipes).rename(columns={"seed": "dream_seed"})
    return table.merge(parameters, on="recipe")[DREAMS].astype(dict.fromkeys(integers, "Int64"))


def run_table(table: pd.DataFrame, models: Mapping[str, str], checkpoints: Sequence[tuple[Path, Path]]) -> pd.DataFrame:
    """Return one row per checkpoint, with the columns of `RUNS`.

    `checkpoints` are the weights and the history of each, in the order of the table. Means are over the dreams at each
    recipe's last step.
    """
    last = table[table["step"] == table.groupby("recipe")["step"].transform("max")]
    keys = table[["run", "epoch"]].drop_duplicates().itertuples(index=False)
    rows = [
        _checkpoint(last, run, epoch, models[run], *files)
        for (run, epoch), files in zip(keys, checkpoints, strict=True)
    ]
    return pd.DataFrame(rows, columns=RUNS)


def _checkpoint(last: pd.DataFrame, run: str, epoch: float, model: str, weights: Path, history: Path) -> dict:
    mine = last[(last["run"] == run) & (last["epoch"] == epoch)]
    recipes = mine.groupby("recipe")["judge_top1"].mean().dropna()
    judges = mine["judge"].dropna().unique()
    return {
        "run": run,
        **mine[["run_group", "training_seed"]].iloc[0],
        "epoch": epoch,
        "model": model,
        **read_history(history, epoch).iloc[-1].reindex(TRAINING_METRICS),
        "dreams": len(mine),
        "judge": judges[0] if len(judges) else None,
        **mine[MEANS].mean(),
        "best_recipe": recipes.idxmax() if len(recipes) else None,
        "best_judge_top1": recipes.max() if len(recipes) else None,
        "checkpoint_sha256": sha256_of(weights),
    }

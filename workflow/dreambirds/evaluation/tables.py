"""The tables of results, and their columns."""

from collections.abc import Collection, Iterator
from pathlib import Path

import pandas as pd

from dreambirds.config.contrasts import VIEWS
from dreambirds.config.recipes import recipe_table
from dreambirds.data.tables import read_table, write_table
from dreambirds.errors import MAKE_AGAIN, UserError
from dreambirds.evaluation.columns import DREAM, DREAMS, HISTORY, JUDGED, JUDGEMENTS, JUDGES, MEANS, OWN, RUNS, SUFFIX
from dreambirds.evaluation.metrics import measure_saved
from dreambirds.io import digest_of, sha256_of
from dreambirds.plan.inputs import judged_runs
from dreambirds.plan.paths import epoch_name, index_name, job_folder, picture_name, picture_path
from dreambirds.plan.plan import Plan
from dreambirds.training.job import read_history


def read_dreams(plan: Plan, runs: Collection[str]) -> pd.DataFrame:
    """Return what the dream jobs' tables say of the dreams of some runs, in the plan's order, with the columns of
    `DREAM`.

    An index of them all is the frame's own. Raises UserError if a table can't be read or lacks one of its dreams.
    """
    asked = plan.dreams.loc[plan.dreams["run"].isin(list(runs)), DREAM]
    return asked.merge(pd.concat(_tables(plan, asked)), on=DREAM, how="left")


def _tables(plan: Plan, asked: pd.DataFrame) -> Iterator[pd.DataFrame]:
    for (run, epoch, recipe), rows in asked.groupby(DREAM[:3], sort=False):
        for part, names in plan.parts.items():
            path = Path(job_folder(plan.study, run, epoch, recipe), index_name(part))
            mine = rows.loc[rows["label"].isin(list(names)), ["label", "step"]]
            yield read_table(path, rows=mine).assign(run=run, epoch=epoch, recipe=recipe)


def views_of(plan: Plan, dreams: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each view of dreams that `read_dreams` gave, the raw ones first.

    Beside the columns of `DREAM` these are the ``view``, its ``path`` and ``sha256``, and the ``family``: one word for
    all recipes that differ in their seed only.
    """
    families = {name: digest_of({**keys, "seed": None})[:16] for name, keys in plan.recipes.items()}
    rows = []
    for view in VIEWS:
        paths = [picture_path(plan.study, dream, view) for dream in dreams.itertuples()]
        rows.append(dreams[DREAM].assign(view=view, path=paths, sha256=dreams[f"{view}_sha256"]))
    return pd.concat(rows, ignore_index=True).assign(family=lambda table: table["recipe"].map(families))


def write_tables(plan: Plan, judged: list[Path], checks: list[Path], code: str, paths: dict[str, Path]) -> None:
    """Write all four tables, at the paths of ``dreams``, ``judgements``, ``runs`` and ``judges``.

    `judged` and `checks` are what the judges' jobs have written, in the judges' order. `code` is what measurements of
    pictures depend on. Raises UserError where something that they are made of can't be read or is not whole.
    """
    dreams = read_dreams(plan, plan.config["runs"])
    names = [pd.DataFrame({"judge": [judge]}) for judge in plan.judges]
    known = [read_table(path, rows=row) for path, row in zip(checks, names, strict=True)]
    words = [read_judged(plan, path, check) for path, check in zip(judged, known, strict=True)]
    pictures = measure_saved(views := views_of(plan, dreams), Path(f"results/{plan.study}/dataset"), code)
    judgements = pd.concat(words, ignore_index=True) if words else pd.DataFrame(columns=JUDGEMENTS)
    table = dream_table(plan, dreams, judgements, views[[*DREAM, "view"]].join(pictures))
    runs = run_table(plan, table)
    write_table(table, paths["dreams"], "%.6g")
    write_table(judgements[JUDGEMENTS], paths["judgements"], "%.6g")
    write_table(runs, paths["runs"], "%.6g")
    write_table(pd.concat(known)[JUDGES] if known else pd.DataFrame(columns=JUDGES), paths["judges"], "%.6g")


def read_judged(plan: Plan, path: Path, check: pd.DataFrame) -> pd.DataFrame:
    """Return a judge's word on the study's dreams, as its job wrote it; `check` is the row that tells what it knows.

    Raises UserError unless it is of each dream that the judge was shown and whose class it knows, and of no other.
    """
    judge, unknown = check["judge"].iloc[0], check["unmatched"].iloc[0].split()
    dreams = plan.dreams.loc[
        plan.dreams["run"].isin(judged_runs(plan, judge)) & ~plan.dreams["label"].isin(unknown), DREAM
    ]
    asked = pd.concat([dreams.assign(judge=judge, view=view) for view in VIEWS])
    table = read_table(path, rows=asked)
    if len(table) > len(asked):
        raise UserError(f"'{path}' has {len(table)} rows, and {len(asked)} are asked for; {MAKE_AGAIN}")
    return table


def dream_table(plan: Plan, dreams: pd.DataFrame, judgements: pd.DataFrame, pictures: pd.DataFrame) -> pd.DataFrame:
    """Return a row a dream, with the columns of `DREAMS`.

    `dreams` is what `read_dreams` gave; `pictures` has the columns of `PIXELS`, and `judgements` those of `JUDGEMENTS`,
    for a dream and view each. Of several judges the first that knows the run and the class has the word.
    """
    own = ["loss", "logit", "probability", "prediction"]
    table = dreams.rename(columns=dict(zip(own, OWN, strict=False)))
    table["dreamer_top1"] = (table["dreamer_prediction"] == table["label"]).astype(int)
    table["class_name"] = table["label"].map(plan.names)
    order = {name: place for place, name in enumerate(plan.judges)}
    first = judgements.assign(order=judgements["judge"].map(order)).sort_values("order", kind="stable")
    first = first.drop_duplicates([*DREAM, "view"])
    table = table.merge(first[[*DREAM, "judge"]].drop_duplicates(DREAM), on=DREAM, how="left")
    said = first.rename(columns={word: f"judge_{word}" for word in JUDGED[:4]}).drop(columns=["judge", "order"])
    for view, suffix in SUFFIX.items():
        for part in (said, pictures):
            mine = part[part["view"] == view].drop(columns="view")
            renamed = {column: f"{column}{suffix}" for column in mine if column not in DREAM}
            table = table.merge(mine.rename(columns=renamed), on=DREAM, how="left")
    for view, suffix in SUFFIX.items():
        table[f"image_path{suffix}"] = [_relative(plan, dream, view) for dream in table.itertuples()]
    whole = [column for column in table if column.startswith(("judge_rank", "judge_top1"))] + ["diverged_at"]
    return table.merge(recipe_table(plan.recipes), on="recipe")[DREAMS].astype(dict.fromkeys(whole, "Int64"))


def _relative(plan: Plan, dream, view: str) -> str:
    folder = job_folder(plan.study, dream.run, dream.epoch, dream.recipe).partition(f"results/{plan.study}/")[2]
    return f"{folder}/{picture_name(dream.label, dream.step, view)}"


def run_table(plan: Plan, table: pd.DataFrame) -> pd.DataFrame:
    """Return a row a checkpoint, with the columns of `RUNS`; means are over the dreams at each recipe's last step."""
    last = table[table["step"] == table.groupby("recipe")["step"].transform("max")]
    rows = [_checkpoint(plan, run, epoch, last) for run in plan.config["runs"] for epoch in plan.epochs(run)]
    return pd.DataFrame(rows, columns=RUNS)


def _checkpoint(plan: Plan, run: str, epoch: float, last: pd.DataFrame) -> dict:
    mine = last[(last["run"] == run) & (last["epoch"] == epoch)]
    stem = Path(f"results/{plan.study}/runs/{run}/{epoch_name(epoch)}")
    history = read_history(stem.with_name(f"{stem.name}.csv"), epoch).iloc[-1]
    recipes = mine.groupby("recipe")["judge_top1"].mean().dropna()
    judges = mine["judge"].dropna().unique()
    return {
        "run": run,
        "epoch": epoch,
        "model": plan.config["runs"][run]["model"],
        **history.reindex(HISTORY),
        "dreams": len(mine),
        "judge": judges[0] if len(judges) else None,
        **mine[MEANS].mean(),
        "best_recipe": recipes.idxmax() if len(recipes) else None,
        "best_judge_top1": recipes.max() if len(recipes) else None,
        "checkpoint_sha256": sha256_of(stem.with_name(f"{stem.name}.safetensors")),
    }

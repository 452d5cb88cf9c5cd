"""The page of an experiment: its question, the computed answer, the dreams, the plots, and what was run."""

import logging
from pathlib import Path

import pandas as pd
import yaml

from dreambirds.data.tables import write_table
from dreambirds.gallery.compare_tables import measured, said
from dreambirds.gallery.pages import write_page
from dreambirds.judging.columns import CALLED
from dreambirds.judging.contrasts import SEEN, UNKNOWN, answer
from dreambirds.judging.written import read_written
from dreambirds.pictures.finding import write_effects, write_montage
from dreambirds.study.experiment import CHANCE, ENDS
from dreambirds.study.plan import Plan

PAGE, TABLE, MONTAGE, EFFECTS = "index.html", "finding.csv", "montage.png", "effects.png"
log = logging.getLogger(__name__)


def write_finding(plan: Plan, results: Path, folder: Path) -> None:
    """Write the page of a study's experiment into a folder, with its table and its two pictures beside it.

    `results` holds the study's tables, plots and prepared pictures. Raises StudyError where one of them
    can't be read or is not whole.
    """
    dreams, runs, judges = (read_written(plan, results, name) for name in ("dreams", "runs", "judges"))
    table = answer(plan, dreams)
    table.insert(0, "question", plan.config["experiment"]["question"])
    folder.mkdir(parents=True, exist_ok=True)
    write_table(table, folder / TABLE, "%.6g")
    write_montage(plan, results / "dataset", folder / MONTAGE)
    write_effects(table, folder / EFFECTS)
    write_page(
        folder / PAGE,
        "finding.html.j2",
        study=plan.study,
        question=plan.config["experiment"]["question"],
        sentences=[sentence(row) for row in table.to_dict("records")],
        rows=[_row(row) for row in table.to_dict("records")],
        montage=folder / MONTAGE,
        effects=folder / EFFECTS,
        plots=[(words, results / "plots" / f"{name}.png") for name, words in _plots(plan).items()],
        runs=[_run(plan, rows) for _, rows in runs.groupby("run", sort=False)],
        judges=judges.to_dict("records"),
        dreams=len(plan.dreams),
        recipes=len(plan.recipes),
        classes=len(plan.names),
        learnt=len(plan.labels),
        dataset=plan.config["dataset"],
        config=yaml.safe_dump(plan.config, sort_keys=False, allow_unicode=True),
    )
    log.info("open %s in a browser", folder / PAGE)


def sentence(row: dict) -> tuple[str, str]:
    """Return one row of a finding as a sentence, computed from its numbers: its verdict, and what that rests on."""
    measure = CALLED[row["measure"]]
    one, two = (_called(row["vary"], row[side]) for side in ("before", "after"))
    where = f" ({row['where']})" if row["where"] else ""
    if row["answer"] == UNKNOWN:
        return f"{measure} was not measured", f"for {one} and {two}{where}."
    before, after, low, high = (number(row[key]) for key in ("mean_before", "mean_after", "low", "high"))
    numbers = f"{before} → {after}, a difference of {number(row['difference'], '+')}"
    sure = f"95 % interval {low} to {high}, effect {measured(row['effect'])}"
    rest = f"{where}: {numbers} ({sure}; {row['labels']} classes, {row['pairs']} pairs)."
    if row["answer"] in SEEN.values():
        return f"{measure} {row['answer']}", f"for {two} than for {one}{rest}"
    return f"{measure}: {row['answer']}", f"between {one} and {two}{rest}"


def number(value: float, sign: str = "-") -> str:
    """Return a measurement with three decimals, or with two digits where those would be nothing, a dash for none."""
    if value != value:
        return measured(value)
    return f"{value:{sign}.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:{sign}.2g}"


def _called(vary: str, value: str) -> str:
    if value == CHANCE:
        return value
    return f"the {value} {vary}" if value in ENDS else f"{vary} {value}"


def _row(row: dict) -> dict:
    seen = row["answer"] in SEEN.values()
    return {**{key: said(value) for key, value in row.items()}, "seen": seen, "measure": CALLED[row["measure"]]}


def _run(plan: Plan, rows: pd.DataFrame) -> dict:
    last = rows.iloc[-1]
    weights = plan.config["runs"][last["run"]]["weights"]
    return {
        "run": last["run"],
        "model": last["model"],
        "weights": f"from the weights {weights}" if weights else "from random weights",
        "epochs": ", ".join(f"{epoch:g}" for epoch in rows["epoch"]),
        "accuracy": measured(last["validation_accuracy"]),
    }


def _plots(plan: Plan) -> dict[str, str]:
    """Return the study's plots that have something to tell here, with what they show."""
    shown = {}
    if plan.dreams.groupby("run")["epoch"].nunique().max() > 1:
        shown["by-epoch"] = "Recognisability against training epoch"
    if plan.dreams.groupby("recipe")["step"].nunique().max() > 1:
        shown["by-step"] = "Recognisability against dream step"
    if len(shown) == 2:
        shown["epoch-by-step"] = "Epoch by step"
    if len(plan.recipes) > 1 or len(plan.config["runs"]) > 1:
        shown["recipes"] = "Runs and recipes, last dreams"
    return shown

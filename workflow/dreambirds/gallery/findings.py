"""Pages of experiments: one finding, and all findings."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import yaml

from dreambirds.config.contrasts import CHANCE, ENDS, Comparison, DreamQuery, by_view
from dreambirds.config.load import Section
from dreambirds.data.tables import read_table, write_table
from dreambirds.errors import one_line
from dreambirds.evaluation.columns import DISPLAY_NAMES, read_dreams_and_runs
from dreambirds.evaluation.contrasts import SEEN, UNKNOWN, compute_contrasts
from dreambirds.figures.contrasts import Compared, write_contrast_montage, write_effects
from dreambirds.gallery.comparison import measured, said
from dreambirds.gallery.pages import write_page
from dreambirds.plan.dream_table import dream_table
from dreambirds.plan.experiments import PAGE, TABLE

MONTAGE, EFFECTS = "montage.png", "effects.png"
log = logging.getLogger(__name__)
TEXT = ("experiment", "question", "vary", "baseline", "compared", "where", "measure", "verdict")


def write_finding(
    config: Section,
    comparisons: Sequence[Comparison],
    recipes: dict[str, Section],
    epochs: Mapping[str, Mapping[str, Sequence[float]]],
    names: dict[str, str],
    learnt: int,
    results: Path,
    folder: Path,
) -> None:
    """Write the page of a study's experiment into a folder, with its table and its two figures.

    `config` is the study's, checked and with all defaults, `comparisons` are those of its experiment, `recipes` its
    recipes spread out, `epochs` those of each run and recipe that it dreams, `names` those of the labels that it dreams
    of, and `learnt` the number of classes that were learnt; `results` contains the study's tables, plots and prepared
    images. Raises UserError where one of them can't be read or is not whole.
    """
    table = dream_table(epochs, {recipe: keys["steps"] for recipe, keys in recipes.items()}, names)
    dreams, runs = read_dreams_and_runs(results, table)
    judges = read_table(results / "judges.csv", rows=pd.DataFrame({"judge": list(config["judges"])}))
    grids, question = config["dreams"]["recipes"], config["experiment"]["question"]
    finding = compute_contrasts(comparisons, grids, recipes, dreams)
    finding.insert(0, "question", question)
    folder.mkdir(parents=True, exist_ok=True)
    write_table(finding, folder / TABLE, "%.6g")
    compared = Compared(comparisons, DreamQuery(grids, recipes, by_view(table)), config["pictures"]["view"])
    write_contrast_montage(compared, results, names, config["montage"]["cell_size"], folder / MONTAGE)
    write_effects(finding, folder / EFFECTS)
    write_page(
        folder / PAGE,
        "finding.html.j2",
        study=config["study"],
        question=question,
        sentences=[sentence(row) for row in finding.to_dict("records")],
        rows=[_row(row) for row in finding.to_dict("records")],
        montage=folder / MONTAGE,
        effects=folder / EFFECTS,
        plots=[(words, results / "plots" / f"{name}.png") for name, words in _plots(table).items()],
        runs=[_run(config["runs"], rows) for _, rows in runs.groupby("run", sort=False)],
        judges=judges.to_dict("records"),
        dreams=len(table),
        recipes=len(recipes),
        classes=len(names),
        learnt=learnt,
        dataset=config["dataset"],
        config=yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
    )
    log.info("open %s in a browser", folder / PAGE)


def sentence(row: dict) -> tuple[str, str]:
    """Return one row of a finding as a sentence, computed from its numbers: its verdict, and what that rests on."""
    measure = DISPLAY_NAMES[row["measure"]]
    one, two = (_called(row["vary"], row[side]) for side in ("baseline", "compared"))
    where = f" ({row['where']})" if row["where"] else ""
    if row["verdict"] == UNKNOWN:
        return f"{measure} was not measured", f"for {one} and {two}{where}."
    before, after, low, high = (number(row[key]) for key in ("mean_baseline", "mean_compared", "ci_low", "ci_high"))
    numbers = f"{before} → {after}, a difference of {number(row['difference'], '+')}"
    sure = f"95 % interval {low} to {high}, effect {measured(row['cohens_dz'])}"
    rest = f"{where}: {numbers} ({sure}; {row['n_classes']} classes, {row['n_pairs']} pairs)."
    if row["verdict"] in SEEN.values():
        return f"{measure} {row['verdict']}", f"for {two} than for {one}{rest}"
    return f"{measure}: {row['verdict']}", f"between {one} and {two}{rest}"


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
    seen = row["verdict"] in SEEN.values()
    return {**{key: said(value) for key, value in row.items()}, "seen": seen, "measure": DISPLAY_NAMES[row["measure"]]}


def _run(runs: dict[str, Section], rows: pd.DataFrame) -> dict:
    last = rows.iloc[-1]
    weights = runs[last["run"]]["weights"]
    return {
        "run": last["run"],
        "model": last["model"],
        "weights": f"from the weights {weights}" if weights else "from random weights",
        "epochs": ", ".join(f"{epoch:g}" for epoch in rows["epoch"]),
        "accuracy": measured(last["validation_accuracy"]),
    }


def _plots(dreams: pd.DataFrame) -> dict[str, str]:
    """Return the study's plots that have something to show here, with what they show."""
    shown = {}
    if dreams.groupby("run")["epoch"].nunique().max() > 1:
        shown["by-epoch"] = "Recognisability against training epoch"
    if dreams.groupby("recipe")["step"].nunique().max() > 1:
        shown["by-step"] = "Recognisability against dream step"
    if len(shown) == 2:
        shown["epoch-by-step"] = "Epoch by step"
    if len(dreams[["run", "recipe"]].drop_duplicates()) > 1:
        shown["recipes"] = "Runs and recipes, last dreams"
    return shown


def write_findings(study: str, tables: list[Path], page: Path, table: Path) -> None:
    """Write the page and the table of all experiments; each table lies beside the page of its experiment, and is called
    as that is."""
    parts = [read_findings(path).assign(experiment=path.stem) for path in tables]
    whole = pd.concat(parts, ignore_index=True)
    write_table(whole[["experiment", *(column for column in whole if column != "experiment")]], table, "%.6g")
    experiments = [
        {
            "name": path.stem,
            "question": rows["question"].iloc[0],
            "sentences": [sentence(row) for row in rows.to_dict("records")],
        }
        for path, rows in zip(tables, parts, strict=True)
    ]
    write_page(page, "findings.html.j2", study=study, experiments=experiments)


def read_findings(path: Path) -> pd.DataFrame:
    """Return a table of findings, whose words stay words."""
    return read_table(path, TEXT)


def markdown(table: pd.DataFrame) -> str:
    """Return the findings as a table of Markdown, a line a comparison and measure, each experiment's question above."""
    lines = []
    for (name, question), rows in table.groupby(["experiment", "question"], sort=False):
        lines += [
            f"\n### `{name}`: {one_line(question)}\n",
            "| contrast | measure | baseline | compared | difference [95 %] | d_z | verdict |",
        ]
        lines.append("|---|---|---|---|---|---|---|")
        for row in rows.to_dict("records"):
            where = f" ({row['where']})" if row["where"] else ""
            compared = f"{row['vary']} {row['baseline']} → {row['compared']}{where}"
            interval = f"{number(row['difference'], '+')} [{number(row['ci_low'])}, {number(row['ci_high'])}]"
            sides = [number(row["mean_baseline"]), number(row["mean_compared"])]
            cells = [
                compared,
                DISPLAY_NAMES[row["measure"]],
                *sides,
                interval,
                measured(row["cohens_dz"]),
                row["verdict"],
            ]
            lines.append(f"| {' | '.join(one_line(cell).replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)

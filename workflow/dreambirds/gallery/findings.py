"""Pages of one finding and of all findings of a study."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import yaml

from dreambirds.config.contrasts import CHANCE, FIRST_LAST, Comparison, DreamQuery, by_view
from dreambirds.config.load import Section
from dreambirds.data.tables import read_table, write_table
from dreambirds.dream_job.archive import read_dreams
from dreambirds.errors import one_line
from dreambirds.evaluation.columns import DISPLAY_NAMES, read_dreams_and_runs
from dreambirds.evaluation.contrasts import DIRECTIONS, NO_DIFFERENCE, NOT_MEASURED, compute_contrasts
from dreambirds.figures.contrasts import Compared, write_contrast_montage, write_effects
from dreambirds.gallery.comparison import format_cell, format_measurement
from dreambirds.gallery.pages import write_page
from dreambirds.plan.experiments import PAGE, TABLE

MONTAGE, EFFECTS = "montage.png", "effects.png"
NUMBERS = ("mean_baseline", "mean_compared", "ci_low", "ci_high")
log = logging.getLogger(__name__)
TEXT = ("experiment", "question", "vary", "baseline", "compared", "where", "measure", "verdict")


def write_finding(
    config: Section,
    comparisons: Sequence[Comparison],
    recipes: dict[str, Section],
    archives: Sequence[Path],
    names: dict[str, str],
    learnt: int,
    results: Path,
    folder: Path,
) -> None:
    """Write the page of a study's experiment into a folder, with its table and its two figures.

    `config` is the validated config of the study with all defaults, and `comparisons` those of its experiment.
    `recipes` contains the parameters of each recipe after the expansion of grids, `archives` the archives of the
    study's dreams, and `names` the display name of each label that has dreams. `learnt` is the number of
    classes in training. `results` is the folder with the study's tables, plots and prepared images. Raises UserError
    if one of these files cannot be read or is incomplete.
    """
    table = read_dreams(archives)
    dreams, runs = read_dreams_and_runs(results / "dreams.csv", results / "runs.csv", table)
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
        plots=[(title, results / "plots" / f"{name}.png") for name, title in _plots(table).items()],
        runs=[_run(config["runs"], rows) for _, rows in runs.groupby("run", sort=False)],
        judges=judges.to_dict("records"),
        dreams=len(table),
        recipes=len(recipes),
        classes=len(names),
        learnt=learnt,
        no_difference=NO_DIFFERENCE,
        dataset=config["dataset"],
        config=yaml.safe_dump(config, sort_keys=False, allow_unicode=True),
    )
    log.info("open '%s' in a browser", folder / PAGE)


def sentence(row: dict) -> tuple[str, str]:
    """Return one row of a finding as a sentence, in two parts: the verdict, and the numbers that support it."""
    measure = DISPLAY_NAMES[row["measure"]]
    one, two = (_side_name(row["vary"], row[side]) for side in ("baseline", "compared"))
    where = f" ({row['where']})" if row["where"] else ""
    if row["verdict"] == NOT_MEASURED:
        return f"{measure} was not measured", f"for {one} and {two}{where}."
    before, after, low, high = (format_number(row[key]) for key in NUMBERS)
    numbers = f"{before} → {after}, a difference of {format_number(row['difference'], '+')}"
    statistics = f"95% interval {low} to {high}, d_z {format_measurement(row['cohens_dz'])}"
    rest = f"{where}: {numbers} ({statistics}; {row['n_classes']} classes, {row['n_pairs']} pairs)."
    if row["verdict"] in DIRECTIONS.values():
        return f"{measure} is {row['verdict']}", f"for {two} than for {one}{rest}"
    return f"{measure}: {row['verdict']}", f"between {one} and {two}{rest}"


def format_number(value: float, sign: str = "-") -> str:
    """Return a number with three decimals, or with two significant digits below 0.01; a dash for NaN."""
    if value != value:
        return format_measurement(value)
    return f"{value:{sign}.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:{sign}.2g}"


def _side_name(vary: str, value: str) -> str:
    if value == CHANCE:
        return value
    return f"the {value} {vary}" if value in FIRST_LAST or vary == "view" else f"{vary} {value}"


def _row(row: dict) -> dict:
    texts = {key: format_cell(value) for key, value in row.items()}
    return {**texts, "differs": row["verdict"] in DIRECTIONS.values(), "measure": DISPLAY_NAMES[row["measure"]]}


def _run(runs: dict[str, Section], rows: pd.DataFrame) -> dict:
    last = rows.iloc[-1]
    weights = runs[last["run"]]["weights"]
    return {
        "run": last["run"],
        "model": last["model"],
        "weights": f"trained from the weights {weights}" if weights else "trained from random weights",
        "epochs": ", ".join(f"{epoch:g}" for epoch in rows["epoch"]),
        "accuracy": format_measurement(last["validation_accuracy"]),
    }


def _plots(dreams: pd.DataFrame) -> dict[str, str]:
    """Return the titles of the plots that have several values on their axis in this study, by the plot's name."""
    titles = {}
    if dreams.groupby("run")["epoch"].nunique().max() > 1:
        titles["by-epoch"] = "Recognition by training epoch"
    if dreams.groupby("recipe")["step"].nunique().max() > 1:
        titles["by-step"] = "Recognition by dream step"
    if len(titles) == 2:
        titles["epoch-by-step"] = "Recognition by epoch and step"
    if len(dreams[["run", "recipe"]].drop_duplicates()) > 1:
        titles["recipes"] = "Recognition by run and recipe, last epoch and step"
    return titles


def write_findings(study: str, tables: list[Path], page: Path, table: Path) -> None:
    """Write the page and the table of all experiments.

    The page links to each experiment's page, which must be in the folder of `page` and have the same name as its table
    in `tables`.
    """
    parts = [read_findings(path).assign(experiment=path.stem) for path in tables]
    combined = pd.concat(parts, ignore_index=True)
    write_table(combined[["experiment", *(column for column in combined if column != "experiment")]], table, "%.6g")
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
    """Return a table of findings, with the columns in `TEXT` as text."""
    return read_table(path, TEXT)


def markdown(table: pd.DataFrame) -> str:
    """Return the findings as Markdown: per experiment a heading with its question, and a table with one line per
    comparison and metric."""
    lines = []
    for (name, question), rows in table.groupby(["experiment", "question"], sort=False):
        lines += [
            f"\n### `{name}`: {one_line(question)}\n",
            "| contrast | measure | baseline | compared | difference [95%] | d_z | verdict |",
        ]
        lines.append("|---|---|---|---|---|---|---|")
        for row in rows.to_dict("records"):
            where = f" ({row['where']})" if row["where"] else ""
            compared = f"{row['vary']} {row['baseline']} → {row['compared']}{where}"
            before, after, low, high = (format_number(row[key]) for key in NUMBERS)
            interval = f"{format_number(row['difference'], '+')} [{low}, {high}]"
            cells = [
                compared,
                DISPLAY_NAMES[row["measure"]],
                before,
                after,
                interval,
                format_measurement(row["cohens_dz"]),
                row["verdict"],
            ]
            lines.append(f"| {' | '.join(one_line(cell).replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)

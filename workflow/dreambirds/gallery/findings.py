"""Pages of one finding and of all findings of a study."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from dreambirds.config.contrasts import CHANCE, FIRST_LAST, Comparison, DreamQuery, Group
from dreambirds.config.load import Section
from dreambirds.data.sources.catalog import has_photographs
from dreambirds.data.tables import read_history, read_table, write_table
from dreambirds.dream_job.archive import Picture
from dreambirds.errors import one_line
from dreambirds.evaluation.columns import DISPLAY_NAMES
from dreambirds.evaluation.contrasts import DIRECTIONS, NO_DIFFERENCE, NOT_MEASURED, compute_contrasts
from dreambirds.evaluation.tables import Measured
from dreambirds.figures.contrasts import Compared, write_contrast_montage, write_effects
from dreambirds.gallery.comparison import format_cell, format_measurement
from dreambirds.gallery.pages import write_page

NUMBERS = ("mean_baseline", "mean_compared", "ci_low", "ci_high")
TEXT = ("question", "text", "vary", "baseline", "compared", "where", "measure", "verdict")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """A question, and the part of the study that it looks at.

    Its name and text, its comparisons, the part of the config that it depends on, the parameters of its recipes, the
    recipe of the config of each of them, the factors of its runs, their ``model``, ``weights`` and ``checkpoints``, its
    epochs by run and recipe, the display name of each label that has dreams, and the number of classes of the study.
    """

    name: str
    text: str
    comparisons: Sequence[Comparison]
    config: Section
    recipes: Mapping[str, Section]
    origins: Mapping[str, str]
    runs: Mapping[str, Section]
    networks: Mapping[str, Section]
    epochs: Mapping[str, Mapping[str, Sequence[float]]]
    names: Mapping[str, str]
    learnt: int


def write_finding(
    asked: Asked,
    measured: Measured,
    histories: Sequence[Path],
    dataset: Path,
    files: Mapping[str, Path],
    cell_size: int,
    view: str,
) -> None:
    """Write the answer to a question: its ``page``, ``table``, ``montage`` and ``effects``, the keys of `files`.

    `measured` contains the dreams of the question. `histories` are the training histories of its runs, up to the last
    epoch that the question looks at. `dataset` is the folder of the prepared data set. `cell_size` is the side of the
    montage's cells in pixels, `view` the view that it shows unless views are compared. Raises UserError if one of these
    files cannot be read or is incomplete.
    """
    query = DreamQuery(asked.origins, asked.recipes, asked.epochs, asked.names, asked.runs)
    runs = [_run(asked, *each) for each in zip(asked.epochs, histories, strict=True)]
    finding = compute_contrasts(asked.comparisons, query, measured.dreams)
    finding.insert(0, "question", asked.name)
    finding.insert(1, "text", asked.text)
    compared = Compared(asked.comparisons, query, view, _images(measured.views))
    study = asked.config["study"]
    write_contrast_montage(compared, study, dataset, asked.names, cell_size, files["montage"])
    write_effects(finding, files["effects"])
    write_table(finding, files["table"], "%.6g")
    rows = finding.to_dict("records")
    write_page(
        files["page"],
        "finding.html.j2",
        study=study,
        text=asked.text,
        sentences=[sentence(row) for row in rows],
        rows=[_row(row) for row in rows],
        montage=files["montage"],
        effects=files["effects"],
        runs=runs,
        judges=measured.judges.to_dict("records"),
        dreams=len(measured.dreams),
        recipes=len(asked.recipes),
        classes=len(asked.names),
        learnt=asked.learnt,
        no_difference=NO_DIFFERENCE,
        dataset=asked.config["dataset"],
        photographs=has_photographs(asked.config["dataset"]),
        config=yaml.safe_dump(asked.config, sort_keys=False, allow_unicode=True),
    )
    log.info("open '%s' in a browser", files["page"])


def _images(views: pd.DataFrame) -> dict[Group, dict[str, Picture]]:
    """Return the image of each label, by group."""
    images: dict[Group, dict[str, Picture]] = {}
    for row in views[[*Group._fields, "label", "picture"]].itertuples(index=False):
        images.setdefault(Group(*row[:5]), {})[row.label] = row.picture
    return images


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


def _run(asked: Asked, run: str, history: Path) -> dict[str, Any]:
    keys, epochs = asked.networks[run], sorted(set().union(*asked.epochs[run].values()))
    last = read_history(history, epochs[-1]).iloc[-1]
    return {
        "run": run,
        "model": keys["model"],
        "weights": _origin(keys),
        "epochs": ", ".join(f"{epoch:g}" for epoch in epochs),
        "accuracy": format_measurement(last["validation_accuracy"]),
    }


def _origin(run: Mapping[str, Any]) -> str:
    """Return where the weights of a run come from, as its page says it."""
    if run["checkpoints"]:
        return "trained elsewhere"
    return f"trained from the weights {run['weights']}" if run["weights"] else "trained from random weights"


def write_findings(study: str, tables: Sequence[Path], page: Path, table: Path) -> None:
    """Write the page and the table of all questions of a study.

    `tables` are the tables of the questions. The page links to each question's page, ``<question>/index.html``. Raises
    UserError if a table cannot be read or is incomplete.
    """
    combined = pd.concat([read_findings(path) for path in tables], ignore_index=True)
    write_table(combined, table, "%.6g")
    questions = [
        {"name": name, "text": text, "sentences": [sentence(row) for row in rows.to_dict("records")]}
        for (name, text), rows in combined.groupby(["question", "text"], sort=False)
    ]
    write_page(page, "findings.html.j2", study=study, questions=questions)


def read_findings(path: Path) -> pd.DataFrame:
    """Return a table of findings, with the columns in `TEXT` as text."""
    return read_table(path, TEXT)


def markdown(table: pd.DataFrame) -> str:
    """Return the findings as Markdown: per question a heading, and a table with one line per comparison and metric."""
    lines = []
    for (name, text), rows in table.groupby(["question", "text"], sort=False):
        lines += [
            f"\n### `{name}`: {one_line(text)}\n",
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

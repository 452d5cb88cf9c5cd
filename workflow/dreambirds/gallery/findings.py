"""All findings on one page and in one table, and that table as Markdown."""

from pathlib import Path

import pandas as pd

from dreambirds.data.tables import read_table, write_table
from dreambirds.errors import one_line
from dreambirds.gallery.compare_tables import measured
from dreambirds.gallery.finding import number, sentence
from dreambirds.gallery.pages import write_page
from dreambirds.judging.columns import CALLED

TEXT = ("experiment", "question", "vary", "before", "after", "where", "measure", "answer")


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
            "| compared | measure | before | after | difference [95 %] | d_z | answer |",
        ]
        lines.append("|---|---|---|---|---|---|---|")
        for row in rows.to_dict("records"):
            where = f" ({row['where']})" if row["where"] else ""
            compared = f"{row['vary']} {row['before']} → {row['after']}{where}"
            interval = f"{number(row['difference'], '+')} [{number(row['low'])}, {number(row['high'])}]"
            sides = [number(row["mean_before"]), number(row["mean_after"])]
            cells = [compared, CALLED[row["measure"]], *sides, interval, measured(row["effect"]), row["answer"]]
            lines.append(f"| {' | '.join(one_line(cell).replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)

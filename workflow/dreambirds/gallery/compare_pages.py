"""Comparisons as pages of one file, with their pictures inside."""

from pathlib import Path

import pandas as pd

from dreambirds.gallery.compare_studies import Effect, most_different
from dreambirds.gallery.compare_tables import JOB, MEASURES, Study, best, measured, recipes, said, summary
from dreambirds.gallery.compare_text import NUMBERS, TITLES, text
from dreambirds.gallery.pages import data_uri, write_page


def write_one(path: Path, study: Study) -> None:
    """Write the page of a study's runs and recipes: the `summary`, the best values marked, whole or not at all."""
    table = summary(study)
    marked = best(table)
    rows = [
        [
            {"text": text(name, row[name]), "number": name in NUMBERS, "best": name in marked and marked[name][place]}
            for name in table.columns
        ]
        for place, row in table.iterrows()
    ]
    parameters = list(recipes(study).columns[1:])
    columns = [
        {"name": TITLES.get(name, name), "parameter": name in parameters, "number": name in NUMBERS}
        for name in table.columns
    ]
    groups = [[rows[place] for place in places] for _, places in table.groupby("run", sort=False).groups.items()]
    write_page(path, "compare.html.j2", study=study.folder.name, columns=columns, groups=groups)


def write_two(
    path: Path,
    first: Study,
    second: Study,
    names: tuple[str, str],
    differences: pd.DataFrame,
    effects: list[Effect],
    both: pd.DataFrame,
) -> None:
    """Write the page of two studies: what differs, what it did, and the pairs that differ most, side by side.

    The arguments after the two names are what `compare_studies` gives. It is written whole or not at all.
    """
    most, by = most_different(both)
    write_page(
        path,
        "compare_two.html.j2",
        names=names,
        differences=[[said(value) for value in row] for row in differences.itertuples(index=False)],
        effects=[_effect(effect) for effect in effects],
        by=MEASURES[by],
        pairs=[_pair(row, by, first, second) for row in most.to_dict("records")],
        all_pairs=len(both),
    )


def _effect(effect: Effect) -> dict:
    return {
        "name": MEASURES[effect.measure],
        "first": measured(effect.first),
        "second": measured(effect.second),
        "mean": f"{effect.mean:+.3f}",
        "interval": f"{measured(effect.low)} to {measured(effect.high)}",
        "labels": effect.labels,
        "pairs": effect.pairs,
        "verdict": effect.verdict,
    }


def _pair(row: dict, by: str, first: Study, second: Study) -> dict:
    sides = [_side(row, by, study, end) for study, end in ((first, "_1"), (second, "_2"))]
    shared = [column for column in [*JOB, "step"] if column in row and f"{column}_1" not in row]
    return {
        "name": row["name_1"],
        "about": " · ".join(f"{column} {said(row[column])}" for column in shared),
        "sides": sides,
    }


def _side(row: dict, by: str, study: Study, end: str) -> dict:
    picture = study.folder / row[f"picture_rescaled{end}"]
    alone = [f"{column} {said(row[column + end])}" for column in [*JOB, "step"] if column + end in row]
    return {
        "picture": data_uri(picture) if picture.is_file() else None,
        "value": measured(row[f"{by}{end}"]),
        "about": " · ".join(alone),
    }

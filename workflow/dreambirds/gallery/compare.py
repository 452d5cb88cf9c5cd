"""Show a comparison: as a page, and as a table in the terminal."""

from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dreambirds.errors import UserError, one_line
from dreambirds.gallery.comparison import (
    JOB,
    MEASURES,
    Effect,
    Study,
    best,
    differences,
    effects,
    measured,
    most_different,
    pairs,
    read_study,
    recipes,
    said,
    summary,
)
from dreambirds.gallery.pages import data_uri, write_page

MEASURED = ("validation_accuracy", *MEASURES)
NUMBERS = ("epoch", "dreams", *MEASURED)
TITLES = {**MEASURES, "validation_accuracy": "validation accuracy"}
MARK = "*"


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

    The arguments after the two names are what `differences`, `effects` and `pairs` return. It is written whole or not
    at all.
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
        "interval": f"{measured(effect.ci_low)} to {measured(effect.ci_high)}",
        "n_classes": effect.n_classes,
        "n_pairs": effect.n_pairs,
        "verdict": effect.verdict,
    }


def _pair(row: dict, by: str, first: Study, second: Study) -> dict:
    sides = [_side(row, by, study, end) for study, end in ((first, "_1"), (second, "_2"))]
    shared = [column for column in [*JOB, "step"] if column in row and f"{column}_1" not in row]
    return {
        "name": row["class_name_1"],
        "about": " · ".join(f"{column} {said(row[column])}" for column in shared),
        "sides": sides,
    }


def _side(row: dict, by: str, study: Study, end: str) -> dict:
    picture = study.folder / row[f"image_path_rescaled{end}"]
    alone = [f"{column} {said(row[column + end])}" for column in [*JOB, "step"] if column + end in row]
    return {
        "picture": data_uri(picture) if picture.is_file() else None,
        "value": measured(row[f"{by}{end}"]),
        "about": " · ".join(alone),
    }


def study_titles(first: Study, second: Study) -> tuple[str, str]:
    """Return what two studies are called: by their folders' names, or by their paths where those are the same."""
    names = first.folder.name, second.folder.name
    return names if names[0] != names[1] else (str(first.folder), str(second.folder))


def overview(study: Study, table: pd.DataFrame, width: int) -> list[Table]:
    """Return a study's `summary` as a table, the best values marked; where it does not fit into `width` letters, the
    recipes' parameters have a table of their own."""
    whole = _overview(study, table)
    if Console(width=10_000).measure(whole).maximum <= width:
        return [whole]
    known = recipes(study)
    if len(known.columns) == 1:
        return [whole]
    apart = _table(f"{study.folder.name}: what the recipes differ in", known.columns)
    for row in known.itertuples(index=False):
        apart.add_row(*(_literal(said(value)) for value in row))
    return [apart, _overview(study, table.drop(columns=list(known.columns[1:])))]


def _overview(study: Study, table: pd.DataFrame) -> Table:
    shown = _table(f"{study.folder.name}: means over the dreams at each recipe's last step", table.columns)
    shown.caption = f"{MARK} best of all rows"
    marked = best(table)
    for place, row in table.iterrows():
        last = place + 1 == len(table) or table["run"][place + 1] != row["run"]
        again = place > 0 and table["run"][place - 1] == row["run"]
        cells = [_cell(column, row[column], column in marked and marked[column][place]) for column in table.columns[1:]]
        shown.add_row("" if again else _literal(row["run"]), *cells, end_section=last)
    return shown


def text(column: str, value: object) -> str:
    """Return a cell of a `summary` as people read it."""
    return measured(value) if column in MEASURED else said(value)


def _literal(words: str) -> str:
    """Return words from a table or a path as they are: neither markup nor a terminal's codes."""
    return escape(one_line(words))


def _cell(column: str, value: object, is_best: bool) -> str:
    shown = _literal(text(column, value))
    return f"[bold]{shown}{MARK}[/]" if is_best else shown


def _table(title: str, columns) -> Table:
    table = Table(title=_literal(title), box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left")
    table.pad_edge, table.collapse_padding = False, True
    for column in columns:
        side = "right" if column in NUMBERS else "left"
        table.add_column(_literal(TITLES.get(column, column)), justify=side, overflow="fold")
    return table


def parameters(differences: pd.DataFrame, names: tuple[str, str]) -> Table:
    """Return the table of the settings in which two studies differ."""
    table = _table("What differs in parameters", ["of", "parameter", *names])
    if differences.empty:
        table.caption = "nothing that the tables tell"
    for row in differences.itertuples(index=False):
        table.add_row(*(_literal(said(value)) for value in row))
    return table


def measurements(effects: list[Effect], names: tuple[str, str]) -> Table:
    """Return the table of what that did to the measurements."""
    table = _table("What it did to the measurements", ["measurement"])
    for column in (*names, "difference", "95 % interval", "labels", "pairs", ""):
        table.add_column(_literal(column), justify="right" if column else "left")
    for effect in effects:
        low, high = measured(effect.ci_low), measured(effect.ci_high)
        numbers = [measured(value) for value in (effect.first, effect.second)]
        counts = [str(effect.n_classes), str(effect.n_pairs), effect.verdict]
        table.add_row(MEASURES[effect.measure], *numbers, f"{effect.mean:+.3f}", f"{low} to {high}", *counts)
    table.caption = "difference: second less first, averaged by label; the interval is over labels"
    return table


def compare_two(first: Study, second: Study, console: Console) -> Path:
    """Print in what two studies differ and what it did, and return the page that shows it, pictures side by side.

    Raises UserError if they share no label, or have no dreams that belong together.
    """
    both = pairs(first, second)
    titles = study_titles(first, second)
    apart, what = differences(first, second), effects(both)
    for table in (parameters(apart, titles), measurements(what, titles)):
        console.print(table)
    path = first.folder.parent / "compare" / f"{first.folder.name}-{second.folder.name}.html"
    write_two(path, first, second, titles, apart, what, both)
    return path


def compare_one(study: Study, console: Console, sort: str | None = None) -> None:
    """Print a study's runs and recipes. Raises UserError if there is no column `sort`."""
    for table in overview(study, summary(study, sort), console.width):
        console.print(table)


def write_overview(folder: Path, path: Path) -> None:
    """Write the page of the runs and recipes of a study's folder. Raises UserError if its tables can't be read."""
    write_one(path, read_study(folder))


def compare(folders: list[Path], sort: str | None = None) -> None:
    """Print the comparison of one or two folders of results; of two, write a page too.

    Raises UserError if there are more, if one is named twice, or if they can't be read or compared.
    """
    if len(folders) > 2:
        raise UserError(f"one or two studies can be compared, not {len(folders)}")
    if len(folders) == 2 and sort is not None:
        raise UserError("--sort: is for the table of one study, not for two")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UserError(f"'{folders[0]}' is named twice; name two studies")
    console = Console(highlight=False)
    studies = [read_study(folder.resolve() if folder.name in ("", "..") else folder) for folder in folders]
    if len(studies) == 2:
        said = f"Pictures side by side: {compare_two(*studies, console)}"
        console.print(one_line(said), soft_wrap=True, markup=False, emoji=False)
    else:
        compare_one(*studies, console, sort)

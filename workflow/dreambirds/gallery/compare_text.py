"""Comparisons as tables for the terminal."""

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dreambirds.errors import one_line
from dreambirds.gallery.compare_studies import Effect
from dreambirds.gallery.compare_tables import MEASURES, Study, best, measured, recipes, said

MEASURED = ("validation_accuracy", *MEASURES)
NUMBERS = ("epoch", "dreams", *MEASURED)
TITLES = {**MEASURES, "validation_accuracy": "validation accuracy"}
MARK = "*"


def titles(first: Study, second: Study) -> tuple[str, str]:
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
        low, high = measured(effect.low), measured(effect.high)
        numbers = [measured(value) for value in (effect.first, effect.second)]
        counts = [str(effect.labels), str(effect.pairs), effect.verdict]
        table.add_row(MEASURES[effect.measure], *numbers, f"{effect.mean:+.3f}", f"{low} to {high}", *counts)
    table.caption = "difference: second less first, averaged by label; the interval is over labels"
    return table

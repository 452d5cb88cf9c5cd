"""Display of a comparison, as an HTML page and as tables in the terminal."""

from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dreambirds.dream_job.archive import find_picture, read_picture
from dreambirds.errors import UserError, one_line
from dreambirds.gallery.comparison import (
    JOB,
    MEASURED,
    MEASURES,
    Study,
    best,
    format_cell,
    format_measurement,
    measured,
    read_study,
    recipes,
    summary,
)
from dreambirds.gallery.differences import Effect, differences, effects, most_different, pairs
from dreambirds.gallery.pages import image_uri, write_page

NUMBERS = ("epoch", "dreams", *MEASURED)
TITLES = {**MEASURES, "validation_accuracy": "validation accuracy"}
MARK = "*"


def write_one(path: Path, study: Study) -> None:
    """Write the page of a study's runs and recipes: its `summary` with the best values marked. Writes atomically."""
    table = measured(summary(study))
    is_best = best(table)
    rows = [
        [
            {
                "text": cell_text(name, row[name]),
                "number": name in NUMBERS,
                "best": name in is_best and is_best[name][index],
            }
            for name in table.columns
        ]
        for index, row in table.iterrows()
    ]
    parameters = list(recipes(study).columns[1:])
    columns = [
        {"name": TITLES.get(name, name), "parameter": name in parameters, "number": name in NUMBERS}
        for name in table.columns
    ]
    groups = [[rows[index] for index in indices] for _, indices in table.groupby("run", sort=False).groups.items()]
    facts = {"study": study.folder.name, "columns": columns, "groups": groups, "pooled": study.has_seeds}
    write_page(path, "compare.html.j2", **facts)


def write_two(
    path: Path,
    first: Study,
    second: Study,
    names: tuple[str, str],
    differences: pd.DataFrame,
    effects: list[Effect],
    both: pd.DataFrame,
) -> None:
    """Write the page of two studies: their settings and measurements that differ, and the most different dreams.

    `names` are the display names of the studies. The arguments after them are the results of `differences`, `effects`
    and `pairs`. Writes atomically.
    """
    most, by = most_different(both)
    write_page(
        path,
        "compare_two.html.j2",
        names=names,
        differences=[[format_cell(value) for value in row] for row in differences.itertuples(index=False)],
        effects=[_effect(effect) for effect in effects],
        by=MEASURES[by],
        pairs=[_pair(row, by, first, second) for row in most.to_dict("records")],
        all_pairs=len(both),
    )


def _effect(effect: Effect) -> dict:
    return {
        "name": MEASURES[effect.measure],
        "first": format_measurement(effect.first),
        "second": format_measurement(effect.second),
        "mean": f"{effect.mean:+.3f}",
        "interval": f"{format_measurement(effect.ci_low)} to {format_measurement(effect.ci_high)}",
        "n_classes": effect.n_classes,
        "n_pairs": effect.n_pairs,
        "verdict": effect.verdict,
    }


def _pair(row: dict, by: str, first: Study, second: Study) -> dict:
    sides = [_side(row, by, study, end) for study, end in ((first, "_1"), (second, "_2"))]
    shared = [column for column in [*JOB, "step"] if column in row and f"{column}_1" not in row]
    return {
        "name": row["class_name_1"],
        "about": " · ".join(f"{column} {format_cell(row[column])}" for column in shared),
        "sides": sides,
    }


def _side(row: dict, by: str, study: Study, end: str) -> dict:
    image = find_picture(study.folder / row[f"image_path_rescaled{end}"])
    differing = [f"{column} {format_cell(row[column + end])}" for column in [*JOB, "step"] if column + end in row]
    return {
        "image": image_uri(read_picture(image), "png") if image else None,
        "value": format_measurement(row[f"{by}{end}"]),
        "dreams": row[f"dreams{end}"],
        "about": " · ".join(differing),
    }


def study_titles(first: Study, second: Study) -> tuple[str, str]:
    """Return the display names of two studies: their folders' names, or their paths if the names are the same."""
    names = first.folder.name, second.folder.name
    return names if names[0] != names[1] else (str(first.folder), str(second.folder))


def overview(study: Study, table: pd.DataFrame, width: int) -> list[Table]:
    """Return a study's `summary` as a table with the best values marked.

    If it is wider than `width` characters, the parameters of the recipes are moved to a separate table.
    """
    complete = _overview(study, table)
    if Console(width=10_000).measure(complete).maximum <= width:
        return [complete]
    parameters = recipes(study)
    if len(parameters.columns) == 1:
        return [complete]
    separate = _table(f"{study.folder.name}: parameters that vary between recipes", parameters.columns)
    for row in parameters.itertuples(index=False):
        separate.add_row(*(_literal(format_cell(value)) for value in row))
    return [separate, _overview(study, table.drop(columns=list(parameters.columns[1:])))]


def _overview(study: Study, table: pd.DataFrame) -> Table:
    result = _table(f"{study.folder.name}: means over the dreams at each recipe's last step", table.columns)
    result.caption = f"{MARK} best of all rows" + ("; training and dream seeds are pooled" if study.has_seeds else "")
    marked = best(table)
    for index, row in table.iterrows():
        last = index + 1 == len(table) or table["run"][index + 1] != row["run"]
        repeated = index > 0 and table["run"][index - 1] == row["run"]
        cells = [_cell(column, row[column], column in marked and marked[column][index]) for column in table.columns[1:]]
        result.add_row("" if repeated else _literal(row["run"]), *cells, end_section=last)
    return result


def cell_text(column: str, value: object) -> str:
    """Return the display text of a cell of a `summary`."""
    return format_measurement(value) if column in MEASURED else format_cell(value)


def _literal(text: str) -> str:
    """Escape rich markup and terminal codes in a text."""
    return escape(one_line(text))


def _cell(column: str, value: object, is_best: bool) -> str:
    text = _literal(cell_text(column, value))
    return f"[bold]{text}{MARK}[/]" if is_best else text


def _table(title: str, columns) -> Table:
    table = Table(title=_literal(title), box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left")
    table.pad_edge, table.collapse_padding = False, True
    for column in columns:
        side = "right" if column in NUMBERS else "left"
        table.add_column(_literal(TITLES.get(column, column)), justify=side, overflow="fold")
    return table


def parameters(differences: pd.DataFrame, names: tuple[str, str]) -> Table:
    """Return the table of the settings in which two studies differ."""
    table = _table("Settings that differ", ["scope", "parameter", *names])
    if differences.empty:
        table.caption = "the tables contain no differences"
    for row in differences.itertuples(index=False):
        table.add_row(*(_literal(format_cell(value)) for value in row))
    return table


def measurements(effects: list[Effect], names: tuple[str, str]) -> Table:
    """Return the table of the differences in measurements between two studies."""
    table = _table("Differences in measurements", ["metric"])
    for column in (*names, "difference", "95% interval", "labels", "pairs", ""):
        table.add_column(_literal(column), justify="right" if column else "left")
    for effect in effects:
        low, high = format_measurement(effect.ci_low), format_measurement(effect.ci_high)
        numbers = [format_measurement(value) for value in (effect.first, effect.second)]
        counts = [str(effect.n_classes), str(effect.n_pairs), effect.verdict]
        table.add_row(MEASURES[effect.measure], *numbers, f"{effect.mean:+.3f}", f"{low} to {high}", *counts)
    table.caption = "difference: second minus first, averaged by label; interval: over labels"
    return table


def compare_two(first: Study, second: Study, console: Console) -> Path:
    """Print how the settings and measurements of two studies differ, write the page, and return its path.

    Raises UserError if they share no label, or have no matching dreams.
    """
    both = pairs(first, second)
    titles = study_titles(first, second)
    settings, found = differences(first, second), effects(both)
    for table in (parameters(settings, titles), measurements(found, titles)):
        console.print(table)
    path = first.folder.parent / "compare" / f"{first.folder.name}-{second.folder.name}.html"
    write_two(path, first, second, titles, settings, found, both)
    return path


def compare_one(study: Study, console: Console, sort: str | None = None) -> None:
    """Print the table of a study's runs and recipes. Raises UserError if there is no column `sort`."""
    for table in overview(study, measured(summary(study, sort)), console.width):
        console.print(table)


def write_overview(folder: Path, path: Path) -> None:
    """Write the page of a study's runs and recipes. Raises UserError if the tables in `folder` cannot be read."""
    write_one(path, read_study(folder))


def compare(folders: list[Path], sort: str | None = None) -> None:
    """Print the comparison of one or two results folders; for two, also write a page.

    Raises UserError if there are more than two, if both are the same, or if they cannot be read or compared.
    """
    if len(folders) > 2:
        raise UserError(f"cannot compare {len(folders)} studies; pass one or two")
    if len(folders) == 2 and sort is not None:
        raise UserError("--sort: applies to one study only; omit it to compare two")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise UserError(f"'{folders[0]}' is given twice; pass two different studies")
    console = Console(highlight=False)
    studies = [read_study(folder.resolve() if folder.name in ("", "..") else folder) for folder in folders]
    if len(studies) == 2:
        message = f"Open '{compare_two(*studies, console)}' in a browser"
        console.print(one_line(message), soft_wrap=True, markup=False, emoji=False)
    else:
        compare_one(*studies, console, sort)

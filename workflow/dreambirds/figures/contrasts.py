"""The pictures of an experiment: its dreams side by side, a column a value of what varies, and the effects."""

from pathlib import Path

import pandas as pd

from dreambirds.config.contrasts import ENDS, Comparison, DreamQuery, by_view
from dreambirds.data.tables import example_pictures
from dreambirds.dream_job.snapshots import save_png
from dreambirds.evaluation.columns import DISPLAY_NAMES
from dreambirds.evaluation.contrasts import say, where
from dreambirds.figures.assembly import REAL
from dreambirds.figures.draw import effects
from dreambirds.figures.montage import Grid, montage
from dreambirds.figures.text import save_figure
from dreambirds.plan.paths import picture_path
from dreambirds.plan.plan import Plan

MOST_COLUMNS, MOST_ROWS = 10, 12


def write_montage(plan: Plan, dataset: Path, path: Path) -> None:
    """Write the dreams that an experiment compares: a row a class, a column a value, at last a real picture of each.

    Of dreams that differ in nothing that is compared, the first is shown, in the view of the films unless the views are
    compared; at most ten columns and twelve classes.
    """
    columns = _columns(plan)
    shown = dict(list(columns.items())[:MOST_COLUMNS])
    known = [label for label in plan.names if all(label in found for found in shown.values())]
    labels, examples = known[:MOST_ROWS], example_pictures(dataset)
    cells = [[*(found[label] for found in shown.values()), examples[label]] for label in labels]
    left = len(columns) - len(shown) + len(known) - len(labels)
    title = "What was compared" + (f" ({left} columns or classes are left out)" if left else "")
    names = [plan.names[label] for label in labels]
    page = Grid(cells, names, [*shown, REAL], title, f"study {plan.study} · {plan.config['pictures']['view']} view")
    facts = {"study": plan.study, "columns": list(shown), "labels": labels}
    save_png(montage(page, plan.config["montage"]["cell_size"]), path, title, facts)


def _columns(plan: Plan) -> dict[str, dict[str, Path]]:
    """Return each compared value by its name, with the first picture of each class that has it."""
    dreams = DreamQuery(plan.config, plan.recipes, by_view(plan.dreams))
    several = len({str(comparison.where.get("recipe")) for comparison in plan.comparisons}) > 1
    columns: dict[str, dict[str, Path]] = {}
    for comparison in plan.comparisons:
        for value in (comparison.baseline, comparison.compared):
            if value is None:
                continue
            view = value if comparison.vary == "view" else plan.config["pictures"]["view"]
            rows = dreams.side(comparison, value).drop_duplicates("label")
            found = {dream.label: Path(picture_path(plan.study, dream, view)) for dream in rows.itertuples()}
            name = column_name(comparison, value, several)
            if columns.setdefault(name, found) != found:
                columns.setdefault(f"{name}, {where(comparison)}", found)
    return {
        name: found for place, (name, found) in enumerate(columns.items()) if found not in [*columns.values()][:place]
    }


def column_name(comparison: Comparison, value: object, several: bool) -> str:
    """Return what a value is called above its column: ``epoch 8``, ``last epoch``, ``gray``; with its recipes, if the
    experiment compares within `several`."""
    word, recipes = say(value), comparison.where.get("recipe", []) if several else []
    if isinstance(value, str) and value in ENDS:
        word = f"{word} {comparison.vary}"
    elif isinstance(value, (int, float)):
        word = f"{comparison.vary} {word}"
    return ", ".join([word, *recipes])


def write_effects(table: pd.DataFrame, path: Path) -> None:
    """Write the plot of a finding's differences with their intervals."""
    save_figure(effects(table, DISPLAY_NAMES), path)

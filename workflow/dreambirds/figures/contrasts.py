"""The pictures of an experiment: its dreams side by side, a column a value of what varies, and the effects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dreambirds.config.contrasts import ENDS, Comparison, DreamQuery
from dreambirds.data.tables import example_pictures
from dreambirds.dream_job.image_files import save_png
from dreambirds.evaluation.columns import DISPLAY_NAMES
from dreambirds.evaluation.contrasts import say, where
from dreambirds.figures.draw import effects
from dreambirds.figures.montage import REAL, Grid, montage
from dreambirds.figures.text import save_figure
from dreambirds.plan.paths import picture_path

MOST_COLUMNS, MOST_ROWS = 10, 12


@dataclass(frozen=True)
class Compared:
    """What an experiment compares: its comparisons, the study's dreams to pick from, and the view that films show."""

    comparisons: Sequence[Comparison]
    dreams: DreamQuery
    view: str


def write_contrast_montage(
    compared: Compared, results: Path, names: Mapping[str, str], cell_size: int, path: Path
) -> None:
    """Write the dreams that an experiment compares: one row per class, one column per value, and last a real picture.

    `results` is the study's folder, `names` are those of labels for people, `cell_size` is in pixels. Of dreams that
    differ in nothing that is compared, the first is shown, in the view of the films unless the views are compared; at
    most ten columns and twelve classes.
    """
    columns = _columns(compared, results / "dreams")
    shown = dict(list(columns.items())[:MOST_COLUMNS])
    known = [label for label in names if all(label in found for found in shown.values())]
    labels, examples = known[:MOST_ROWS], example_pictures(results / "dataset")
    cells = [[*(found[label] for found in shown.values()), examples[label]] for label in labels]
    left = len(columns) - len(shown) + len(known) - len(labels)
    title = "What was compared" + (f" ({left} columns or classes are left out)" if left else "")
    subtitle = f"study {results.name} · {compared.view} view"
    page = Grid(cells, [names[label] for label in labels], [*shown, REAL], title, subtitle)
    facts = {"study": results.name, "columns": list(shown), "labels": labels}
    save_png(montage(page, cell_size), path, title, facts)


def _columns(compared: Compared, folder: Path) -> dict[str, dict[str, Path]]:
    """Return each compared value by its name, with the first picture of each class that has it."""
    several = len({str(comparison.where.get("recipe")) for comparison in compared.comparisons}) > 1
    columns: dict[str, dict[str, Path]] = {}
    for comparison in compared.comparisons:
        for value in (comparison.baseline, comparison.compared):
            if value is None:
                continue
            view = value if comparison.vary == "view" else compared.view
            rows = compared.dreams.side(comparison, value).drop_duplicates("label")
            found = {dream.label: picture_path(folder, dream, view) for dream in rows.itertuples()}
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

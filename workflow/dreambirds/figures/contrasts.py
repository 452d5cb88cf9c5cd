"""Figures of a question: a montage of the compared dreams, and a plot of the differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dreambirds.config.contrasts import FIRST_LAST, Comparison, DreamQuery, Group
from dreambirds.data.tables import example_images
from dreambirds.dream_job.archive import Picture
from dreambirds.dream_job.image_files import save_png
from dreambirds.evaluation.columns import DISPLAY_NAMES
from dreambirds.evaluation.contrasts import format_filter, format_value
from dreambirds.figures.draw import effects
from dreambirds.figures.montage import REAL, Grid, montage
from dreambirds.figures.text import save_figure

MOST_COLUMNS, MOST_ROWS = 10, 12


@dataclass(frozen=True)
class Compared:
    """The comparisons of a question, its dreams, and the view to display unless views are compared.

    `images` contains the image of each label, by group.
    """

    comparisons: Sequence[Comparison]
    dreams: DreamQuery
    view: str
    images: Mapping[Group, Mapping[str, Picture]]


def write_contrast_montage(
    compared: Compared, study: str, dataset: Path, names: Mapping[str, str], cell_size: int, path: Path
) -> None:
    """Write a montage of the compared dreams: one row per class, one column per value, and a last column of dataset
    images, if there are any.

    `dataset` is the folder of the study's prepared data set, `names` contains the display name of each label,
    `cell_size` is in pixels. Each cell is the first dream that has the class and the value. Targets that are not
    classes have no dataset image. The montage has at most ten columns of dreams and twelve classes.
    """
    columns = _columns(compared)
    drawn = dict(list(columns.items())[:MOST_COLUMNS])
    complete = [label for label in names if all(label in dreams for dreams in drawn.values())]
    labels, examples = complete[:MOST_ROWS], example_images(dataset)
    real = [REAL] if any(label in examples for label in labels) else []
    cells = [[*(dreams[label] for dreams in drawn.values()), *(examples.get(label) for _ in real)] for label in labels]
    omitted = len(columns) - len(drawn) + len(complete) - len(labels)
    title = "Compared dreams" + (f" ({omitted} columns or classes omitted)" if omitted else "")
    page = Grid(
        cells, [names[label] for label in labels], [*drawn, *real], title, f"study {study} · {compared.view} view"
    )
    save_png(montage(page, cell_size), path, title, {"study": study, "columns": list(drawn), "labels": labels})


def _columns(compared: Compared) -> dict[str, dict[str, Picture]]:
    """Return the first dream of each class, as an image by label, for each compared value by its column name."""
    several = len({str(comparison.where.get("recipe")) for comparison in compared.comparisons}) > 1
    columns: dict[str, dict[str, Picture]] = {}
    for comparison in compared.comparisons:
        for value in (comparison.baseline, comparison.compared):
            if value is None:
                continue
            view = value if comparison.vary == "view" else compared.view
            first = compared.dreams.side(comparison, value)[0]._replace(view=str(view))
            images = {label: compared.images[first][label] for label in compared.dreams.compared_labels(comparison)}
            name = column_name(comparison, value, several)
            if columns.setdefault(name, images) != images:
                columns.setdefault(f"{name}, {format_filter(comparison)}", images)
    return {
        name: images
        for index, (name, images) in enumerate(columns.items())
        if images not in [*columns.values()][:index]
    }


def column_name(comparison: Comparison, value: object, several: bool) -> str:
    """Return the heading of a value's column, such as ``epoch 8``, ``last epoch``, or ``gray``.

    If the question compares within `several` recipes, their names follow.
    """
    name, recipes = format_value(value), comparison.where.get("recipe", []) if several else []
    if isinstance(value, str) and value in FIRST_LAST:
        name = f"{name} {comparison.vary}"
    elif isinstance(value, (int, float)):
        name = f"{comparison.vary} {name}"
    return ", ".join([name, *recipes])


def write_effects(table: pd.DataFrame, path: Path) -> None:
    """Write a plot of the differences in a finding's table, with their 95% intervals."""
    save_figure(effects(table, DISPLAY_NAMES), path)

"""The gallery: the page, and the sprite sheets that it shows."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from dreambirds.config.contrasts import VIEWS
from dreambirds.data.dataset import read_picture
from dreambirds.data.tables import example_pictures
from dreambirds.evaluation.columns import read_results
from dreambirds.gallery.data import MOST_LABELS, cell_shape, gallery_facts
from dreambirds.gallery.pages import write_download, write_page
from dreambirds.io import atomic_write, link_or_copy
from dreambirds.plan.paths import epoch_name, job_folder, picture_name, picture_path
from dreambirds.plan.plan import Plan

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sheet:
    """One sheet: its name below the gallery, and its cells, a row a label and a column a step, as files."""

    name: str
    cells: list[list[Path]]


def sheets(plan) -> Iterator[Sheet]:
    """Yield all sheets of a study: for each run, epoch, recipe and view, one for every 64 labels."""
    labels = list(plan.names)
    for run, epoch, recipe in plan.dreams[["run", "epoch", "recipe"]].drop_duplicates().itertuples(index=False):
        folder = Path(job_folder(plan.study, run, epoch, recipe))
        for part, first in enumerate(range(0, len(labels), MOST_LABELS)):
            for view, ending in VIEWS.items():
                chosen, steps = labels[first : first + MOST_LABELS], plan.recipes[recipe]["steps"]
                cells = [[folder / picture_name(label, step, view) for step in steps] for label in chosen]
                yield Sheet(f"sheets/{run}/{epoch_name(epoch)}/{recipe}/{part}{ending}.png", cells)


def write_sheet(cells: Sequence[Sequence[Path]], shape: tuple[int, int], path: Path) -> None:
    """Write pictures side by side into one PNG, each made to (height, width)."""
    height, width = shape
    page = Image.new("RGB", (width * len(cells[0]), height * len(cells)))
    for row, line in enumerate(cells):
        for column, file in enumerate(line):
            small = read_picture(file)
            if small.size != (width, height):
                small = small.resize((width, height), Image.Resampling.LANCZOS)
            page.paste(small, (column * width, row * height))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        page.save(temporary)


def write_gallery(plan: Plan, results: Path, dataset: Path, folder: Path) -> None:
    """Write ``index.html``, ``sheets/`` and ``pictures/`` into a folder that then needs no other file.

    `results` holds ``dreams.csv`` and ``runs.csv``, `dataset` the prepared pictures. The dreams' pictures are the same
    files as the study's, where the disk allows, with all that they say of themselves. Raises UserError, before
    anything is written, if one of the tables is not whole.
    """
    facts = gallery_facts(plan, *(read_results(plan, results, name) for name in ("dreams", "runs")))
    examples = example_pictures(dataset)
    for sheet in sheets(plan):
        recipe = sheet.cells[0][0].parent.parent.name
        write_sheet(sheet.cells, cell_shape(plan.shape(recipe)), folder / sheet.name)
    _put_pictures(plan, folder)
    for label, file in examples.items():
        if label in plan.names:
            _link(file, folder / "pictures" / "real" / f"{label}.png")
    write_page(folder / "index.html", "gallery.html.j2", facts=facts)
    log.info("open %s in a browser", folder / "index.html")


def _put_pictures(plan: Plan, folder: Path) -> None:
    root = Path(f"results/{plan.study}/dreams")
    for _, rows in plan.dreams.groupby(["run", "epoch", "recipe", "label"], sort=False):
        files = [Path(picture_path(plan.study, dream, view)) for dream in rows.itertuples() for view in VIEWS]
        for file in files:
            _link(file, folder / "pictures" / "dreams" / file.relative_to(root))
        dream = files[0].parent.relative_to(root)
        write_download(files, folder / "pictures" / "dreams" / dream.with_name(f"{dream.name}.js"))


def _link(file: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    link_or_copy(file, path)

"""The gallery: one page to slide through epochs and steps of all dreams, and the pictures that it shows."""

import logging
from pathlib import Path

from dreambirds.data.files import link
from dreambirds.data.tables import example_pictures
from dreambirds.gallery.downloads import write_download
from dreambirds.gallery.facts import gallery_facts
from dreambirds.gallery.pages import write_page
from dreambirds.gallery.sheets import cell_shape, sheets, write_sheet
from dreambirds.judging.written import read_written
from dreambirds.study.paths import VIEWS, picture_path
from dreambirds.study.plan import Plan

log = logging.getLogger(__name__)


def write_gallery(plan: Plan, results: Path, dataset: Path, folder: Path) -> None:
    """Write ``index.html``, ``sheets/`` and ``pictures/`` into a folder that then needs no other file.

    `results` holds ``dreams.csv`` and ``runs.csv``, `dataset` the prepared pictures. The dreams' pictures are the same
    files as the study's, where the disk allows, with all that they say of themselves. Raises StudyError, before
    anything is written, if one of the tables is not whole.
    """
    facts = gallery_facts(plan, *(read_written(plan, results, name) for name in ("dreams", "runs")))
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
    link(file, path)

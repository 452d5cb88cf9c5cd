"""The gallery: its page, and the sprite sheets that it displays."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image

from dreambirds.config import VIEWS
from dreambirds.data.dataset import read_image
from dreambirds.data.tables import example_images
from dreambirds.evaluation.columns import read_dreams_and_runs
from dreambirds.gallery.data import MOST_LABELS, GalleryStudy, cell_shape, gallery_facts
from dreambirds.gallery.pages import write_download, write_page
from dreambirds.io import atomic_write, link_or_copy
from dreambirds.plan.dream_table import DREAM
from dreambirds.plan.paths import dream_folder, epoch_name, picture_name, picture_path

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sheet:
    """A sprite sheet with one row per label and one column per step.

    `name` is its path relative to the gallery, `cells` contains the files of its rows, and `shape` is the
    (height, width) of a cell in pixels.
    """

    name: str
    cells: list[list[Path]]
    shape: tuple[int, int]


def sheets(study: GalleryStudy, folder: Path) -> Iterator[Sheet]:
    """Yield all sheets of a study: for each run, epoch, recipe and view, one per 64 labels.

    `folder` is the folder ``dreams`` of the study's results.
    """
    labels = list(study.names)
    for run, epoch, recipe in study.dreams()[DREAM[:3]].drop_duplicates().itertuples(index=False):
        for part, first in enumerate(range(0, len(labels), MOST_LABELS)):
            for view, ending in VIEWS.items():
                chosen, steps = labels[first : first + MOST_LABELS], study.recipes[recipe]["steps"]
                job_folder = dream_folder(folder, run, epoch, recipe)
                cells = [[job_folder / picture_name(label, step, view) for step in steps] for label in chosen]
                name = f"sheets/{run}/{epoch_name(epoch)}/{recipe}/{part}{ending}.png"
                yield Sheet(name, cells, cell_shape(tuple(study.shapes[recipe])))


def write_sheet(cells: Sequence[Sequence[Path]], shape: tuple[int, int], path: Path) -> None:
    """Write a grid of images into one PNG, each resized to the (height, width) `shape`."""
    height, width = shape
    page = Image.new("RGB", (width * len(cells[0]), height * len(cells)))
    for row, files in enumerate(cells):
        for column, file in enumerate(files):
            image = read_image(file)
            if image.size != (width, height):
                image = image.resize((width, height), Image.Resampling.LANCZOS)
            page.paste(image, (column * width, row * height))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        page.save(temporary)


def write_gallery(study: GalleryStudy, results: Path, dataset: Path, folder: Path) -> None:
    """Write ``index.html``, ``sheets/`` and ``pictures/`` into a folder, which is then self-contained.

    `results` contains ``dreams.csv``, ``runs.csv`` and the dreams; `dataset` contains the prepared images. The dreams
    are hard links to the study's image files, or copies if the file system does not support links. Raises UserError,
    before anything is written, if one of the tables is truncated or incomplete.
    """
    facts = gallery_facts(study, *read_dreams_and_runs(results, study.dreams()))
    examples = example_images(dataset)
    for sheet in sheets(study, results / "dreams"):
        write_sheet(sheet.cells, sheet.shape, folder / sheet.name)
    _link_dreams(study.dreams(), results / "dreams", folder / "pictures" / "dreams")
    for label, file in examples.items():
        if label in study.names:
            _link(file, folder / "pictures" / "real" / f"{label}.png")
    write_page(folder / "index.html", "gallery.html.j2", facts=facts)
    log.info("open '%s' in a browser", folder / "index.html")


def _link_dreams(dreams: pd.DataFrame, root: Path, folder: Path) -> None:
    for _, rows in dreams.groupby(["run", "epoch", "recipe", "label"], sort=False):
        files = [picture_path(root, dream, view) for dream in rows.itertuples() for view in VIEWS]
        for file in files:
            _link(file, folder / file.relative_to(root))
        dream = files[0].parent.relative_to(root)
        write_download(files, folder / dream.with_name(f"{dream.name}.js"))


def _link(file: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    link_or_copy(file, path)

"""The gallery: its page, and the sprite sheets that it displays."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image

from dreambirds.config import VIEWS
from dreambirds.data.tables import example_images
from dreambirds.dream_job.archive import Picture, open_image, read_picture
from dreambirds.gallery.data import MOST_LABELS, GalleryStudy, cell_shape, gallery_facts
from dreambirds.gallery.exciting import exciting_facts, exciting_grids, read_shown
from dreambirds.gallery.pages import write_download, write_page
from dreambirds.io import atomic_write, link_or_copy
from dreambirds.plan.dream_table import DREAM
from dreambirds.plan.paths import dream_folder, epoch_name, picture_name

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sheet:
    """A sprite sheet with one row per label and one column per step.

    `name` is its path relative to the gallery, `cells` contains the images of its rows, and `shape` is the
    (height, width) of a cell in pixels.
    """

    name: str
    cells: list[list[Picture]]
    shape: tuple[int, int]


def sheets(dreams: pd.DataFrame, shapes: Mapping[str, Sequence[int]]) -> Iterator[Sheet]:
    """Yield all sheets of a study: for each run, epoch, recipe and view, one per 64 labels.

    `dreams` is the result of `read_dreams`, and `shapes` contains the (height, width) of each recipe's images.
    """
    for (run, epoch, recipe), rows in dreams.groupby(DREAM[:3], sort=False):
        archives = rows.drop_duplicates("label").set_index("label")["archive"].to_dict()
        labels, steps = list(archives), list(rows["step"].unique())
        for part, first in enumerate(range(0, len(labels), MOST_LABELS)):
            for view, ending in VIEWS.items():
                cells = [
                    [Picture(Path(archives[label]), picture_name(label, step, view)) for step in steps]
                    for label in labels[first : first + MOST_LABELS]
                ]
                name = f"sheets/{run}/{epoch_name(epoch)}/{recipe}/{part}{ending}.png"
                yield Sheet(name, cells, cell_shape(tuple(shapes[recipe])))


def write_sheet(cells: Sequence[Sequence[Picture | Path]], shape: tuple[int, int], path: Path) -> None:
    """Write a grid of images into one PNG, each resized to the (height, width) `shape`."""
    height, width = shape
    page = Image.new("RGB", (width * len(cells[0]), height * len(cells)))
    for row, pictures in enumerate(cells):
        for column, picture in enumerate(pictures):
            image = open_image(picture)
            if image.size != (width, height):
                image = image.resize((width, height), Image.Resampling.LANCZOS)
            page.paste(image, (column * width, row * height))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        page.save(temporary)


def write_gallery(
    study: GalleryStudy,
    archived: pd.DataFrame,
    dreams: pd.DataFrame,
    runs: pd.DataFrame,
    dataset: Path,
    folder: Path,
    excitation: Sequence[Path] = (),
) -> None:
    """Write ``index.html``, ``sheets/`` and ``pictures/`` into a folder, which is then self-contained.

    `archived` is the result of `read_dreams`, `dreams` and `runs` are the study's tables, and `dataset` contains the
    prepared images, if there are any. `excitation` are the tables of the photographs that excite targets most, one per
    checkpoint. An image is a hard link to the file in the folder of its archive, if that exists and the file system
    supports links. Raises UserError if an archive or a table is corrupt.
    """
    examples = example_images(dataset)
    facts = gallery_facts(study, dreams, runs) | {"photographs": bool(examples), "exciting": {}}
    if excitation:
        shown = read_shown(excitation)
        facts |= exciting_facts(shown, dataset)
        for grid in exciting_grids(shown, dataset):
            write_sheet(grid.cells, grid.shape, folder / grid.name)
    for sheet in sheets(archived, study.shapes):
        write_sheet(sheet.cells, sheet.shape, folder / sheet.name)
    _write_dreams(archived, folder / "pictures" / "dreams")
    for label, file in examples.items():
        if label in study.names:
            path = folder / "pictures" / "real" / f"{label}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(file, path)
    write_page(folder / "index.html", "gallery.html.j2", facts=facts)
    log.info("open '%s' in a browser", folder / "index.html")


def _write_dreams(dreams: pd.DataFrame, root: Path) -> None:
    """Write the images of all dreams, and for each dream a script with which the page offers them for download."""
    for (run, epoch, recipe, label, archive), rows in dreams.groupby([*DREAM[:4], "archive"], sort=False):
        folder = dream_folder(root, run, epoch, recipe)
        (folder / label).mkdir(parents=True, exist_ok=True)
        contents = {}
        for step in rows["step"]:
            for view in VIEWS:
                picture = Picture(Path(archive), picture_name(label, step, view))
                contents[Path(picture.name).name] = content = read_picture(picture)
                _write_image(content, picture.archive.parent / picture.name, folder / picture.name)
        write_download(contents, folder / f"{label}.js")


def _write_image(content: bytes, laid: Path, path: Path) -> None:
    """Write an image, as a hard link if the folder of its archive contains the same file."""
    if laid.is_file() and laid.read_bytes() == content:
        link_or_copy(laid, path)
    else:
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)

"""Sprite sheets: the dreams of one checkpoint under one recipe in one file, so that a grid of classes loads at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from dreambirds.data.files import atomically
from dreambirds.data.pictures import read_picture
from dreambirds.data.shapes import in_proportion
from dreambirds.study.paths import VIEWS, epoch_name, job_folder, picture_name

LARGEST = 96  # pixels of a cell's longer side; larger pictures are made smaller
MOST_LABELS = 64  # rows of a sheet


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


def cell_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of a sheet's cells for pictures of a shape."""
    return shape if max(shape) <= LARGEST else in_proportion(shape, LARGEST, of=max)


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
    with atomically(path) as temporary:
        page.save(temporary)

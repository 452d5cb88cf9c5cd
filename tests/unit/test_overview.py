"""The overview of the data set: counts, sizes, and a contact sheet that is readable for any number of classes."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageColor

from dreambirds.data.tables import IMAGE_COLUMNS, read_labels
from dreambirds.figures.overview import (
    HEAD,
    MAX_HEIGHT,
    Entry,
    class_table,
    contact_sheet,
    lay_out,
    original_sizes,
    plot_sizes,
    spread,
    write_overview,
)
from dreambirds.figures.text import PAPER

pytestmark = pytest.mark.slow

LONG = "Black-throated Green Hummingbird (Female or Immature Male, in Moult)"


@pytest.fixture
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables of two classes, with a duplicate and two skipped files."""
    rows = [
        ("images/a/0.png", "a", "train", "s0", "100x50", "", "", ""),
        ("images/a/1.png", "a", "train", "s0", "200x60", "", "", "images/a/0.png"),
        ("images/a/2.png", "a", "validation", "s1", "600x40", "", "", ""),
        ("", "a", "", "", "", "broken.jpg", "the file is empty", ""),
        ("images/b/0.png", "b", "train", "s2", "30x31", "", "", ""),
        ("images/b/1.png", "b", "train", "s3", "40x33", "", "", ""),
        ("", "b", "", "", "", "gone.jpg", "the file does not exist", ""),
    ]
    labels = pd.DataFrame({"index": [0, 1], "label": ["a", "b"], "class_name": ["Ah", "Bee"]})
    return pd.DataFrame(rows, columns=IMAGE_COLUMNS), labels.assign(train=[2, 2], validation=[1, 0])


def test_the_table_of_classes_counts_and_measures(tables):
    table = class_table(*tables)
    assert list(table.columns) == [
        *("label", "class_name", "train", "validation", "left_out", "duplicates"),
        *("smallest_width", "median_width", "largest_width", "smallest_height", "median_height", "largest_height"),
    ]
    assert table.to_numpy().tolist() == [
        ["a", "Ah", 2, 1, 1, 1, 100, 200, 600, 40, 50, 60],
        ["b", "Bee", 2, 0, 1, 0, 30, 35, 40, 31, 32, 33],
    ]


def test_the_overview_of_a_prepared_data_set(dataset, tmp_path):
    paths = [tmp_path / name for name in ("classes.png", "sizes.png", "classes.csv")]
    write_overview(dataset, *paths)
    table = pd.read_csv(paths[2])
    assert table[["label", "class_name", "train", "validation"]].equals(
        read_labels(dataset)[["label", "class_name", "train", "validation"]]
    )
    assert (table[["smallest_width", "largest_height"]] == 32).all(axis=None)
    assert (table[["left_out", "duplicates"]] == 0).all(axis=None)
    with Image.open(paths[0]) as sheet, Image.open(paths[1]) as plot:
        assert sheet.width > 1000 and plot.width > 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["classes.csv", "classes.png", "sizes.png"]


@pytest.fixture(scope="module")
def colors(tmp_path_factory):
    """Return files of a single color, by the color's name."""
    folder = tmp_path_factory.mktemp("colors")
    for color in ("red", "lime", "blue", "black"):
        Image.new("RGB", (8, 8), color).save(folder / f"{color}.png")
    return {path.stem: path for path in folder.iterdir()}


def find(page: Image.Image, color: str) -> tuple[int, int, int, int]:
    """Return the bounding box of a color in an image."""
    return Image.fromarray(np.all(np.asarray(page) == ImageColor.getrgb(color), axis=-1)).getbbox()


@pytest.mark.parametrize("count", [2, 8, 12, 13, 60, 61, 200, 555, 1001, 3000])
@pytest.mark.parametrize("shape", [(64, 64), (64, 256), (256, 64)])
def test_pages_of_any_number_of_classes_are_readable_and_within_the_height_limit(count, shape, colors):
    names = [LONG if index % 50 == 7 else f"Bird {index}" for index in range(count)]
    entries = [Entry(name, "40 train, 10 validation", [colors["black"]] * 40) for name in names]
    layout = lay_out(entries, shape)
    height = HEAD + -(-count // layout.columns) * layout.height
    assert height <= MAX_HEIGHT and layout.columns <= count
    assert layout.examples >= 2 and max(layout.cell) >= 64 and layout.block >= 170
    assert layout.cell[0] * shape[1] == pytest.approx(layout.cell[1] * shape[0], rel=0.05)
    if count <= 600:
        assert layout.columns * layout.block < 3500
    assert count > 60 or layout.examples >= 6


def test_the_sheet_shows_every_class_in_order_with_its_examples_below_its_name(colors):
    entries = [Entry(LONG * 3, LONG * 9, [colors["red"], colors["black"], colors["lime"]])]
    entries += [Entry(f"Bird {index}", "note", [colors["black"]] * 3) for index in range(13)]
    entries.append(Entry("Last", "note", [colors["blue"]]))
    page, layout = contact_sheet(entries, (8, 8), "Title", "subtitle"), lay_out(entries, (8, 8))
    red, lime, blue = (find(page, color) for color in ("red", "lime", "blue"))
    for box in (red, lime, blue):
        assert (box[3] - box[1], box[2] - box[0]) == layout.cell
    assert red[1] == lime[1] and red[0] < lime[0]
    assert blue[1] - red[1] == 14 // layout.columns * layout.height
    above = np.asarray(page.crop((red[0], red[1] - layout.height + layout.cell[0], red[0] + layout.block, red[1])))
    assert above.min() < 60, "the name is above the examples"
    assert np.ptp(np.asarray(page)[HEAD - 10 : HEAD]) <= 6, "the name does not overlap the page's head"
    margin = page.crop((red[0] + layout.block + 5, 0, red[0] + layout.block + 20, red[1])).crop((0, HEAD, 15, red[1]))
    assert margin.getcolors() == [(15 * (red[1] - HEAD), ImageColor.getrgb(PAPER))], "nor the next class"


@pytest.mark.parametrize("count", [1, 2, 3, 7, 50])
def test_examples_are_evenly_spread(count):
    chosen = spread(range(50), count)
    assert len(chosen) == count and sorted(set(chosen)) == chosen
    assert count < 2 or ((chosen[0], chosen[-1]) == (0, 49) and np.ptp(np.diff(chosen)) <= 1)
    assert spread([5, 6], count) == [5, 6][:count]


@pytest.mark.parametrize(("count", "shape", "high"), [(2, (64, 64), 90), (60, (64, 64), 90), (3, (32, 64), 4000)])
def test_sizes_are_drawn_for_few_and_many_classes(count, shape, high, tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    table = pd.DataFrame({"class_name": [f"Bird {index}" for index in range(count)], "train": 5, "validation": 1})
    table.loc[1, "train"] = 30
    sizes = pd.DataFrame(random.integers(60, high, (500, 2)), columns=["width", "height"])
    figures = []
    monkeypatch.setattr("dreambirds.figures.overview.pyplot.close", figures.append)
    plot_sizes(table, sizes, shape, tmp_path / "a.png")
    counts, distribution = figures[0].axes
    bars = [patch.get_width() if count <= 40 else patch.get_height() for patch in counts.patches]
    assert bars == [30, *[5] * (count - 1), *[1] * count], "in descending order, training below validation"
    assert next(text.get_text() for text in counts.get_yticklabels()) == "Bird 1" or count > 40
    drawn = {line.get_label(): line for line in distribution.lines}
    width = drawn[f"width, median {np.median(sizes['width']):g}"]
    assert width.get_ydata().sum() == 500
    marks = {label: line.get_xdata()[0] for label, line in drawn.items() if label.startswith("prepared")}
    expected = {"prepared size, 64": 64} if shape == (64, 64) else {"prepared height, 32": 32, "prepared width, 64": 64}
    assert marks == expected and distribution.get_xscale() == ("log" if high == 4000 else "linear")


def test_sizes_are_read_from_the_table(tables):
    images, _ = tables
    assert original_sizes(images[images["path"] != ""]).to_numpy().tolist() == [
        [100, 50],
        [200, 60],
        [600, 40],
        [30, 31],
        [40, 33],
    ]

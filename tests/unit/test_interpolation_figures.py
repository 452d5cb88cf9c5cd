"""Montages and films of interpolations: one row or cell per pair, and weights in ascending order, forth and back."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageColor

from dreambirds.config.targets import interpolations, pair_names
from dreambirds.dream_job.image_files import read_facts, save_gif
from dreambirds.errors import UserError
from dreambirds.figures.animation import Film, at_nearest_weights, film, write_film
from dreambirds.figures.montage import write_montage
from dreambirds.figures.selection import Selection
from dreambirds.plan import targets
from dreambirds.plan.plan import make_plan
from tests.helpers.archives import write_images
from tests.helpers.plans import config

PAIRS = [
    {"between": ["blue_jay", "northern_cardinal"], "weights": [1, 0, 0.5]},
    {"layer": "50%", "between": [3, 7], "weights": [0, 0.25, 1]},
]
COLORS = {0: "red", 0.25: "teal", 0.5: "lime", 1: "blue"}
NAMES = ["Blue Jay to Northern Cardinal", "50% channel 3 to 7"]
BLACK = "black"


def planned(pairs=PAIRS, **changes):
    """Return a plan of a class and of two pairs."""
    dreams = {"targets": pairs, "labels": ["blue_jay"], "recipes": {"study": {"steps": [2, 5]}}}
    return make_plan(config(judges={}, dreams=dreams, runs__scratch__epochs=[0, 4], **changes))


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Return a plan, and its archives with images in the color of their weight; step 2 and classes are black."""
    plan, folder = planned(), tmp_path_factory.mktemp("dreams")
    weights = {label: weight for label, (_, weight) in interpolations(plan.targets.values()).items()}

    def color(dream, _view):
        return COLORS[weights[dream.label]] if dream.last and dream.label in weights else BLACK

    return plan, write_images(folder, plan.dreams, color, lambda _: (8, 8))


def selected(archives, shared: dict, column: str = "weight") -> Selection:
    """Return the selection of a figure over a column, as the scripts create it."""
    plan, files = archives
    return Selection.of(plan.study, files, plan.names, shared, **targets.shown_interpolations(plan, column))


def grid_of(page: Image.Image, top: int, left: int, rows: int, columns: int, step: int) -> list[list[str]]:
    """Return the names of the colors of cells, whose centers are `step` pixels apart; others are blank."""
    named = {ImageColor.getrgb(name): name for name in [*COLORS.values(), BLACK]}
    cells = [[page.getpixel((left + x * step, top + y * step)) for x in range(columns)] for y in range(rows)]
    return [[named.get(pixel, "blank") for pixel in row] for row in cells]


def test_a_montage_has_one_row_per_pair_and_one_column_per_weight(archives, tmp_path):
    shared = targets.montage_dreams("between-by-weight", "scratch", "study/", "epoch-0004", "raw")
    layout = targets.LAYOUTS["between-by-weight"]
    selection = selected(archives, shared, layout.columns)
    grid = selection.grid(layout.rows, layout.columns)
    assert list(grid.columns) == [0, 0.25, 0.5, 1], "also if the config lists them in another order"
    assert [selection.name_of("between", pair) for pair in grid.index] == NAMES
    assert [selection.name_of("weight", weight) for weight in grid.columns][1] == "weight 0.25"
    write_montage(selection, layout.rows, layout.columns, 40, tmp_path / "m.png")
    with Image.open(tmp_path / "m.png") as file:
        page, title = file.convert("RGB"), file.text["Title"]
    assert title == "Interpolation by weight"
    red = np.argwhere(np.all(np.asarray(page) == ImageColor.getrgb("red"), axis=-1)).min(axis=0) + 20
    expected = [["red", "blank", "lime", "blue"], ["red", "teal", "blank", "blue"]]
    assert grid_of(page, *red, 2, 4, 44) == expected
    facts = read_facts(tmp_path / "m.png")
    assert len(facts["labels"]) == 6 and "blue_jay" not in facts["labels"] and json.loads(json.dumps(facts)) == facts


def test_a_film_shows_the_weights_forth_and_back_without_a_jump(archives, tmp_path):
    shared = targets.film_dreams("weights", "scratch", "study", "epoch-0004", "raw")
    write_film(selected(archives, shared), "weight", 40, 0.2, tmp_path / "f.gif")
    with Image.open(tmp_path / "f.gif") as gif:
        frames, durations = [], []
        for index in range(gif.n_frames):
            gif.seek(index)
            frames.append(np.asarray(gif.convert("RGB"), dtype=int))
            durations.append(gif.info["duration"])
    assert durations == [200] * 6, "no frame is held"
    named = {name: np.array(ImageColor.getrgb(name)) for name in COLORS.values()}

    def dominant(frame: np.ndarray) -> str:
        counts = {name: int((np.abs(frame - color).max(axis=-1) <= 24).sum()) for name, color in named.items()}
        return max(counts, key=counts.get)

    width = frames[0].shape[1] // 2
    found = [[dominant(frame[:, :width]), dominant(frame[:, width:])] for frame in frames]
    forth = [["red", "red"], ["red", "teal"], ["lime", "teal"], ["blue", "blue"]]  # 0.25 is as near to 0 as to 0.5
    assert found == [*forth, *forth[2:0:-1]]


def test_a_blank_cell_of_a_film_shows_the_nearest_weight_of_its_pair():
    cells = {"one": ["a", None, None, "d"], "two": [None, "b", None, None]}
    grid = pd.DataFrame(cells, index=[0.0, 0.2, 0.7, 1.0], dtype=object)
    assert at_nearest_weights(grid) == [["a", "b"], ["a", "b"], ["d", "b"], ["d", "b"]]


@pytest.mark.parametrize("names", [["One"], ["A pair with a long name that takes three lines", "Another"]])
def test_the_texts_of_a_narrow_film_are_above_and_below_its_images(names, tmp_path):
    Image.new("RGB", (8, 8), "lime").save(tmp_path / "lime.png")
    title = "run scratch · recipe study · epoch 4 · training seed 0 · rescaled view"
    content = Film([[tmp_path / "lime.png"] * len(names)], ["weight 0.5"], names, title)
    (page,) = film(content, 60)
    pixels = np.asarray(page, dtype=int)
    rows = np.flatnonzero(np.all(pixels == ImageColor.getrgb("lime"), axis=-1).any(axis=1))
    assert len(rows) == 60, "no text covers an image"
    bar = np.flatnonzero(np.all(pixels == ImageColor.getrgb("#c8452f"), axis=-1).any(axis=1))
    assert len(bar) == 2 and bar[-1] == rows[0] - 3
    dark = pixels.max(axis=-1).min(axis=1) < 130
    assert dark[: bar[0] - 3].any() and not dark[bar[-1] + 1 : rows[0]].any() and not dark[-1:].any()


def test_a_gif_holds_its_last_frame_only_if_requested(tmp_path):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    for hold, expected in ((True, [100, 300]), (False, [100, 100])):
        save_gif(frames, tmp_path / "a.gif", 0.1, "facts", hold)
        with Image.open(tmp_path / "a.gif") as gif:
            assert [gif.info["duration"] for index in range(2) if gif.seek(index) is None] == expected


def test_the_default_targets_have_them_only_for_studies_with_interpolations():
    folder = "results/default"
    montage = f"{folder}/montages/scratch/study/between-by-weight_epoch-0004_rescaled.png"
    over_weights = f"{folder}/films/scratch/study/weights_epoch-0004_rescaled.gif"
    plan = planned()
    assert montage in targets.montages(plan) and over_weights in targets.films(plan)
    assert len(targets.films(plan)) == 3, "the films over epochs and steps are the same as of any study"
    plain = planned([{"layer": "50%", "channels": [3]}])
    assert montage not in targets.montages(plain) and over_weights not in targets.films(plain)
    single = planned([{"between": ["blue_jay", "northern_cardinal"], "weights": [0.5]}])
    assert montage in targets.montages(single) and over_weights not in targets.films(single), "a single frame"
    assert targets.shown_interpolations(plain, "label") == {} == targets.shown_interpolations(plan, "epoch")
    with pytest.raises(UserError, match=r"^the study 'default' has no interpolations \(dreams\.targets with"):
        targets.shown_interpolations(plain, "weight")
    assert list(pair_names(plan.targets.values()).values()) == NAMES


def test_only_the_last_step_is_shown_and_other_figures_show_all_labels(archives):
    shared = targets.film_dreams("weights", "scratch", "study", "epoch-0004", "raw")
    assert shared == {"run": "scratch", "recipe": "study", "epoch": "0004", "view": "raw", "last": True}
    assert set(selected(archives, shared).dreams["step"]) == {5}
    steps = selected(archives, targets.film_dreams("steps", "scratch", "study", "epoch-0004", "raw"), "step")
    assert len(steps.dreams) == 7 * 2 and "between" not in steps.dreams
    assert "last" not in targets.montage_dreams("class-by-epoch", "scratch", "study/", "step-0002", "raw")
    assert "last" not in targets.montage_dreams("class-by-step", "scratch", "study/", "epoch-0004", "raw")
    assert targets.montage_dreams("class-by-seed", "scratch", "study/", "epoch-0004", "raw")["last"] is True
    assert targets.montage_dreams("recipe-by-class", "scratch", "", "epoch-0004", "raw")["last"] is True
    with pytest.raises(UserError, match="a between-by-weight montage belongs to one recipe; request"):
        targets.montage_dreams("between-by-weight", "scratch", "", "epoch-0004", "raw")


def test_epochs_of_a_grid_keep_their_types():
    rows = {"label": "a", "epoch": pd.Series([0, 0.25, 1], dtype=object), "picture": ["x", "y", "z"]}
    selection = Selection("study", pd.DataFrame(rows), {}, {"a": "A"})
    names = [selection.name_of("epoch", value) for value in selection.grid("label", "epoch").columns]
    assert names == ["epoch 0", "epoch 0.25", "epoch 1"]

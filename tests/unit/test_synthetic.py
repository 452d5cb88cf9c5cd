"""The drawn training set is reproducible, shows field marks, and its scenes do not depend on the species."""

from __future__ import annotations

import colorsys
import inspect
import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dreambirds.data.synthetic import bird
from dreambirds.data.synthetic.anatomy import Pose, songbird
from dreambirds.data.synthetic.bird import draw_bird
from dreambirds.data.synthetic.geometry import curve, joined, ribbon
from dreambirds.data.synthetic.plumage import paint_songbird
from dreambirds.data.synthetic.scenery import draw_background
from dreambirds.data.synthetic.species import SPECIES, Wing
from dreambirds.data.synthetic.stage import Stage

LABELS = list(SPECIES)
PAIRS = [
    ("northern_cardinal", "scarlet_tanager"),
    ("american_goldfinch", "yellow_warbler"),
    ("blue_jay", "eastern_bluebird"),
]


def draw(label: str, seed: int, size: int = 64) -> np.ndarray:
    return np.asarray(draw_bird(label, np.random.default_rng(seed), size))


def plumage(label: str, seeds: range = range(12)) -> np.ndarray:
    """Return HSV values (n, 3) in 0 to 1 of the bird's pixels, before the light is applied."""
    pixels = []
    for seed in seeds:
        stage, _, _ = bird.compose(label, np.random.default_rng(seed), 96)
        cover = np.asarray(stage.cover) == 255
        pixels.append(np.asarray(stage.image.convert("HSV"))[cover] / 255)
    return np.concatenate(pixels)


def share(pixels: np.ndarray, hue: tuple[float, float], least: float = 0.45) -> float:
    """Return the share of strongly colored pixels with a hue in the given range."""
    inside = (pixels[:, 0] - hue[0]) % 1 <= (hue[1] - hue[0]) % 1
    return float((inside & (pixels[:, 1] > least) & (pixels[:, 2] > 0.35)).mean())


def black(pixels: np.ndarray) -> float:
    return float((pixels[:, 2] < 0.25).mean())


def white(pixels: np.ndarray) -> float:
    return float(((pixels[:, 1] < 0.16) & (pixels[:, 2] > 0.7)).mean())


RED, ORANGE, YELLOW, BLUE = (0.94, 0.03), (0.025, 0.095), (0.1, 0.18), (0.54, 0.68)


def test_species_are_listed_in_a_fixed_order() -> None:
    assert LABELS == [
        "northern_cardinal",
        "scarlet_tanager",
        "american_goldfinch",
        "yellow_warbler",
        "blue_jay",
        "eastern_bluebird",
        "black_capped_chickadee",
        "great_blue_heron",
    ]
    assert SPECIES["northern_cardinal"].name == "Northern Cardinal"


@pytest.mark.parametrize("label", LABELS)
def test_an_image_depends_only_on_its_seed(label: str) -> None:
    assert draw(label, 3).tobytes() == draw(label, 3).tobytes()
    assert draw(label, 3).tobytes() != draw(label, 4).tobytes()


def test_two_images_from_one_generator_differ() -> None:
    rng = np.random.default_rng(0)
    first, second = draw_bird("blue_jay", rng, 32), draw_bird("blue_jay", rng, 32)
    assert first.tobytes() != second.tobytes()


def test_global_random_state_is_neither_read_nor_changed() -> None:
    np.random.seed(1)
    random.seed(1)
    before, state = random.getstate(), np.random.get_state()[1].copy()
    first = draw("yellow_warbler", 5)
    assert random.getstate() == before
    assert np.array_equal(np.random.get_state()[1], state)
    np.random.seed(2)
    random.seed(2)
    assert np.array_equal(draw("yellow_warbler", 5), first)


@pytest.mark.parametrize("size", [32, 96, 128, 200])
def test_size_and_mode(size: int) -> None:
    image = draw_bird("great_blue_heron", np.random.default_rng(0), size)
    assert (image.mode, image.size) == ("RGB", (size, size))


@pytest.mark.parametrize("label", LABELS)
def test_birds_are_large_and_completely_inside_the_frame(label: str) -> None:
    for seed in range(20):
        stage, light, paint = bird.compose(label, np.random.default_rng(seed), 48)
        left, top, right, bottom = stage.cover.getbbox()
        assert left > 0 and top > 0 and right < stage.wide and bottom < stage.wide, f"cut off at seed {seed}"
        assert 0.5 < max(right - left, bottom - top) / stage.wide < 1.0, f"wrong scale at seed {seed}"
        assert np.asarray(stage.finish(light, paint)).std() > 10


def test_cardinal_is_red_with_a_small_black_mask() -> None:
    pixels = plumage("northern_cardinal")
    assert share(pixels, RED) > 0.75
    assert 0.005 < black(pixels) < 0.1


def test_tanager_is_red_with_black_wings_and_tail() -> None:
    pixels = plumage("scarlet_tanager")
    assert share(pixels, RED) > 0.35
    assert 0.25 < black(pixels) < 0.6


def test_goldfinch_has_black_and_white_that_the_warbler_lacks() -> None:
    goldfinch, warbler = plumage("american_goldfinch"), plumage("yellow_warbler")
    assert share(goldfinch, YELLOW) > 0.35 and share(warbler, YELLOW) > 0.7
    assert black(goldfinch) > 0.2 > 0.05 > black(warbler)
    assert white(goldfinch) > 0.02 > 0.012 > white(warbler)


def test_warbler_has_rusty_streaks() -> None:
    assert share(plumage("yellow_warbler"), (0.02, 0.085)) > share(plumage("black_capped_chickadee"), (0.02, 0.085))


def test_bluebird_has_an_orange_breast_and_the_jay_a_white_face() -> None:
    jay, bluebird = plumage("blue_jay"), plumage("eastern_bluebird")
    assert share(jay, BLUE) > 0.4 and share(bluebird, BLUE) > 0.4
    assert share(bluebird, ORANGE) > 0.1 > 0.01 > share(jay, ORANGE)
    assert white(jay) > 0.08
    assert black(jay) > 0.03


def test_chickadee_and_heron_have_no_strong_color() -> None:
    for label in ("black_capped_chickadee", "great_blue_heron"):
        assert (plumage(label)[:, 1] < 0.5).mean() > 0.75


@pytest.mark.parametrize("label", ["northern_cardinal", "blue_jay"])
def test_only_crested_species_have_a_crest(label: str) -> None:
    assert SPECIES[label].crest > 0.5
    others = set(LABELS) - {"northern_cardinal", "blue_jay"}
    assert all(SPECIES[other].crest == 0 for other in others)


@pytest.mark.parametrize("label", ["northern_cardinal", "blue_jay"])
def test_raised_wings_do_not_cover_the_crest(label: str) -> None:
    green = (0, 255, 0)
    species = replace(SPECIES[label], wing=Wing(green, green, green))
    for pitch in (14, 20, 30, 45):
        pose = replace(
            Pose.random(np.random.default_rng(0), grounded=False), wings="open", back_look=False, pitch=pitch
        )
        figure = songbird(species, pose)
        stage = Stage(Image.new("RGB", (128, 128), (255, 255, 255)))
        stage.place(np.diag([0.35, -0.35]), (0.5, 0.8))
        paint_songbird(stage, species, figure, np.random.default_rng(0))
        for point in ((-1.05, 1.75), (-1.2, 1.4)):
            x, y = stage.pixels(figure.head.at([point]))
            assert stage.image.getpixel((round(x), round(y))) == (255, 255, 255), f"at {point}, pitch {pitch}"


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_similar_species_share_their_main_color(first: str, second: str) -> None:
    hues = [colorsys.rgb_to_hsv(*(c / 255 for c in SPECIES[label].main)) for label in (first, second)]
    assert abs(hues[0][0] - hues[1][0]) < 0.02
    assert abs(hues[0][2] - hues[1][2]) < 0.1


def test_background_and_perch_do_not_depend_on_the_species(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(inspect.signature(draw_background).parameters) == ["rng", "size"]
    calls: dict[str, list[object]] = {"scene": [], "perch": []}
    draw_scene, draw_perch = bird.draw_background, bird.draw_perch

    def scene(rng: np.random.Generator, size: int):
        image = draw_scene(rng, size)
        calls["scene"].append(image.tobytes())
        return image

    def perch(stage, plan, *rest) -> None:
        calls["perch"].append(plan)
        draw_perch(stage, plan, *rest)

    monkeypatch.setattr(bird, "draw_background", scene)
    monkeypatch.setattr(bird, "draw_perch", perch)
    for label in LABELS:
        draw(label, 11)
    assert len(set(calls["scene"])) == 1
    assert len(calls["perch"]) == len(LABELS) and len(set(calls["perch"])) == 1


def test_backgrounds_include_red_yellow_and_blue() -> None:
    hues = []
    for seed in range(120):
        scene = draw_background(np.random.default_rng(seed), 16).convert("HSV")
        _, saturation, _ = np.asarray(scene).reshape(-1, 3).mean(axis=0) / 255
        if saturation > 0.35:
            hues.append(np.median(np.asarray(scene)[..., 0]) / 255)
    found = np.array(hues)
    assert ((found < 0.04) | (found > 0.95)).any()
    assert ((found > 0.1) & (found < 0.18)).any()
    assert ((found > 0.54) & (found < 0.7)).any()


@pytest.mark.parametrize(
    ("wrong", "right"), [("northern_cardnal", "northern_cardinal"), ("heron", "great_blue_heron"), ("", "")]
)
def test_the_error_for_an_unknown_species_names_the_closest(wrong: str, right: str) -> None:
    with pytest.raises(ValueError, match=f"unknown species '{wrong}'.*'{right}"):
        draw_bird(wrong, np.random.default_rng(0), 32)


@pytest.mark.parametrize("size", [0, -3, 7])
def test_too_small_an_image_is_rejected(size: int) -> None:
    with pytest.raises(ValueError, match="size"):
        draw_bird("blue_jay", np.random.default_rng(0), size)


def test_an_empty_background_is_rejected() -> None:
    with pytest.raises(ValueError, match="size"):
        draw_background(np.random.default_rng(0), 0)


def test_curves_pass_through_their_knots() -> None:
    knots = np.array([(0.0, 0.0), (1.0, 2.0), (3.0, 1.0)])
    for line in (curve(knots), curve(knots, closed=False), joined(knots[:2], knots[1:])):
        for knot in knots:
            assert np.hypot(*(line - knot).T).min() < 1e-9
    with pytest.raises(ValueError, match="2 points"):
        curve([(0.0, 0.0)])


def test_a_ribbon_has_the_requested_width() -> None:
    outline = ribbon([(0.0, 0.0), (1.0, 0.0), (2.0, 0.0)], [0.1, 0.2, 0.1])
    assert np.isclose(outline[:, 1].max(), 0.2) and np.isclose(outline[:, 1].min(), -0.2)


def bill_side(facing: str, seed: int) -> tuple[float, np.ndarray]:
    """Return the offset of a chickadee's black cap to the right of its center, in bird widths, and the bird's mask."""
    stage, _, _ = bird.compose("black_capped_chickadee", np.random.default_rng(seed), 64, facing)
    cover = np.asarray(stage.cover) == 255
    dark = cover & (np.asarray(stage.image.convert("L")) < 60)
    columns = np.flatnonzero(cover.any(axis=0))
    middle = (columns[0] + columns[-1]) / 2
    return (np.nonzero(dark)[1].mean() - middle) / len(columns), cover


@pytest.mark.slow
def test_birds_face_the_requested_direction() -> None:
    for seed in range(20):
        (left, left_cover), (right, right_cover), (_, either) = (
            bill_side(facing, seed) for facing in ("left", "right", "both")
        )
        assert left < 0 < right, f"the head is on the wrong side at seed {seed}"
        assert np.array_equal(either, left_cover) != np.array_equal(either, right_cover)
    turned = sum(bill_side("both", seed)[0] < 0 for seed in range(40))
    assert 8 < turned < 32

"""Views, metadata, montages and animations, checked pixel by pixel."""

import json

import imageio.v3 as imageio
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageColor

from dreambirds.data.tables import IMAGE_COLUMNS
from dreambirds.dream_job.image_files import (
    read_facts,
    save_gif,
    save_png,
)
from dreambirds.dream_job.statistics import read_statistics, write_statistics
from dreambirds.dream_job.views import rescale, rescale_together, to_image, views
from dreambirds.figures.animation import Film, film
from dreambirds.figures.draw import plot_curves
from dreambirds.figures.montage import GAP, Grid, load_cell, montage
from dreambirds.figures.selection import Selection
from dreambirds.figures.text import PAPER, fold, font
from dreambirds.models.checkpoint import load_tensors


def test_rescaling_fills_the_range_but_ignores_outliers_and_keeps_hues():
    random = np.random.default_rng(0)
    values = 0.5 + 0.01 * random.standard_normal((3, 40, 40)).astype(np.float32)
    values[:, 0, 0] = (0.0, 1.0, 0.0)
    got = rescale(torch.from_numpy(values)).numpy()
    ordered = np.sort(values, axis=None).astype(float)
    positions = np.array([0.005, 0.995]) * (ordered.size - 1)
    low, high = np.interp(positions, np.arange(ordered.size), ordered)
    assert np.allclose(got, np.clip((values - low) / (high - low), 0, 1), atol=1e-4)
    assert got.std() > 0.15, "a faint image becomes visible"
    assert np.all(rescale(torch.full((3, 4, 4), 0.3)).numpy() == 0.5)


def test_the_frames_of_an_animation_are_rescaled_like_the_last_one():
    gray, last = torch.full((3, 10, 10), 128, dtype=torch.uint8), torch.full((3, 10, 10), 108, dtype=torch.uint8)
    last[:, 5:] = 148
    first, end = rescale_together(torch.stack([gray, last]))
    assert torch.allclose(first, torch.full((3, 10, 10), 0.5)), "a first frame of noise is not amplified"
    assert end[:, :5].max() == 0 and end[:, 5:].min() == 1


def test_the_statistics_are_of_the_training_images_of_each_class(dataset, tmp_path):
    write_statistics(dataset, (32, 32), tmp_path / "s.safetensors")
    spectrum, means = read_statistics(tmp_path / "s.safetensors")
    images = pd.read_csv(dataset / "images.csv")
    train = images[(images["split"] == "train") & (images["label"] == "blue_jay")]
    pixels = np.stack([np.asarray(Image.open(dataset / path), dtype=float) for path in train["path"]]) / 255
    assert np.allclose(means["blue_jay"].numpy(), pixels.mean(axis=0).transpose(2, 0, 1), atol=1e-5)
    assert set(means) == {"blue_jay", "northern_cardinal"} and spectrum.shape == (3, 32, 17)
    write_statistics(dataset, (48, 48), tmp_path / "l.safetensors")
    larger, means = read_statistics(tmp_path / "l.safetensors")
    assert larger.shape == (3, 48, 25) and means["blue_jay"].shape == (3, 48, 48)
    assert larger[0, 1, 1] / spectrum[0, 1, 1] == pytest.approx(1.5, rel=0.1), "the same waves, on more pixels"


def test_the_statistics_of_images_that_are_not_square(tmp_path):
    random, images = np.random.default_rng(0), {}
    for index in range(5):
        images[f"images/a/{index}.png"] = random.integers(0, 256, (32, 48, 3), dtype=np.uint8)
        save_png(Image.fromarray(images[f"images/a/{index}.png"]), tmp_path / f"images/a/{index}.png", "", {})
    labels, parts = ["a", "a", "b", "b", "b"], ["train", "train", "train", "train", "validation"]
    table = pd.DataFrame({"path": list(images), "label": labels, "split": parts, "sha256": "0" * 64})
    table.reindex(columns=IMAGE_COLUMNS).to_csv(tmp_path / "images.csv", index=False)
    write_statistics(tmp_path, (32, 48), tmp_path / "s.safetensors")
    spectrum, means = read_statistics(tmp_path / "s.safetensors")
    pixels = np.stack(list(images.values())).transpose(0, 3, 1, 2) / 255
    assert np.allclose(means["a"], pixels[:2].mean(axis=0), atol=1e-6)
    assert np.allclose(means["b"], pixels[2:4].mean(axis=0), atol=1e-6), "what validates does not count"
    mixed = np.array([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]]) / np.linalg.norm([0.26, 0.27, 0.27])
    inside = pixels[:4].clip(1 / 512, 511 / 512)
    colors = np.einsum("ij,bjhw->bihw", np.linalg.inv(mixed), np.log(inside / (1 - inside)))
    expected = np.abs(np.fft.rfft2(colors, norm="ortho")).mean(axis=0)
    assert spectrum.shape == (3, 32, 25) and np.allclose(spectrum, expected, rtol=1e-3, atol=1e-3)
    write_statistics(tmp_path, (48, 72), tmp_path / "l.safetensors")
    assert read_statistics(tmp_path / "l.safetensors")[1]["b"].shape == (3, 48, 72)
    assert load_tensors(tmp_path / "l.safetensors")[1] == {"size": [48, 72]}


def test_pixels_are_rounded_to_the_nearest_of_256_values():
    image = torch.tensor([0.0, 0.4999 / 255, 0.5001 / 255, 1.0]).view(1, 2, 2).expand(3, 2, 2)
    assert np.asarray(to_image(image))[..., 0].flatten().tolist() == [0, 0, 1, 255]
    assert set(views(image)) == {"raw", "rescaled"}


def test_a_png_and_a_gif_contain_their_metadata(tmp_path):
    facts = {"run": "a", "label": "naïve <b>", "parameters": {"steps": [1, 2]}, "long": "x" * 1000}
    save_png(Image.new("RGB", (4, 4)), tmp_path / "deep" / "a.png", "Blue Jay", facts)
    save_gif([Image.new("RGB", (8, 8), "red")] * 2, tmp_path / "b.gif", 0.5, json.dumps(facts))
    assert read_facts(tmp_path / "deep" / "a.png") == facts
    assert read_facts(tmp_path / "b.gif") == facts
    assert Image.open(tmp_path / "deep" / "a.png").text["Title"] == "Blue Jay"


@pytest.fixture
def squares(tmp_path):
    """Return files of a single color each, by the color's name."""
    colors = ("red", "lime", "blue", "black", "white", "orange")
    for color in colors:
        Image.new("RGB", (8, 8), color).save(tmp_path / f"{color}.png")
    return {color: tmp_path / f"{color}.png" for color in colors}


def find(page: Image.Image, color: str) -> tuple[int, int, int, int]:
    """Return the box of a color in an image."""
    return Image.fromarray(np.all(np.asarray(page) == ImageColor.getrgb(color), axis=-1)).getbbox()


def test_a_montage_puts_each_cell_in_its_column_and_row(squares):
    cells = [[squares[color] for color in row] for row in (("red", "lime", "white"), ("blue", "black", "orange"))]
    grid = Grid(cells, ["Black-capped Chickadee", "b"], ["epoch 0", "epoch 1", "epoch 2"], "Title", "subtitle")
    page = montage(grid, 40)
    boxes = {color: find(page, color) for color in ("red", "lime", "blue", "orange")}
    assert all(right - left == bottom - top == 40 for left, top, right, bottom in boxes.values())
    assert boxes["lime"][0] - boxes["red"][0] == boxes["blue"][1] - boxes["red"][1] == 40 + GAP
    assert boxes["orange"][0] == boxes["red"][0] + 2 * (40 + GAP)
    left = page.crop((0, boxes["red"][1], boxes["red"][0], boxes["red"][3]))
    above = page.crop((boxes["red"][0], boxes["red"][1] - 30, boxes["red"][2], boxes["red"][1]))
    assert np.asarray(left).min() < 80 and np.asarray(above).min() < 80, "both labels are written"


def test_a_cell_without_a_dream_is_blank(squares):
    rows = [("a", 1, "red"), ("a", 2, "lime"), ("b", 2, "blue")]
    dreams = pd.DataFrame(
        [(name, step, squares[color]) for name, step, color in rows], columns=["recipe", "step", "picture"]
    )
    cells = Selection("s", dreams, {}, {}).grid("recipe", "step").to_numpy().tolist()
    assert cells == [[squares["red"], squares["lime"]], [None, squares["blue"]]]
    page = montage(Grid(cells, ["a", "b"], ["step 1", "step 2"], "Title", "subtitle"), 40)
    left, top, right, _ = find(page, "red")
    assert find(page, "blue")[:2] == (left + 40 + GAP, top + 40 + GAP)
    blank = page.crop((left, top + 40 + GAP, right, top + 80 + GAP))
    assert blank.getcolors() == [(40 * 40, ImageColor.getrgb(PAPER))]
    (frame,) = film(Film(cells[1:], ["step 1"], ["One", "Other"], "run a"), 40)
    assert find(frame, "blue")


def test_an_image_is_centered_in_its_cell_and_a_square_fills_it(squares, tmp_path):
    for name, size in {"wide": (90, 60), "tall": (20, 80), "thin": (400, 2)}.items():
        Image.new("RGB", size, "red").save(tmp_path / f"{name}.png")
    boxes = {name: find(load_cell(tmp_path / f"{name}.png", 48), "red") for name in ("wide", "tall", "thin")}
    assert boxes == {"wide": (0, 8, 48, 40), "tall": (18, 0, 30, 48), "thin": (0, 23, 48, 24)}
    cell = load_cell(tmp_path / "wide.png", 48)
    assert {color for _, color in cell.getcolors()} == {ImageColor.getrgb("red"), ImageColor.getrgb(PAPER)}
    noise = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    plain = Image.fromarray(noise).resize((48, 48), Image.Resampling.LANCZOS)
    assert load_cell(tmp_path / "noise.png", 48).tobytes() == plain.tobytes()
    grid = Grid([[tmp_path / "tall.png", squares["lime"]]], ["a"], ["b", "c"], "Title", "subtitle")
    page = montage(grid, 40)
    (left, top, right, bottom), lime = find(page, "red"), find(page, "lime")
    assert (right - left, bottom - top) == (10, 40) and (top, lime[0] - left) == (lime[1], 40 + GAP - 15)


def test_the_frames_of_an_animation_keep_their_shape(tmp_path):
    frames = [Image.new("RGB", (31, 18), color) for color in ("red", "blue")]
    save_gif(frames, tmp_path / "a.gif", 0.1, "facts")
    assert imageio.imread(tmp_path / "a.gif").shape[:3] == (2, 18, 31)


def test_text_is_wrapped_and_long_words_are_shortened():
    face = font(12)
    lines = fold("Black-capped Chickadee and Donaudampfschifffahrtsgesellschaft", 100, face)
    assert len(lines) > 2 and all(face.getlength(line) <= 100 for line in lines)
    assert lines[-1].endswith("…")


def test_an_animation_shows_its_frames_in_order_and_constant_pixels_do_not_flicker(squares, tmp_path):
    frames = [[squares[color], squares["orange"]] for color in ("red", "lime", "blue")]
    script = Film(frames, ["epoch 0", "epoch 1", "epoch 2"], ["Bird", "Other"], "run a")
    save_gif(film(script, 40), tmp_path / "a.gif", 0.5, "facts")
    read = imageio.imread(tmp_path / "a.gif")
    assert len(read) == 3
    dominant = [frame[:, : frame.shape[1] // 2].reshape(-1, frame.shape[-1])[:, :3] for frame in read]
    for pixels, color in zip(dominant, ("red", "lime", "blue"), strict=True):
        assert np.all(np.abs(pixels - np.array(ImageColor.getrgb(color), dtype=int)) <= 8, axis=1).sum() > 1000
    right = read[:, 40:, read.shape[2] // 2 :]
    assert np.array_equal(right[0], right[1]) and np.array_equal(right[1], right[2])
    with Image.open(tmp_path / "a.gif") as gif:
        durations = [gif.info["duration"] for index in range(3) if gif.seek(index) is None]
        assert durations == [500, 500, 1500] and gif.info["loop"] == 0


def test_curves_are_drawn_also_when_epoch_0_has_no_training_loss(tmp_path):
    rows = {"run": ["a", "a"], "epoch": [0, 2], "train_loss": [None, 1.0], "train_accuracy": [None, 0.5]}
    history = pd.DataFrame({**rows, "validation_loss": [2.0, 1.5], "validation_accuracy": [0.1, 0.4]})
    plot_curves(history, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as plot:
        assert plot.width > 800 and len(plot.convert("RGB").getcolors(1 << 20)) > 10


def test_curves_of_a_network_trained_elsewhere_show_what_its_history_reports(tmp_path):
    measured = {"validation_loss": [None, 1.5], "validation_accuracy": [None, 0.4]}
    history = pd.DataFrame({"run": "a", "epoch": [1, 2], "train_loss": [2.0, 1.0], "train_accuracy": None, **measured})
    for name, reported in (("low", 0.1), ("high", 0.9)):
        plot_curves(history.assign(reported_loss=[None, None], reported_accuracy=reported), tmp_path / f"{name}.png")
    low, high = (np.asarray(Image.open(tmp_path / f"{name}.png").convert("L"), int) for name in ("low", "high"))
    rows = np.flatnonzero((low != high).any(axis=1))
    assert rows.max() - rows.min() > 0.5 * len(low), "the curve of the accuracy has moved up"

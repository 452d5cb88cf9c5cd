"""The gallery's files: sheets, images, the data of the page, escaping of names, and contrast of colors."""

import base64
import json
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml
from PIL import Image

from dreambirds.config import VIEWS
from dreambirds.dream_job.archive import Picture, extract, read_picture
from dreambirds.gallery.data import LARGEST, MOST_LABELS, cell_shape
from dreambirds.gallery.gallery import sheets, write_sheet
from dreambirds.plan.paths import epoch_name, step_name
from dreambirds.plan.plan import make_plan
from tests.helpers.galleries import BAD, GAPS, build_gallery, color, gallery_plan, grid_plan, number
from tests.helpers.values import write_gallery_of

THEMES = {"light": ":root {", "dark": ':root[data-theme="dark"] {'}


@pytest.fixture(scope="module")
def plan():
    """Return a plan with two runs, three epochs, two recipes with different steps, and two classes."""
    return gallery_plan()


@pytest.fixture(scope="module")
def gallery(plan, tmp_path_factory):
    """Return the folder of the plan's gallery."""
    return build_gallery(plan, tmp_path_factory.mktemp("study"))


def facts_of(gallery) -> dict:
    """Return the data of the page."""
    page = (gallery / "index.html").read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="facts">(.*?)</script>', page, re.DOTALL)[1])


@pytest.mark.parametrize("view", VIEWS)
def test_every_dream_is_in_its_cell_of_its_sheet(plan, gallery, view):
    for dream in plan.dreams:
        folder = gallery / "sheets" / dream.run / epoch_name(dream.epoch) / dream.recipe
        row, column = list(plan.names).index(dream.label), plan.recipes[dream.recipe]["steps"].index(dream.step)
        with Image.open(folder / f"0{VIEWS[view]}.png") as sheet:
            pixel = sheet.getpixel((16 * column + 8, 16 * row + 8))
        assert pixel == color(plan, dream, view)


def test_a_downloaded_image_is_the_studys_file(plan, gallery):
    dream = plan.dreams[-1]
    folder, name = f"{dream.run}/{epoch_name(dream.epoch)}/{dream.recipe}", f"{step_name(dream.step)}-rescaled.png"
    image = gallery / "pictures" / "dreams" / folder / dream.label / name
    content = read_picture(Picture(gallery.parent / "dreams" / folder / "dreams.zip", f"{dream.label}/{name}"))
    assert image.read_bytes() == content
    script = image.parent.with_suffix(".js").read_text(encoding="utf-8")
    files = json.loads(re.fullmatch(r"receiveFiles\((.*)\);\n", script)[1])
    assert base64.b64decode(files[image.name]) == content
    assert len(list((gallery / "pictures" / "dreams").rglob("*.png"))) == 2 * len(plan.dreams)
    assert {path.name for path in (gallery / "pictures" / "real").iterdir()} == {f"{label}.png" for label in plan.names}


def test_an_image_is_a_link_to_the_file_next_to_its_archive_if_that_is_the_same(tmp_path):
    plan = gallery_plan(epochs=[1], runs=["only"], recipes={"r": {"steps": [1]}})
    gallery = build_gallery(plan, tmp_path)
    archive, images = (
        gallery.parent / "dreams/only/epoch-0001/r/dreams.zip",
        gallery / "pictures/dreams/only/epoch-0001/r",
    )
    same, other = (archive.parent / label / "step-0001.png" for label in plan.names)
    for laid in (same, other):
        laid.parent.mkdir()
        extract(Picture(archive, f"{laid.parent.name}/{laid.name}"), laid)
    other.write_bytes(b"edited")
    write_gallery_of(plan, [archive], gallery.parent, gallery)
    assert (images / "class_0/step-0001.png").samefile(same)
    assert (images / "class_1/step-0001.png").read_bytes() == read_picture(Picture(archive, "class_1/step-0001.png"))


def test_more_than_64_classes_continue_on_the_next_sheet():
    labels = [f"class_{number}" for number in range(MOST_LABELS + 3)]
    rows = {"run": "only", "epoch": 1, "recipe": "r", "step": 1, "archive": "a.zip"}
    dreams = pd.DataFrame({"label": labels, **rows})
    raw = [sheet for sheet in sheets(dreams, {"r": (16, 16)}) if "rescaled" not in sheet.name]
    assert [sheet.name for sheet in raw] == [f"sheets/only/epoch-0001/r/{part}.png" for part in (0, 1)]
    assert [len(sheet.cells) for sheet in raw] == [MOST_LABELS, 3]
    assert raw[1].cells[0][0] == Picture(Path("a.zip"), f"class_{MOST_LABELS}/step-0001.png")


def test_large_images_are_scaled_down_in_proportion_and_small_ones_are_unchanged(tmp_path):
    assert cell_shape((64, 64)) == (64, 64)
    assert cell_shape((300, 200)) == (LARGEST, 64)
    Image.linear_gradient("L").resize((200, 300)).convert("RGB").save(tmp_path / "large.png")
    write_sheet([[tmp_path / "large.png"] * 2], (LARGEST, 64), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (128, LARGEST)
        for row in (10, 50, 90):  # the gradient is preserved
            assert sheet.getpixel((100, row))[0] == pytest.approx(255 * row / LARGEST, abs=5)


def test_the_page_contains_the_measurements_of_each_dream(plan, gallery):
    facts = facts_of(gallery)
    for dream in plan.dreams:
        steps, epochs = plan.recipes[dream.recipe]["steps"], plan.epochs(dream.run)
        row = list(plan.names).index(dream.label) * len(epochs) + epochs.index(dream.epoch)
        index = row * len(steps) + steps.index(dream.step)
        values = facts["values"][f"{dream.run}/{dream.recipe}"]
        assert values["judge_probability"][index] == pytest.approx(number(plan, dream, "raw"), rel=1e-3)
        assert values["judge_probability_rescaled"][index] == pytest.approx(number(plan, dream, "rescaled"), rel=1e-3)
        assert values["dreamer_probability"][index] == pytest.approx(number(plan, dream, "raw") / 2, rel=1e-3)
        assert values["judge_prediction_rescaled"][index] == "heron"


def test_the_page_contains_the_points_of_grids_and_the_picked_dreams(tmp_path):
    plan = grid_plan()
    gallery = build_gallery(plan, tmp_path, more=lambda dream: {"picked": int(dream.recipe.endswith("-seed-0"))})
    facts = facts_of(gallery)
    assert facts["runs"]["scratch"].items() >= {"origin": "scratch", "varied": {}}.items()
    name, varied = "fine-seed-2-batch_size-8", {"seed": 2, "batch_size": 8}
    assert facts["runs"][name].items() >= {"origin": "fine", "varied": varied}.items()
    name, varied = "plain-objective-logit-seed-0", {"objective": "logit", "seed": 0}
    assert facts["recipes"][name].items() >= {"origin": "plain", "varied": varied}.items()
    for recipe, picked in ((name, [1, 1]), ("plain-objective-logit-seed-3", [0, 0])):
        assert facts["values"][f"scratch/{recipe}"]["picked"] == picked


def test_the_page_opens_at_the_highest_judge_probability(plan, gallery):
    last = pd.DataFrame([dream for dream in plan.dreams if dream.last and dream.epoch == 4])
    means = last.assign(value=[number(plan, dream, "raw") for dream in last.itertuples()])
    run, recipe = means.groupby(["run", "recipe"])["value"].mean().idxmax()
    assert facts_of(gallery)["best"] == {"run": run, "recipe": recipe}


def test_epochs_keep_their_fractions_and_a_digest_of_digits_stays_text(gallery):
    run = facts_of(gallery)["runs"]["first"]
    assert run["epochs"] == [0, 0.25, 4]
    assert run["folders"] == ["epoch-0000", "epoch-0000.25", "epoch-0004"]
    assert run["checkpoints"] == ["1" * 64] * 3


def test_a_downloaded_recipe_gives_the_same_dreams(plan, gallery):
    for name, recipe in facts_of(gallery)["recipes"].items():
        config = yaml.safe_load(recipe["yaml"])
        dataset, runs = {"image_size": 16}, {"a": {"model": "test_resnet"}}
        again = make_plan({"gpu": 0, "judges": {}, "dataset": dataset, "runs": runs, **config})
        assert again.recipes == {name: plan.recipes[name]}


def test_a_page_with_gaps_lists_the_epochs_with_dreams(tmp_path):
    plan = gallery_plan(recipes=GAPS)
    gallery = build_gallery(plan, tmp_path)
    facts = facts_of(gallery)
    assert facts["dreamers"] == {
        "first/plain": [0, 1, 2],
        "first/once": [1],
        "second/plain": [0, 1, 2],
        "second/rare": [0, 2],
    }
    assert set(facts["values"]) == set(facts["dreamers"]) and facts["runs"]["second"]["epochs"] == [0, 0.25, 4]
    rare = pd.DataFrame(sorted((each for each in plan.dreams if each.recipe == "rare"), key=lambda each: each.label))
    expected = [number(plan, dream, "raw") for dream in rare.itertuples()]
    assert facts["values"]["second/rare"]["judge_probability"] == pytest.approx(expected, rel=1e-3)
    assert {path.parent.name for path in (gallery / "sheets").rglob("rare")} == {"epoch-0000", "epoch-0004"}
    assert yaml.safe_load(facts["recipes"]["rare"]["yaml"])["dreams"]["recipes"]["rare"] == plan.recipes["rare"]


def test_names_are_escaped(gallery):
    page = (gallery / "index.html").read_text(encoding="utf-8")
    assert "<script>window" not in page
    assert "<img src=x" not in page
    assert [entry["name"] for entry in facts_of(gallery)["labels"]] == [BAD, "Bruant à gorge blanche"]


def test_the_page_contains_no_external_url(gallery):
    page = (gallery / "index.html").read_text(encoding="utf-8")
    assert set(re.findall(r"\w+://[\w./]+", page)) <= {"http://www.w3.org/2000/svg"}


def test_without_a_judge_the_page_has_no_judge_values(tmp_path):
    plan = gallery_plan(epochs=[1], runs=["only"], recipes={"r": {"steps": [1]}})
    facts = facts_of(build_gallery(plan, tmp_path, judged=False))
    assert facts["judge"] is None
    assert list(facts["values"]["only/r"]) == ["dreamer_probability"]


@pytest.mark.parametrize("theme", THEMES)
def test_text_has_enough_contrast_with_its_background(gallery, theme):
    page = (gallery / "index.html").read_text(encoding="utf-8")
    block = page.partition(THEMES[theme])[2].partition("}")[0]
    colors = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
    for background in ("paper", "card"):
        for text in ("ink", "faint", "accent", "second", "third"):
            assert contrast(colors[text], colors[background]) >= 4.5, (text, background)
    assert contrast(colors["paper"], colors["accent"]) >= 4.5  # the text of a pressed button


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colors, 1 to 21, as defined by WCAG 2.2."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(color: str) -> float:
    """Return the relative luminance of ``#rrggbb``, 0 to 1."""
    parts = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_contrast_matches_known_values():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)

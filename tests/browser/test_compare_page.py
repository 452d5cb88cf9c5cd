"""The comparison pages in a browser: light and dark theme, wide and narrow window."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest
from selenium.webdriver.common.by import By

from dreambirds.evaluation.columns import DREAMS, RUNS
from dreambirds.gallery import compare
from dreambirds.gallery.comparison import read_study
from tests.helpers.archives import write_images
from tests.helpers.browsing import check_readable, image_widths

BAD = '<script>window.harmed = 1</script> "jay" & <img src=x onerror="window.harmed = 1">'


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Return the page of one study, and the page that compares two."""
    root = tmp_path_factory.mktemp("results")
    studies = [write(root / name, value) for name, value in (("first", 0.2), ("second", 0.6))]
    compare.write_overview(root / "first", root / "first" / "compare.html")
    return root / "first" / "compare.html", compare.compare_two(*studies, compare.Console(quiet=True))


def write(folder, value: float):
    """Write a study with two recipes and six classes with hostile names, read it, and return it."""
    rows = []
    for recipe in ("plain", "other"):
        for number in range(6):
            path = f"dreams/scratch/epoch-0004/{recipe}/l{number}/step-0005"
            row = {"run": "scratch", "epoch": 4, "recipe": recipe}
            row |= {"run_group": "scratch", "recipe_group": recipe, "training_seed": 0, "dream_seed": 0}
            row |= {"label": f"l{number}", "class_name": f"{number} {BAD}"}
            row |= {
                "step": 5,
                "dreamer_probability": value,
                "judge_probability": value,
                "image_path": f"{path}.png",
                "judge": "judge",
            }
            steps = json.dumps({"from": 1, "to": 2, "over": 50}) if recipe == "other" else 1
            rows.append({**row, "image_path_rescaled": f"{path}-rescaled.png", "step_size": steps, "blur_sigma": value})
    write_images(folder / "dreams", [SimpleNamespace(**row) for row in rows], lambda *_: "teal", lambda _: (8, 8))
    table = pd.DataFrame(rows).reindex(columns=DREAMS)
    table.to_csv(folder / "dreams.csv", index=False)
    runs = pd.DataFrame(
        [{"run": "scratch", "run_group": "scratch", "epoch": 4, "model": "resnet", "validation_accuracy": 0.9}]
    )
    runs.reindex(columns=RUNS).to_csv(folder / "runs.csv", index=False)
    return read_study(folder)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1300])
@pytest.mark.parametrize("which", [0, 1])
def test_the_pages_are_readable_in_both_themes_and_widths(browser, pages, which, width, theme):
    check_readable(browser, pages[which].as_uri(), theme, width)


def test_dreams_are_side_by_side_and_names_are_escaped(browser, pages):
    browser.get(pages[1].as_uri())
    first, second = browser.find_elements(By.CSS_SELECTOR, ".pairs li:first-child img")
    assert first.rect["y"] == second.rect["y"] and first.rect["x"] < second.rect["x"]
    assert image_widths(browser) == [8] * 24
    assert BAD in browser.find_element(By.CSS_SELECTOR, ".pairs h3").text
    assert browser.execute_script("return window.harmed") is None

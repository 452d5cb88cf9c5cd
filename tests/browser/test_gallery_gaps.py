"""The gallery of a study in which some runs and epochs have no dreams of a recipe."""

from types import SimpleNamespace

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from tests.helpers.galleries import GAPS, build_gallery, gallery_plan, number
from tests.helpers.gallery_pages import (
    FIRST,
    link_parameters,
    open_page,
    press,
    shows,
    until,
)


@pytest.fixture(scope="module")
def gaps(tmp_path_factory):
    """Return a plan in which some runs and epochs have no dreams of a recipe, and the folder of its gallery."""
    plan = gallery_plan(recipes=GAPS)
    return plan, build_gallery(plan, tmp_path_factory.mktemp("gaps"))


def menu(browser, kind: str, pane: int = 0) -> Select:
    """Return the menu of runs or recipes of a pane."""
    return Select(browser.find_elements(By.CSS_SELECTOR, f".{kind} select")[pane])


def choose(browser, kind: str, name: str, pane: int = 0) -> None:
    """Select a run or a recipe in the menu of a pane, and remove the focus from the menu."""
    menu(browser, kind, pane).select_by_value(name)
    browser.execute_script("document.activeElement.blur()")


def logged_errors(browser) -> list:
    """Return the errors and warnings that the browser has logged since the last call."""
    return [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def test_a_run_offers_the_recipes_and_epochs_that_it_dreams(browser, gaps):
    plan, gallery = gaps
    logged_errors(browser)
    open_page(browser, gallery, **FIRST | {"epoch": 0.25})
    shows(browser, plan, epoch=0.25)
    assert [option.is_enabled() for option in menu(browser, "recipe").options] == [True, False, True]
    choose(browser, "recipe", "once")
    shows(browser, plan, recipe="once", epoch=0.25, step=2)
    assert not browser.find_element(By.ID, "epoch-box").is_displayed()
    press(browser, " ", Keys.ARROW_LEFT)
    shows(browser, plan, recipe="once", epoch=0.25, step=2)
    choose(browser, "run", "second")
    shows(browser, plan, run="second", epoch=0.25, step=2)
    assert menu(browser, "recipe").first_selected_option.text == "plain", (
        "the second run has no dreams of the recipe once"
    )
    choose(browser, "recipe", "rare")
    shows(browser, plan, run="second", recipe="rare", epoch=0, step=3)
    assert browser.find_element(By.ID, "epoch").get_attribute("max") == "1"
    numbers = [text.text for text in browser.find_elements(By.CSS_SELECTOR, ".chart.epochs text")]
    assert "4" in numbers and "0.25" not in numbers
    press(browser, Keys.ARROW_RIGHT)
    rare = {"run": "second", "recipe": "rare", "epoch": 4, "step": 3}
    shows(browser, plan, **rare)
    until(browser, lambda: link_parameters(browser) == {key: str(value) for key, value in (FIRST | rare).items()})
    expected = number(plan, SimpleNamespace(**FIRST | rare), "raw")
    assert f"{expected:.4g}" in browser.find_element(By.CSS_SELECTOR, "tbody").text
    name = browser.find_element(By.CSS_SELECTOR, "a.download").get_attribute("download")
    assert name == "second_epoch-0004_rare_class_0_step-0003.png" and logged_errors(browser) == []


def test_a_link_to_missing_dreams_opens_the_nearest(browser, gaps):
    plan, gallery = gaps
    open_page(browser, gallery, **FIRST | {"recipe": "rare"})
    shows(browser, plan)
    link = {key: value for key, value in FIRST.items() if key != "run"} | {"recipe": "rare", "epoch": 0.25, "step": 7}
    open_page(browser, gallery, **link)
    shows(browser, plan, **link | {"run": "second", "epoch": 0})
    open_page(browser, gallery, **FIRST | {"run2": "first", "recipe2": "rare"})
    shows(browser, plan, pane=1)
    assert logged_errors(browser) == []


def test_the_second_pane_shows_the_nearest_existing_epoch(browser, gaps):
    plan, gallery = gaps
    open_page(browser, gallery, **FIRST | {"run": "second", "epoch": 0.25})
    press(browser, "c")
    shows(browser, plan, run="second", epoch=0.25)
    shows(browser, plan, pane=1, run="second", recipe="rare", epoch=0, step=3)
    press(browser, Keys.ARROW_RIGHT)
    shows(browser, plan, pane=1, run="second", recipe="rare", epoch=4, step=3)
    choose(browser, "run", "first", pane=1)
    shows(browser, plan, pane=1)
    until(browser, lambda: link_parameters(browser).get("recipe2") == "plain")
    press(browser, "c", "c")
    shows(browser, plan, pane=1, run="second", recipe="rare", step=3)
    assert logged_errors(browser) == []


def test_two_runs_with_one_recipe_each_are_compared(browser, tmp_path):
    recipes = {"one": {"steps": [1], "runs": ["first"]}, "two": {"steps": [3], "runs": ["second"]}}
    plan = gallery_plan(epochs=[0, 4], recipes=recipes)
    open_page(browser, build_gallery(plan, tmp_path), **FIRST | {"recipe": "one"})
    shows(browser, plan, recipe="one", step=1)
    browser.find_element(By.ID, "compare").click()
    shows(browser, plan, pane=1, run="second", recipe="two", step=3)
    assert logged_errors(browser) == []

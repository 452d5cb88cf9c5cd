"""The gallery of a study with grids: sliders and menus for what varies, links, and missing combinations."""

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from tests.helpers.browsing import contrast, look
from tests.helpers.galleries import build_gallery, grid_plan
from tests.helpers.gallery_pages import FIRST, link_parameters, open_page, press, shows, until

RUN, RECIPE = "fine-seed-{}-batch_size-{}", "plain-objective-{}-seed-{}"
PLACE = FIRST | {"run": RUN.format(0, 64), "recipe": RECIPE.format("logit", 3)}
MARK = "closest of its seeds to the photographs, by the dreamer's own features"


@pytest.fixture(scope="module")
def plan():
    """Return a plan with a grid of runs, and a grid of recipes."""
    return grid_plan()


@pytest.fixture(scope="module")
def gallery(plan, tmp_path_factory):
    """Return the folder of the plan's gallery, in which the dreams of the dream seed 0 are the picked ones."""
    return build_gallery(
        plan,
        tmp_path_factory.mktemp("grids"),
        more=lambda dream: {"picked": int(dream.recipe == "rare" or dream.recipe.endswith("-seed-0"))},
    )


@pytest.fixture
def page(browser, gallery):
    """Open the gallery at `PLACE`; after the test, check that it logged no errors."""
    browser.get_log("browser")
    open_page(browser, gallery, **PLACE)
    yield browser
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


def control(browser, title: str, pane: int = 0):
    """Return the slider or menu of a key in a pane."""
    return browser.find_elements(By.CSS_SELECTOR, ".pane")[pane].find_element(
        By.CSS_SELECTOR, f"[aria-label='{title}']"
    )


def titles(browser) -> list[str]:
    """Return the keys that the first pane has a slider or a menu for."""
    found = browser.find_elements(By.CSS_SELECTOR, ".axis input, .axis select")
    return [each.get_attribute("aria-label") for each in found]


def chosen(browser) -> str:
    """Return the displayed names of the run and the recipe."""
    return browser.find_element(By.CSS_SELECTOR, ".chosen").text


def names(run: str, recipe: str) -> dict[str, str]:
    """Return the names of a run and a recipe as the parameters of `shows`."""
    return {**PLACE, "run": run, "recipe": recipe}


def test_menus_have_the_names_of_the_config_and_each_varying_key_has_a_control(page, plan):
    shows(page, plan, **PLACE)
    for kind, options in (("run", ["scratch", "fine"]), ("recipe", ["plain", "rare"])):
        menu = Select(page.find_element(By.CSS_SELECTOR, f".{kind} select"))
        assert [option.text for option in menu.options] == options
    assert titles(page) == ["training seed", "batch_size", "objective", "dream seed"]
    assert [control(page, title).tag_name for title in titles(page)] == ["input", "input", "select", "input"]
    assert chosen(page) == f"run {PLACE['run']} · recipe {PLACE['recipe']}"
    batch_size = control(page, "batch_size")
    assert batch_size.get_attribute("max") == "1", "the values are sorted, and each is one position"
    assert [batch_size.get_attribute(name) for name in ("value", "aria-valuetext")] == ["1", "64"]


def test_keys_and_menus_change_one_value(page, plan):
    control(page, "training seed").send_keys(Keys.ARROW_RIGHT)
    shows(page, plan, **names(RUN.format(1, 64), PLACE["recipe"]))
    control(page, "training seed").send_keys(Keys.END)
    shows(page, plan, **names(RUN.format(2, 64), PLACE["recipe"]))
    control(page, "batch_size").send_keys(Keys.ARROW_DOWN)
    shows(page, plan, **names(RUN.format(2, 8), PLACE["recipe"]))
    control(page, "dream seed").send_keys(Keys.HOME)
    shows(page, plan, **names(RUN.format(2, 8), RECIPE.format("logit", 0)))
    Select(control(page, "objective")).select_by_visible_text("cross_entropy")
    shows(page, plan, **names(RUN.format(2, 8), RECIPE.format("cross_entropy", 0)))
    assert chosen(page) == f"run {RUN.format(2, 8)} · recipe {RECIPE.format('cross_entropy', 0)}"
    assert control(page, "training seed").get_attribute("aria-valuetext") == "2"
    control(page, "training seed").send_keys(".")
    shows(page, plan, **names(RUN.format(2, 8), RECIPE.format("cross_entropy", 0)) | {"label": "class_1"})


def test_the_link_contains_the_full_names_and_restores_them(page, plan, gallery):
    control(page, "training seed").send_keys(Keys.END)
    press(page, "c")
    control(page, "batch_size", pane=1).send_keys(Keys.HOME)
    second = names(RUN.format(2, 8), RECIPE.format("logit", 0))
    shows(page, plan, pane=1, **second)
    until(page, lambda: link_parameters(page).get("run2") == second["run"])
    assert link_parameters(page)["run"] == RUN.format(2, 64)
    link = page.current_url
    page.get("about:blank")
    page.get(link)
    shows(page, plan, **names(RUN.format(2, 64), PLACE["recipe"]))
    shows(page, plan, pane=1, **second)
    assert control(page, "batch_size", pane=1).get_attribute("value") == "0"
    assert control(page, "batch_size").get_attribute("value") == "1"


def test_a_link_with_the_name_of_a_grid_opens_its_first_point(page, plan, gallery):
    open_page(page, gallery, **PLACE | {"run": "fine", "recipe": "plain"})
    shows(page, plan, **PLACE)


def test_a_missing_combination_opens_the_nearest_one(page, plan):
    Select(page.find_element(By.CSS_SELECTOR, ".recipe select")).select_by_value("rare")
    shows(page, plan, **names(RUN.format(2, 64), "rare"))
    assert titles(page) == ["training seed", "batch_size"]
    assert control(page, "training seed").get_attribute("max") == "1", "only the seeds that dream the recipe"
    control(page, "training seed").send_keys(Keys.ARROW_LEFT)
    shows(page, plan, **names(RUN.format(0, 8), "rare"))
    expected = f"run {RUN.format(0, 8)} · recipe rare (the nearest combination with dreams)"
    assert chosen(page) == page.find_element(By.ID, "announcement").get_attribute("textContent") == expected
    assert control(page, "batch_size").get_attribute("aria-valuetext") == "8"
    Select(page.find_element(By.CSS_SELECTOR, ".run select")).select_by_value("scratch")
    shows(page, plan, **names("scratch", PLACE["recipe"]))
    assert titles(page) == ["objective", "dream seed"]
    menu = Select(page.find_element(By.CSS_SELECTOR, ".recipe select"))
    assert [option.is_enabled() for option in menu.options] == [True, False]


def test_another_recipe_keeps_the_values_that_both_have(page, plan):
    control(page, "training seed").send_keys(Keys.END)
    Select(page.find_element(By.CSS_SELECTOR, ".recipe select")).select_by_value("rare")
    shows(page, plan, **names(RUN.format(2, 64), "rare"))
    Select(page.find_element(By.CSS_SELECTOR, ".recipe select")).select_by_value("plain")
    shows(page, plan, **names(RUN.format(2, 64), PLACE["recipe"]))


def test_the_picked_dream_is_marked(page, plan):
    assert MARK not in page.find_element(By.TAG_NAME, "figcaption").text
    control(page, "dream seed").send_keys(Keys.HOME)
    until(page, lambda: MARK in page.find_element(By.TAG_NAME, "figcaption").text)
    press(page, "r")
    assert MARK in page.find_element(By.TAG_NAME, "figcaption").text, "it is the same in both views"
    Select(page.find_element(By.CSS_SELECTOR, ".recipe select")).select_by_value("rare")
    until(page, lambda: "recipe rare" in chosen(page))
    assert MARK not in page.find_element(By.TAG_NAME, "figcaption").text, "it has no other dream seed"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_the_controls_are_readable_in_both_themes_and_widths(page, gallery, theme, width):
    page.execute_script("localStorage.removeItem('theme')")
    look(page, theme, width)
    open_page(page, gallery, **PLACE | {"recipe": RECIPE.format("logit", 0)})
    assert contrast(page, ".axis span, .axis output, .axis select, .chosen, .picked") >= 4.5
    assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    for each in page.find_elements(By.CSS_SELECTOR, ".axis input, .axis select"):
        assert each.rect["width"] >= 60 and each.rect["height"] >= 24, each.get_attribute("aria-label")
        assert each.rect["x"] + each.rect["width"] <= width

"""The gallery of many targets in a browser: the search, and the photographs that excite a target most."""

import io

import pytest
from PIL import Image, ImageColor
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.helpers.browsing import contrast, look
from tests.helpers.galleries import COLORS, build_gallery
from tests.helpers.gallery_pages import FIRST, link_parameters, open_page, press, shows, until
from tests.unit.test_gallery_targets import plan_of_targets

CHANNELS = ["layer75_channel0", "layer75_channel112", "layer75_channel12"]
BETWEEN = "class_0_to_class_1_0500"


@pytest.fixture(scope="module")
def plan():
    """Return a plan of ten classes, three channels and an interpolation of classes."""
    return plan_of_targets(10, 10)


@pytest.fixture(scope="module")
def gallery(plan, tmp_path_factory):
    """Return the folder of the plan's gallery."""
    return build_gallery(plan, tmp_path_factory.mktemp("many"))


@pytest.fixture
def page(browser, gallery):
    """Open the gallery at `FIRST`; after the test, check that it logged no errors."""
    browser.get_log("browser")
    open_page(browser, gallery, **FIRST)
    yield browser
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


def field(browser):
    """Return the search field."""
    return browser.find_element(By.ID, "search")


def names(browser) -> list[str]:
    """Return the names of the visible cells, in their order."""
    return [cell.text for cell in browser.find_elements(By.CSS_SELECTOR, ".cell") if cell.is_displayed()]


def found(browser) -> str:
    """Return the displayed number of cells."""
    return browser.find_element(By.ID, "found").text


def chosen(browser) -> str:
    """Return the name of the dream in the pane."""
    return browser.find_element(By.CSS_SELECTOR, "figcaption b").text


def corner(browser) -> tuple[int, int, int]:
    """Return the color of the first photograph next to the dream."""
    image = browser.find_element(By.CSS_SELECTOR, ".real img")
    with Image.open(io.BytesIO(image.screenshot_as_png)) as picture:
        return picture.convert("RGB").getpixel((picture.width // 4, picture.height // 4))


def test_cells_are_filtered_while_one_types_without_accents_and_case(page):
    everything = names(page)
    assert len(everything) == 14 and found(page) == ""
    assert page.find_element(By.ID, "classes-title").text == "Targets"
    field(page).send_keys("GORGE bruant A")
    assert (names(page), found(page)) == (
        ["Bruant à gorge blanche", "Bruant à gorge blanche to Class 1, 0.5"],
        "2 of 14",
    )
    field(page).send_keys(Keys.ESCAPE)
    assert (names(page), found(page), field(page).get_attribute("value")) == (everything, "", "")
    field(page).send_keys("channel 12")
    assert (names(page), found(page)) == (["75% channel 12", "75% channel 112"], "2 of 14"), "the whole word first"
    field(page).send_keys(" no such word")
    assert (names(page), found(page)) == ([], "0 of 14")
    field(page).clear()
    field(page).send_keys("layer75_channel0")
    assert names(page) == ["75% channel 0"], "labels are searched too"


def test_typing_in_the_field_changes_nothing_else(page, plan):
    shows(page, plan)
    field(page).send_keys("r", "c", ",", ".", " ", Keys.ARROW_LEFT, Keys.ARROW_UP)
    assert field(page).get_attribute("value") == "rc,. "
    shows(page, plan)
    assert len(page.find_elements(By.CSS_SELECTOR, ".pane")) == 1


def test_keys_go_through_the_shown_cells_only(page, plan):
    field(page).send_keys("channel 12", Keys.ENTER)
    until(page, lambda: chosen(page) == "75% channel 12")
    page.execute_script("document.activeElement.blur()")
    for key, name in (
        (".", "75% channel 112"),
        (".", "75% channel 112"),
        (",", "75% channel 12"),
        (",", "75% channel 12"),
    ):
        press(page, key)
        assert chosen(page) == name
    grid = page.find_element(By.ID, "grid")
    grid.send_keys(Keys.ARROW_RIGHT)
    assert chosen(page) == "75% channel 112"
    field(page).clear()
    field(page).send_keys("class")
    assert chosen(page) == "75% channel 112", "a search chooses nothing"
    grid.send_keys(Keys.ARROW_RIGHT)
    assert chosen(page) == names(page)[0]
    field(page).clear()
    field(page).send_keys("nothing")
    grid.send_keys(Keys.ARROW_RIGHT)
    assert chosen(page) == "Bruant à gorge blanche", "without cells, the dream stays"


def test_the_link_keeps_the_search(page, plan, gallery):
    field(page).send_keys("Channel")
    until(page, lambda: link_parameters(page).get("search") == "Channel")
    link = page.current_url
    page.get("about:blank")
    page.get(link)
    assert names(page) == ["75% channel 0", "75% channel 112", "75% channel 12"]
    assert (field(page).get_attribute("value"), found(page)) == ("Channel", "3 of 14")
    field(page).send_keys(Keys.ESCAPE)
    until(page, lambda: "search" not in link_parameters(page))


def test_the_photographs_are_those_of_the_target_at_the_run_and_epoch_of_the_pane(page, gallery):
    caption = page.find_element(By.CSS_SELECTOR, ".real .source")
    assert caption.text == "dataset image"
    rows = ((0, {"epoch": 0}), (2, {"epoch": 4}), (3 + 1, {"run": "second", "epoch": 0.25}))
    for number, changes in rows:
        open_page(page, gallery, **FIRST | {"label": CHANNELS[1]} | changes)
        expected = ImageColor.getrgb(COLORS[(1 + number) % len(COLORS)])
        until(page, lambda: corner(page) == expected, str(changes))  # noqa: B023
    image, caption = (page.find_element(By.CSS_SELECTOR, f".real {each}") for each in ("img", ".source"))
    assert caption.text == "photographs that excite it most"
    classes = ", ".join(["Photographs of <birds>"] * 4)
    assert (
        image.get_attribute("alt") == f"Photographs that excite 75% channel 112 most: run second, epoch 0.25; {classes}"
    )
    press(page, Keys.ARROW_LEFT)
    until(page, lambda: corner(page) == ImageColor.getrgb(COLORS[4]))
    open_page(page, gallery, **FIRST | {"label": BETWEEN})
    assert not page.find_element(By.CSS_SELECTOR, ".real img").is_displayed()
    assert not page.find_element(By.CSS_SELECTOR, ".real .source").is_displayed()
    press(page, *"," * 4)
    until(page, lambda: page.find_element(By.CSS_SELECTOR, ".real .source").text == "dataset image")
    assert corner(page) == ImageColor.getrgb("white")


@pytest.mark.parametrize(("theme", "width"), [("light", 390), ("dark", 1200)])
def test_the_search_is_readable_and_named(page, gallery, theme, width):
    page.execute_script("localStorage.removeItem('theme')")
    look(page, theme, width)
    open_page(page, gallery, **FIRST | {"label": CHANNELS[0]})
    field(page).send_keys("channel")
    assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert contrast(page, ".search label, .search input, .search output, .real p") >= 4.5
    assert field(page).accessible_name == "Search" and field(page).rect["height"] >= 24
    assert field(page).value_of_css_property("outline-style") == "solid", "the focus is visible"

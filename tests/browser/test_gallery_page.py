"""The gallery, opened from disk in a browser: sliders, keys, fingers, links, downloads, and many dreams."""

import json
import time
from types import SimpleNamespace

import pytest
import yaml
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from tests.helpers.galleries import BAD, GAPS, build_gallery, gallery_plan, number
from tests.helpers.gallery_pages import (
    FIRST,
    asked,
    colors,
    link_says,
    open_page,
    press,
    seen,
    sheets,
    shows,
    slide,
    until,
    wanted,
)


@pytest.fixture(scope="module")
def plan():
    """Return a plan of two runs, three epochs, two recipes of different steps, and two classes."""
    return gallery_plan()


@pytest.fixture(scope="module")
def gallery(plan, tmp_path_factory):
    """Return the folder of its gallery."""
    return build_gallery(plan, tmp_path_factory.mktemp("study"))


@pytest.fixture
def page(browser, gallery):
    """Return the browser with the gallery open at `FIRST`; in the end nothing was complained of or left the folder."""
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    open_page(browser, gallery, **FIRST)
    yield browser
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    assert [address for address in asked(browser) if not address.startswith((gallery.as_uri(), "blob:", "data:"))] == []
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_it_opens_on_the_surest_dreams_and_every_link_on_its_own(page, plan, gallery):
    shows(page, plan)
    open_page(page, gallery)
    best = json.loads(page.find_element(By.ID, "facts").get_attribute("textContent"))["best"]
    shows(page, plan, **best, step=plan.recipes[best["recipe"]]["steps"][-1], view="rescaled")
    for words in ({"epoch": 0.25, "step": 2}, {"run": "second", "recipe": "other", "step": 7, "label": "class_1"}):
        open_page(page, gallery, **FIRST | words)
        shows(page, plan, **words)


def test_sliders_morph_the_picture_in_place(page, plan):
    slide(page, "epoch", 1.5)
    mixed = [round((one + two) / 2) for one, two in zip(wanted(plan, epoch=0.25), wanted(plan), strict=True)]
    until(page, lambda: seen(page) == pytest.approx(mixed, abs=1.5))
    slide(page, "step", 0.5)
    mixed = [round((one + two) / 2) for one, two in zip(wanted(plan, step=1), wanted(plan, step=2), strict=True)]
    until(page, lambda: seen(page) == pytest.approx(mixed, abs=1.5))
    page.execute_script("document.getElementById('step').dispatchEvent(new Event('change'))")
    shows(page, plan, step=2)
    until(page, lambda: link_says(page)["step"] == "2")


def test_a_slider_is_dragged_with_the_mouse(page, plan):
    slider = page.find_element(By.ID, "epoch")
    ActionChains(page).drag_and_drop_by_offset(slider, -slider.size["width"] // 2 - 5, 0).perform()
    shows(page, plan, epoch=0)


def test_keys_do_all_that_the_mouse_does(page, plan):
    press(page, Keys.ARROW_LEFT)
    shows(page, plan, epoch=0.25)
    press(page, Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    shows(page, plan, epoch=0.25, step=2)
    press(page, ".", "r")
    shows(page, plan, epoch=0.25, step=2, label="class_1", view="rescaled")
    press(page, ",", "c")
    shows(page, plan, pane=1, epoch=0.25, step=3, recipe="other", view="rescaled")
    press(page, "c")
    until(page, lambda: len(page.find_elements(By.CSS_SELECTOR, ".pane")) == 1)


def test_the_link_restores_the_whole_view(page, plan, gallery):
    press(page, "c", ".", "r", Keys.ARROW_DOWN, Keys.ARROW_LEFT)
    Select(page.find_elements(By.CSS_SELECTOR, ".run select")[1]).select_by_value("second")
    second = {"run": "second", "recipe": "other", "label": "class_1", "epoch": 0.25, "step": 3, "view": "rescaled"}
    shows(page, plan, pane=1, **second)
    until(page, lambda: link_says(page).get("run2") == "second")
    link = page.current_url
    page.get("about:blank")
    page.get(link)
    shows(page, plan, label="class_1", epoch=0.25, step=2, view="rescaled")
    shows(page, plan, pane=1, **second)
    time.sleep(0.3)  # longer than the link waits
    assert page.current_url == link


def test_a_link_that_says_nonsense_opens_all_the_same(page, plan, gallery):
    open_page(page, gallery, run="nobody", recipe="plain", label="x", epoch="soon", step=4, view="upside-down")
    until(page, lambda: page.find_element(By.CSS_SELECTOR, "figcaption b").text == BAD)
    assert page.find_element(By.ID, "step-value").text == "5"


def test_the_grid_shows_and_chooses_classes(page, plan):
    cells = page.find_elements(By.CSS_SELECTOR, ".cell")
    assert [cell.text for cell in cells] == [BAD, "Bruant à gorge blanche"]
    for place, cell in enumerate(cells):
        page.execute_script("arguments[0].scrollIntoView({block: 'center'})", cell)
        expected = wanted(plan, label=f"class_{place}")
        until(page, lambda: colors(cell.find_element(By.TAG_NAME, "span")) == {expected})  # noqa: B023
    cells[1].click()
    shows(page, plan, label="class_1")
    assert [cell.get_attribute("aria-selected") for cell in cells] == ["false", "true"]
    page.find_element(By.ID, "grid").send_keys(Keys.ARROW_LEFT)
    shows(page, plan)


def test_curves_mark_where_the_sliders_are(page, plan):
    def marker(chart: str) -> float:
        return float(page.find_element(By.CSS_SELECTOR, f".{chart} .marker").get_attribute("d")[1:].split()[0])

    def dots(chart: str) -> list[float]:
        found = page.find_elements(By.CSS_SELECTOR, f".{chart} circle")
        return [float(dot.get_attribute("cx")) for dot in found]

    own = len(plan.epochs("first"))
    assert marker("epochs") == dots("epochs")[own - 1]
    slide(page, "epoch", 0.5)
    assert marker("epochs") == pytest.approx(sum(dots("epochs")[:2]) / 2)
    rows = page.find_elements(By.CSS_SELECTOR, "tbody tr")
    said = dict(row.text.rsplit(" ", 1) for row in rows)
    shown = SimpleNamespace(**FIRST | {"epoch": 0.25})
    assert float(said["judge's probability"]) == pytest.approx(number(plan, shown, "raw"), rel=1e-3)


def test_play_runs_through_the_epochs_and_stops_at_the_last(page, plan):
    button = page.find_element(By.ID, "play")
    button.click()
    until(page, lambda: page.find_element(By.ID, "epoch-value").text == "0.25")
    assert button.text == "Stop"
    until(page, lambda: button.text == "Play")
    shows(page, plan)


def test_who_wants_no_motion_sees_none(page, plan, gallery):
    calm = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": calm})
    open_page(page, gallery, **FIRST)
    slide(page, "epoch", 1.4)
    assert page.find_element(By.CSS_SELECTOR, ".over").value_of_css_property("opacity") == "0"
    shows(page, plan, epoch=0.25)


def test_a_finger_slides_through_the_epochs(page, plan):
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    frame = page.find_element(By.CSS_SELECTOR, ".frame").rect
    y, x, far = frame["y"] + 60, frame["x"] + frame["width"] - 10, frame["width"] // 2
    for kind, at in (("touchStart", x), ("touchMove", x - far // 2), ("touchMove", x - far), ("touchEnd", None)):
        points = [] if at is None else [{"x": at, "y": y}]
        page.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    shows(page, plan, epoch=0.25)
    assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")


def test_provenance_shows_where_the_mouse_rests_and_where_the_focus_is(page):
    note, figure = page.find_element(By.CSS_SELECTOR, ".provenance"), page.find_element(By.TAG_NAME, "figure")
    assert note.value_of_css_property("opacity") == "0"
    ActionChains(page).move_to_element(figure).perform()
    until(page, lambda: note.value_of_css_property("opacity") == "1")
    for word in ("first", "test_resnet", "epoch 4", "plain", "step 5", "seed 0", "raw", "1" * 16):
        assert word in note.text
    ActionChains(page).move_to_element(page.find_element(By.TAG_NAME, "h1")).perform()
    until(page, lambda: note.value_of_css_property("opacity") == "0")
    page.execute_script("arguments[0].focus()", figure)
    until(page, lambda: note.value_of_css_property("opacity") == "1")


def test_the_picture_and_its_recipe_are_downloaded(page, plan, gallery, tmp_path):
    place = {"behavior": "allow", "downloadPath": str(tmp_path)}
    page.execute_cdp_cmd("Browser.setDownloadBehavior", place)
    page.find_element(By.CSS_SELECTOR, "a.download").click()
    page.find_element(By.CSS_SELECTOR, "a.yaml").click()
    picture = tmp_path / "first_epoch-0004_plain_class_0_step-0005.png"
    until(page, lambda: {path.name for path in tmp_path.iterdir()} == {picture.name, "plain.yaml"})
    own = gallery.parent / "dreams" / "first" / "epoch-0004" / "plain" / "class_0" / "step-0005.png"
    assert picture.read_bytes() == own.read_bytes()
    config = yaml.safe_load((tmp_path / "plain.yaml").read_text())
    assert config["dreams"]["recipes"]["plain"] == plan.recipes["plain"]
    assert "index.html" in page.current_url
    assert len(page.window_handles) == 1


def test_it_is_light_or_dark_as_the_reader_prefers_or_chooses(page, gallery):
    def shade() -> int:
        return page.execute_script("return +getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]")

    page.execute_script("localStorage.removeItem('theme')")
    for theme in ("light", "dark"):
        preferred = [{"name": "prefers-color-scheme", "value": theme}]
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": preferred})
        open_page(page, gallery, **FIRST)
        assert (shade() < 80) == (theme == "dark")
    page.find_element(By.ID, "theme").click()
    assert shade() > 200
    page.execute_script("localStorage.removeItem('theme')")


def test_all_that_can_be_used_has_a_name_and_pictures_say_what_they_are(page):
    press(page, "c")
    for element in page.find_elements(By.CSS_SELECTOR, "button, select, input, a, [role=listbox], [role=option]"):
        assert element.accessible_name, element.get_attribute("outerHTML")
    dream, real = (page.find_element(By.CSS_SELECTOR, place) for place in (".under", ".real img"))
    assert dream.get_attribute("alt") == f"Dream of {BAD}: run first, recipe plain, epoch 4 · step 5, raw view"
    assert BAD in real.get_attribute("alt")
    assert page.find_element(By.ID, "epoch").get_attribute("aria-valuetext") == "epoch 4"
    assert page.execute_script("return window.harmed") is None


def test_every_use_shows_its_focus(page):
    reached = set()
    for _ in range(15):
        press(page, Keys.TAB)
        focus = page.switch_to.active_element
        if focus.tag_name != "body":
            reached.add(focus.get_attribute("id") or focus.get_attribute("class") or focus.tag_name)
            assert focus.value_of_css_property("outline-style") == "solid", focus.get_attribute("outerHTML")
    assert {"grid", "epoch", "step", "play", "compare", "download", "yaml"} <= reached


def test_one_run_recipe_epoch_and_step_leave_nothing_to_choose(browser, tmp_path):
    plan = gallery_plan(epochs=[1], runs=["only"], recipes={"r": {"steps": [1]}})
    open_page(browser, build_gallery(plan, tmp_path, judged=False))
    until(browser, lambda: browser.find_element(By.CSS_SELECTOR, "figcaption b").text == BAD)
    for name in ("#epoch-box", "#step-box", "#compare", ".run", ".recipe"):
        assert not browser.find_element(By.CSS_SELECTOR, name).is_displayed()
    assert "judge" not in browser.find_element(By.CSS_SELECTOR, ".pane").text
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.fixture(scope="module")
def gaps(tmp_path_factory):
    """Return a plan whose runs do not dream every recipe at every epoch, and the folder of its gallery."""
    plan = gallery_plan(recipes=GAPS)
    return plan, build_gallery(plan, tmp_path_factory.mktemp("gaps"))


def menu(browser, kind: str, pane: int = 0) -> Select:
    """Return the menu of runs or recipes of a pane."""
    return Select(browser.find_elements(By.CSS_SELECTOR, f".{kind} select")[pane])


def choose(browser, kind: str, name: str, pane: int = 0) -> None:
    """Choose a run or a recipe in the menu of a pane, and leave the menu."""
    menu(browser, kind, pane).select_by_value(name)
    browser.execute_script("document.activeElement.blur()")


def complaints(browser) -> list:
    """Return what the browser has complained of since the last time."""
    return [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def test_a_run_offers_the_recipes_and_epochs_that_it_dreams(browser, gaps):
    plan, gallery = gaps
    complaints(browser)
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
    assert menu(browser, "recipe").first_selected_option.text == "plain", "the second run does not dream the other"
    choose(browser, "recipe", "rare")
    shows(browser, plan, run="second", recipe="rare", epoch=0, step=3)
    assert browser.find_element(By.ID, "epoch").get_attribute("max") == "1"
    numbers = [text.text for text in browser.find_elements(By.CSS_SELECTOR, ".chart.epochs text")]
    assert "4" in numbers and "0.25" not in numbers
    press(browser, Keys.ARROW_RIGHT)
    rare = {"run": "second", "recipe": "rare", "epoch": 4, "step": 3}
    shows(browser, plan, **rare)
    until(browser, lambda: link_says(browser) == {key: str(value) for key, value in (FIRST | rare).items()})
    shown = number(plan, SimpleNamespace(**FIRST | rare), "raw")
    assert f"{shown:.4g}" in browser.find_element(By.CSS_SELECTOR, "tbody").text
    words = browser.find_element(By.CSS_SELECTOR, "a.download").get_attribute("download")
    assert words == "second_epoch-0004_rare_class_0_step-0003.png" and complaints(browser) == []


def test_a_link_to_dreams_that_are_not_there_opens_what_is_nearest(browser, gaps):
    plan, gallery = gaps
    open_page(browser, gallery, **FIRST | {"recipe": "rare"})
    shows(browser, plan)
    words = {key: value for key, value in FIRST.items() if key != "run"} | {"recipe": "rare", "epoch": 0.25, "step": 7}
    open_page(browser, gallery, **words)
    shows(browser, plan, **words | {"run": "second", "epoch": 0})
    open_page(browser, gallery, **FIRST | {"run2": "first", "recipe2": "rare"})
    shows(browser, plan, pane=1)
    assert complaints(browser) == []


def test_side_by_side_goes_to_the_nearest_epoch_that_is_there(browser, gaps):
    plan, gallery = gaps
    open_page(browser, gallery, **FIRST | {"run": "second", "epoch": 0.25})
    press(browser, "c")
    shows(browser, plan, run="second", epoch=0.25)
    shows(browser, plan, pane=1, run="second", recipe="rare", epoch=0, step=3)
    press(browser, Keys.ARROW_RIGHT)
    shows(browser, plan, pane=1, run="second", recipe="rare", epoch=4, step=3)
    choose(browser, "run", "first", pane=1)
    shows(browser, plan, pane=1)
    until(browser, lambda: link_says(browser).get("recipe2") == "plain")
    press(browser, "c", "c")
    shows(browser, plan, pane=1, run="second", recipe="rare", step=3)
    assert complaints(browser) == []


def test_two_runs_of_a_recipe_each_are_compared(browser, tmp_path):
    recipes = {"one": {"steps": [1], "runs": ["first"]}, "two": {"steps": [3], "runs": ["second"]}}
    plan = gallery_plan(epochs=[0, 4], recipes=recipes)
    open_page(browser, build_gallery(plan, tmp_path), **FIRST | {"recipe": "one"})
    shows(browser, plan, recipe="one", step=1)
    browser.find_element(By.ID, "compare").click()
    shows(browser, plan, pane=1, run="second", recipe="two", step=3)
    assert complaints(browser) == []


@pytest.mark.parametrize("epochs", [2, pytest.param(10, marks=pytest.mark.exhaustive)])
def test_of_thousands_of_dreams_only_those_that_show_are_loaded(browser, tmp_path, epochs):
    recipes = {f"r{place}": {"steps": [1, 2], "seed": place} for place in range(5)}
    plan = gallery_plan(range(epochs), ["only"], recipes, names=[f"class {place}" for place in range(100)])
    began = time.monotonic()
    gallery = build_gallery(plan, tmp_path)
    built = time.monotonic() - began
    browser.get_log("performance")
    began = time.monotonic()
    open_page(browser, gallery, run="only", recipe="r3", label="class_7", epoch=epochs - 1, step=2, view="raw")
    shows(browser, plan, run="only", recipe="r3", label="class_7", epoch=epochs - 1, step=2)
    print(f"{len(plan.dreams)} dreams: written in {built:.1f} s, shown in {time.monotonic() - began:.1f} s")
    loaded, last = sheets(browser), f"only/epoch-{epochs - 1:04d}/r3"
    assert loaded <= {f"{last}/0.png"}
    browser.execute_script("scrollTo(0, document.body.scrollHeight)")
    until(browser, lambda: loaded.update(sheets(browser)) or f"{last}/1.png" in loaded)
    assert loaded <= {f"{last}/0.png", f"{last}/1.png"}
    assert (gallery / "index.html").stat().st_size < 3e6

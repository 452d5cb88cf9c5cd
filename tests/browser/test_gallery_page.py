"""The gallery in a browser, opened from disk: sliders, keys, touch, links, downloads, and many dreams."""

import json
import time
from types import SimpleNamespace

import pytest
import yaml
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from dreambirds.dream_job.archive import Picture, read_picture
from tests.helpers.galleries import BAD, build_gallery, gallery_plan, number
from tests.helpers.gallery_pages import (
    FIRST,
    colors,
    displayed_color,
    expected_color,
    link_parameters,
    open_page,
    press,
    requested_urls,
    sheets,
    shows,
    slide,
    until,
)


@pytest.fixture(scope="module")
def plan():
    """Return a plan with two runs, three epochs, two recipes with different steps, and two classes."""
    return gallery_plan()


@pytest.fixture(scope="module")
def gallery(plan, tmp_path_factory):
    """Return the folder of the plan's gallery."""
    return build_gallery(plan, tmp_path_factory.mktemp("study"))


@pytest.fixture
def page(browser, gallery):
    """Open the gallery at `FIRST`; after the test, check that it logged no errors and requested nothing outside."""
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    open_page(browser, gallery, **FIRST)
    yield browser
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    inside = (gallery.as_uri(), "blob:", "data:")
    assert [url for url in requested_urls(browser) if not url.startswith(inside)] == []
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_it_opens_at_the_best_recognized_dreams_or_at_the_link(page, plan, gallery):
    shows(page, plan)
    open_page(page, gallery)
    best = json.loads(page.find_element(By.ID, "facts").get_attribute("textContent"))["best"]
    shows(page, plan, **best, step=plan.recipes[best["recipe"]]["steps"][-1], view="rescaled")
    for changes in ({"epoch": 0.25, "step": 2}, {"run": "second", "recipe": "other", "step": 7, "label": "class_1"}):
        open_page(page, gallery, **FIRST | changes)
        shows(page, plan, **changes)


def test_sliders_blend_neighboring_dreams(page, plan):
    slide(page, "epoch", 1.5)
    mixed = [
        round((one + two) / 2) for one, two in zip(expected_color(plan, epoch=0.25), expected_color(plan), strict=True)
    ]
    until(page, lambda: displayed_color(page) == pytest.approx(mixed, abs=1.5))
    slide(page, "step", 0.5)
    mixed = [
        round((one + two) / 2)
        for one, two in zip(expected_color(plan, step=1), expected_color(plan, step=2), strict=True)
    ]
    until(page, lambda: displayed_color(page) == pytest.approx(mixed, abs=1.5))
    page.execute_script("document.getElementById('step').dispatchEvent(new Event('change'))")
    shows(page, plan, step=2)
    until(page, lambda: link_parameters(page)["step"] == "2")


def test_a_slider_is_dragged_with_the_mouse(page, plan):
    slider = page.find_element(By.ID, "epoch")
    ActionChains(page).drag_and_drop_by_offset(slider, -slider.size["width"] // 2 - 5, 0).perform()
    shows(page, plan, epoch=0)


def test_keys_do_everything_that_the_mouse_does(page, plan):
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


def test_the_link_restores_the_complete_view(page, plan, gallery):
    press(page, "c", ".", "r", Keys.ARROW_DOWN, Keys.ARROW_LEFT)
    Select(page.find_elements(By.CSS_SELECTOR, ".run select")[1]).select_by_value("second")
    second = {"run": "second", "recipe": "other", "label": "class_1", "epoch": 0.25, "step": 3, "view": "rescaled"}
    shows(page, plan, pane=1, **second)
    until(page, lambda: link_parameters(page).get("run2") == "second")
    link = page.current_url
    page.get("about:blank")
    page.get(link)
    shows(page, plan, label="class_1", epoch=0.25, step=2, view="rescaled")
    shows(page, plan, pane=1, **second)
    time.sleep(0.3)  # longer than the delay of the link's update
    assert page.current_url == link


def test_a_link_with_invalid_parameters_opens_the_gallery(page, plan, gallery):
    open_page(page, gallery, run="nobody", recipe="plain", label="x", epoch="soon", step=4, view="upside-down")
    until(page, lambda: page.find_element(By.CSS_SELECTOR, "figcaption b").text == BAD)
    assert page.find_element(By.ID, "step-value").text == "5"


def test_the_grid_shows_and_chooses_classes(page, plan):
    cells = page.find_elements(By.CSS_SELECTOR, ".cell")
    assert [cell.text for cell in cells] == [BAD, "Bruant à gorge blanche"]
    for index, cell in enumerate(cells):
        page.execute_script("arguments[0].scrollIntoView({block: 'center'})", cell)
        expected = expected_color(plan, label=f"class_{index}")
        until(page, lambda: colors(cell.find_element(By.TAG_NAME, "span")) == {expected})  # noqa: B023
    cells[1].click()
    shows(page, plan, label="class_1")
    assert [cell.get_attribute("aria-selected") for cell in cells] == ["false", "true"]
    page.find_element(By.ID, "grid").send_keys(Keys.ARROW_LEFT)
    shows(page, plan)


def test_curves_mark_the_positions_of_the_sliders(page, plan):
    def marker(chart: str) -> float:
        return float(page.find_element(By.CSS_SELECTOR, f".{chart} .marker").get_attribute("d")[1:].split()[0])

    def dots(chart: str) -> list[float]:
        found = page.find_elements(By.CSS_SELECTOR, f".{chart} circle")
        return [float(dot.get_attribute("cx")) for dot in found]

    count = len(plan.epochs("first"))
    assert marker("epochs") == dots("epochs")[count - 1]
    slide(page, "epoch", 0.5)
    assert marker("epochs") == pytest.approx(sum(dots("epochs")[:2]) / 2)
    rows = page.find_elements(By.CSS_SELECTOR, "tbody tr")
    table = dict(row.text.rsplit(" ", 1) for row in rows)
    dream = SimpleNamespace(**FIRST | {"epoch": 0.25})
    assert float(table["judge's probability"]) == pytest.approx(number(plan, dream, "raw"), rel=1e-3)


def test_play_runs_through_the_epochs_and_stops_at_the_last(page, plan):
    button = page.find_element(By.ID, "play")
    button.click()
    until(page, lambda: page.find_element(By.ID, "epoch-value").text == "0.25")
    assert button.text == "Stop"
    until(page, lambda: button.text == "Play")
    shows(page, plan)


def test_with_reduced_motion_dreams_are_not_blended(page, plan, gallery):
    reduced_motion = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": reduced_motion})
    open_page(page, gallery, **FIRST)
    slide(page, "epoch", 1.4)
    assert page.find_element(By.CSS_SELECTOR, ".over").value_of_css_property("opacity") == "0"
    shows(page, plan, epoch=0.25)


def test_a_swipe_moves_through_the_epochs(page, plan):
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    frame = page.find_element(By.CSS_SELECTOR, ".frame").rect
    y, start, length = frame["y"] + 60, frame["x"] + frame["width"] - 10, frame["width"] // 2
    moves = (("touchStart", start), ("touchMove", start - length // 2), ("touchMove", start - length))
    for event, x in (*moves, ("touchEnd", None)):
        points = [] if x is None else [{"x": x, "y": y}]
        page.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": event, "touchPoints": points})
    shows(page, plan, epoch=0.25)
    assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")


def test_provenance_is_visible_on_hover_and_on_focus(page):
    note, figure = page.find_element(By.CSS_SELECTOR, ".provenance"), page.find_element(By.TAG_NAME, "figure")
    assert note.value_of_css_property("opacity") == "0"
    ActionChains(page).move_to_element(figure).perform()
    until(page, lambda: note.value_of_css_property("opacity") == "1")
    for text in ("run first", "test_resnet", "epoch 4", "recipe plain", "step 5", "seed 0", "raw view", "1" * 16):
        assert text in note.text
    ActionChains(page).move_to_element(page.find_element(By.TAG_NAME, "h1")).perform()
    until(page, lambda: note.value_of_css_property("opacity") == "0")
    page.execute_script("arguments[0].focus()", figure)
    until(page, lambda: note.value_of_css_property("opacity") == "1")


def test_the_dream_and_its_recipe_are_downloaded(page, plan, gallery, tmp_path):
    page.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    page.find_element(By.CSS_SELECTOR, "a.download").click()
    page.find_element(By.CSS_SELECTOR, "a.yaml").click()
    image = tmp_path / "first_epoch-0004_plain_class_0_step-0005.png"
    until(page, lambda: {path.name for path in tmp_path.iterdir()} == {image.name, "plain.yaml"})
    archive = gallery.parent / "dreams" / "first" / "epoch-0004" / "plain" / "dreams.zip"
    assert image.read_bytes() == read_picture(Picture(archive, "class_0/step-0005.png"))
    config = yaml.safe_load((tmp_path / "plain.yaml").read_text())
    assert config["dreams"]["recipes"]["plain"] == plan.recipes["plain"]
    assert "index.html" in page.current_url
    assert len(page.window_handles) == 1


def test_the_theme_is_the_preferred_or_the_selected_one(page, gallery):
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


def test_controls_have_accessible_names_and_images_alternative_texts(page):
    press(page, "c")
    for element in page.find_elements(By.CSS_SELECTOR, "button, select, input, a, [role=listbox], [role=option]"):
        assert element.accessible_name, element.get_attribute("outerHTML")
    dream, real = (page.find_element(By.CSS_SELECTOR, selector) for selector in (".under", ".real img"))
    assert dream.get_attribute("alt") == f"Dream of {BAD}: run first, recipe plain, epoch 4 · step 5, raw view"
    assert BAD in real.get_attribute("alt")
    assert page.find_element(By.ID, "epoch").get_attribute("aria-valuetext") == "epoch 4"
    assert page.execute_script("return window.harmed") is None


def test_every_control_shows_its_focus(page):
    reached = set()
    for _ in range(15):
        press(page, Keys.TAB)
        focus = page.switch_to.active_element
        if focus.tag_name != "body":
            reached.add(focus.get_attribute("id") or focus.get_attribute("class") or focus.tag_name)
            assert focus.value_of_css_property("outline-style") == "solid", focus.get_attribute("outerHTML")
    assert {"grid", "epoch", "step", "play", "compare", "download", "yaml"} <= reached


def test_controls_with_a_single_choice_are_hidden(browser, tmp_path):
    plan = gallery_plan(epochs=[1], runs=["only"], recipes={"r": {"steps": [1]}})
    open_page(browser, build_gallery(plan, tmp_path, judged=False))
    until(browser, lambda: browser.find_element(By.CSS_SELECTOR, "figcaption b").text == BAD)
    for name in ("#epoch-box", "#step-box", "#compare", ".run", ".recipe"):
        assert not browser.find_element(By.CSS_SELECTOR, name).is_displayed()
    assert "judge" not in browser.find_element(By.CSS_SELECTOR, ".pane").text
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.parametrize("epochs", [2, pytest.param(10, marks=pytest.mark.exhaustive)])
def test_only_the_visible_ones_of_thousands_of_dreams_are_loaded(browser, tmp_path, epochs):
    recipes = {f"r{number}": {"steps": [1, 2], "seed": number} for number in range(5)}
    plan = gallery_plan(range(epochs), ["only"], recipes, names=[f"class {number}" for number in range(100)])
    start = time.monotonic()
    gallery = build_gallery(plan, tmp_path)
    built = time.monotonic() - start
    browser.get_log("performance")
    start = time.monotonic()
    open_page(browser, gallery, run="only", recipe="r3", label="class_7", epoch=epochs - 1, step=2, view="raw")
    shows(browser, plan, run="only", recipe="r3", label="class_7", epoch=epochs - 1, step=2)
    print(f"{len(plan.dreams)} dreams: written in {built:.1f} s, displayed in {time.monotonic() - start:.1f} s")
    loaded, last = sheets(browser), f"only/epoch-{epochs - 1:04d}/r3"
    assert loaded <= {f"{last}/0.png"}
    browser.execute_script("scrollTo(0, document.body.scrollHeight)")
    until(browser, lambda: loaded.update(sheets(browser)) or f"{last}/1.png" in loaded)
    assert loaded <= {f"{last}/0.png", f"{last}/1.png"}
    assert (gallery / "index.html").stat().st_size < 3e6

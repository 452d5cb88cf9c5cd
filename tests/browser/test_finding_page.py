"""The page of an experiment, opened in a browser: light and dark, wide and narrow, with hostile names."""

import json

import pytest
from findings import QUESTION, asking_plan, build_finding
from selenium.webdriver.common.by import By


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Return the page."""
    return build_finding(asking_plan(), tmp_path_factory.mktemp("study")) / "index.html"


@pytest.fixture(autouse=True)
def plain_browser(browser):
    """Undo what a test has set, and forget what other pages asked for."""
    browser.get_log("performance")
    yield
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1300])
def test_the_page_is_readable_in_any_light_and_width(browser, page, width, theme):
    preferred = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": preferred})
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.as_uri())
    shade = browser.execute_script("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (max(shade) < 80) == (theme == "dark")
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth"), "only tables scroll"
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_it_shows_its_pictures_asks_for_nothing_else_and_names_do_no_harm(browser, page):
    browser.get(page.as_uri())
    browser.execute_script("document.querySelectorAll('img').forEach(img => img.loading = 'eager')")
    widths = browser.execute_async_script(
        "const done = arguments[0], all = [...document.images];"
        "Promise.all(all.map(img => img.decode())).then(() => done(all.map(img => img.naturalWidth)))"
    )
    assert len(widths) == 6 and min(widths) >= 8
    assert browser.find_element(By.TAG_NAME, "h1").text == QUESTION
    assert browser.execute_script("return window.harmed") is None
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
    assert {url for url in asked if not url.startswith("data:")} == {page.as_uri()}

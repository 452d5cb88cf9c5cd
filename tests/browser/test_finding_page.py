"""The page of an experiment, opened in a browser: light and dark, wide and narrow, with hostile names."""

import pytest
from selenium.webdriver.common.by import By

from tests.helpers.browsing import check_readable, picture_widths
from tests.helpers.findings import QUESTION, asking_plan, build_finding
from tests.helpers.gallery_pages import asked


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Return the page."""
    return build_finding(asking_plan(), tmp_path_factory.mktemp("study")) / "index.html"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1300])
def test_the_page_is_readable_in_any_light_and_width(browser, page, width, theme):
    check_readable(browser, page.as_uri(), theme, width)


def test_it_shows_its_pictures_asks_for_nothing_else_and_names_do_no_harm(browser, page):
    browser.get_log("performance")  # what other pages asked for
    browser.get(page.as_uri())
    widths = picture_widths(browser)
    assert len(widths) == 6 and min(widths) >= 8
    assert browser.find_element(By.TAG_NAME, "h1").text == QUESTION
    assert browser.execute_script("return window.harmed") is None
    assert {url for url in asked(browser) if not url.startswith("data:")} == {page.as_uri()}

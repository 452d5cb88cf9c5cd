"""The finding page in a browser: light and dark theme, wide and narrow window, hostile names."""

import pytest
from selenium.webdriver.common.by import By

from tests.helpers.browsing import check_readable, image_widths
from tests.helpers.findings import TEXT, build_finding, question_plan
from tests.helpers.gallery_pages import requested_urls


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Return the path of the page."""
    return build_finding(question_plan(), tmp_path_factory.mktemp("study")) / "index.html"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1300])
def test_the_page_is_readable_in_both_themes_and_widths(browser, page, width, theme):
    check_readable(browser, page.as_uri(), theme, width)


def test_it_shows_its_images_requests_nothing_else_and_escapes_names(browser, page):
    browser.get_log("performance")  # discard the requests of other pages
    browser.get(page.as_uri())
    widths = image_widths(browser)
    assert len(widths) == 2 and min(widths) >= 8
    assert browser.find_element(By.TAG_NAME, "h1").text == TEXT
    assert browser.execute_script("return window.harmed") is None
    assert {url for url in requested_urls(browser) if not url.startswith("data:")} == {page.as_uri()}

"""Snakemake's report in a browser: its categories, labels, images and captions."""

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.helpers.reports import report_page


@pytest.fixture
def report(browser, reported_study):
    """Return the browser with the report open."""
    browser.get(report_page(reported_study).as_uri())
    return browser


def entries(browser, text: str) -> list:
    """Return the links and buttons with exactly this text."""
    return browser.find_elements(By.XPATH, f"//a[normalize-space()='{text}'] | //button[normalize-space()='{text}']")


def click(browser, text: str) -> None:
    """Wait for a link or button with this text, and click it."""
    WebDriverWait(browser, 10).until(lambda _: entries(browser, text))[0].click()


def headers(browser) -> list[str]:
    """Return the column headers of the displayed results, in lower case."""
    found = WebDriverWait(browser, 10).until(lambda _: browser.find_elements(By.CSS_SELECTOR, "table th"))
    return [header.text.lower() for header in found if header.text]


def test_the_report_has_its_categories_and_the_name_of_the_study(report):
    WebDriverWait(report, 10).until(lambda _: entries(report, "dreams"))
    for category in ("training", "dreams", "montages", "films", "findings"):
        assert len(entries(report, category)) == 1
    assert "tiny" in report.find_element(By.TAG_NAME, "body").text
    assert [entry for entry in report.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_a_dream_is_found_by_its_labels_and_shown_with_its_caption(report):
    click(report, "dreams")
    click(report, "scratch, epoch 0001")
    assert headers(report)[:4] == ["run", "epoch", "recipe", "label"]
    row = report.find_element(By.XPATH, "//tr[td[normalize-space()='blue_jay']]")
    row.find_elements(By.CSS_SELECTOR, "a, button")[0].click()
    image = WebDriverWait(report, 10).until(
        lambda _: [
            element
            for element in report.find_elements(By.TAG_NAME, "img")
            if element.is_displayed() and "step-0003-rescaled.png" in (element.get_attribute("src") or "")
        ]
    )[0]
    WebDriverWait(report, 10).until(lambda _: image.get_property("naturalWidth") == 32)
    assert [entry for entry in report.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_montages_are_labeled_by_run_and_recipe(report):
    click(report, "montages")
    click(report, "class by epoch")
    assert {"run", "recipe", "step"} <= set(headers(report))

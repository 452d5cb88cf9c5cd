"""The quiz in a browser, opened from disk: mouse, keys, own words, a reload, and the saved answers."""

import csv

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from dreambirds.data.answers import COLUMNS, read_answers
from dreambirds.gallery.quiz import Selection, write_quiz
from tests.helpers.browsing import TEXT, check_readable, contrast, image_widths
from tests.helpers.galleries import BAD, SIZE, gallery_plan
from tests.helpers.gallery_pages import press, requested_urls, until
from tests.helpers.quizzes import write_study

NAMES = [BAD, "Zaunkönig 🐦", *(f'Class, "{number}"' for number in range(9))]
TEXTS = f"{TEXT}, button:not(:disabled), label, legend, input, kbd"


@pytest.fixture(scope="module")
def quiz(tmp_path_factory):
    """Return the quiz on a study of eleven classes, with six images, one of them of the data set."""
    folder = write_study(gallery_plan([4], ["first"], names=NAMES), tmp_path_factory.mktemp("study"))
    assert write_quiz(folder, folder / "quiz.html", Selection(), count=5) == (5, 1)
    return folder / "quiz.html"


@pytest.fixture
def page(browser, quiz):
    """Open the quiz without answers; after the test, check that it logged no errors and requested nothing outside."""
    browser.get(quiz.as_uri())
    browser.execute_script("localStorage.clear()")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(quiz.as_uri())
    yield browser
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    assert [url for url in requested_urls(browser) if not url.startswith((quiz.as_uri(), "blob:", "data:"))] == []
    assert browser.execute_script("return window.harmed") is None


def element(page, name: str):
    """Return the element with an id."""
    return page.find_element(By.ID, name)


def at(page, number: int) -> None:
    """Wait until the page shows the image with this number of six."""
    until(page, lambda: element(page, "progress").text == f"Image {number} of 6", f"image {number}")


def choices(page) -> list:
    """Return the buttons of the classes."""
    return page.find_elements(By.CSS_SELECTOR, "#choices button")


def pressed(page) -> list[str]:
    """Return the texts of the pressed buttons."""
    return [button.text for button in page.find_elements(By.CSS_SELECTOR, "[aria-pressed=true]")]


def saved(page, folder) -> list[dict[str, str]]:
    """Save the answers, and return the rows of the file."""
    page.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    element(page, "save").click()
    until(page, lambda: (folder / "answers.csv").exists())
    with (folder / "answers.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_mouse_keys_and_own_words_answer_and_a_reload_loses_nothing(page, tmp_path):
    digests = page.execute_script("return facts.images.map((image) => image.sha256)")
    at(page, 1)
    assert image_widths(page) == [SIZE]
    assert [button.text for button in choices(page)] == sorted(NAMES)
    choices(page)[-1].click()
    at(page, 2)
    press(page, "3")
    at(page, 3)
    element(page, "text").send_keys('a "wren", 9é', Keys.ENTER)
    at(page, 4)
    element(page, "person").send_keys("Ann")
    page.refresh()
    at(page, 4)
    assert element(page, "person").get_attribute("value") == "Ann"
    press(page, "0", Keys.ARROW_LEFT)
    at(page, 4)
    assert pressed(page) == ["I cannot tell"]
    element(page, "back").click()
    at(page, 3)
    assert element(page, "text").get_attribute("value") == 'a "wren", 9é'
    press(page, Keys.ARROW_LEFT)
    at(page, 2)
    assert pressed(page) == [sorted(NAMES)[2]]
    press(page, "1")
    rows = saved(page, tmp_path)
    assert list(rows[0]) == COLUMNS and [row["picture_sha256"] for row in rows] == digests[:4]
    labels = {name: f"class_{number}" for number, name in enumerate(NAMES)}
    expected = [labels[sorted(NAMES)[-1]], labels[sorted(NAMES)[0]], 'a "wren", 9é', ""]
    assert [row["answer"] for row in rows] == expected
    assert [row["kind"] for row in rows] == ["choice", "choice", "free", "none"]
    assert [row["shown"] for row in rows] == ["1", "2", "3", "4"] and {row["person"] for row in rows} == {"Ann"}
    assert all(0 <= float(row["seconds"]) < 60 for row in rows) and len({row["quiz"] for row in rows}) == 1
    assert [each.answer for each in read_answers([tmp_path / "answers.csv"])] == expected


def test_the_end_thanks_and_answers_can_be_deleted(page, tmp_path):
    press(page, *"112233", Keys.ARROW_RIGHT, "1")
    until(page, lambda: element(page, "progress").text == "All 6 images are answered.")
    assert not element(page, "question").is_displayed() and "Thank you" in element(page, "end").text
    rows = saved(page, tmp_path)
    assert len(rows) == 6 and {row["person"] for row in rows} == {rows[0]["person"]}
    assert rows[0]["person"].startswith("anonymous-")
    element(page, "review").click()
    at(page, 6)
    press(page, "1")
    element(page, "restart").click()
    page.switch_to.alert.accept()
    at(page, 1)
    assert not element(page, "back").is_enabled() and not element(page, "forward").is_enabled() and not pressed(page)


@pytest.mark.parametrize("choice", ["classes", "free"])
def test_a_quiz_may_have_only_classes_or_only_own_words(browser, quiz, tmp_path, choice):
    write_quiz(quiz.parent, tmp_path / "quiz.html", Selection(), 2, 0, choices=choice)
    browser.get((tmp_path / "quiz.html").as_uri())
    assert element(browser, "classes").is_displayed() == (choice == "classes")
    assert element(browser, "free").is_displayed() == (choice == "free")
    press(browser, "1")
    assert element(browser, "progress").text == f"Image {2 if choice == 'classes' else 1} of 2"
    browser.execute_script("localStorage.clear()")


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)])
def test_it_is_readable_in_both_themes_and_on_a_phone(page, quiz, theme, width):
    check_readable(page, quiz.as_uri(), theme, width)
    assert contrast(page, TEXTS) >= 4.5
    for control in page.find_elements(By.CSS_SELECTOR, "button, input, img"):
        assert not control.is_displayed() or control.accessible_name, control.get_attribute("outerHTML")

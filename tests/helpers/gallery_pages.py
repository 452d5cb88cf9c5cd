"""A gallery in a browser: opening it at a link, its displayed images, and its requests."""

import io
import json
import time
from types import SimpleNamespace

from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.helpers.galleries import color

FIRST = {"run": "first", "recipe": "plain", "label": "class_0", "epoch": 4, "step": 5, "view": "raw"}


def open_page(browser, gallery, **parameters) -> None:
    """Reopen a gallery, at a link with these parameters."""
    browser.get("about:blank")
    link = "&".join(f"{key}={value}" for key, value in parameters.items())
    browser.get(f"{(gallery / 'index.html').as_uri()}#{link}")


def requested_urls(browser) -> list[str]:
    """Return the URLs that the browser has requested since the last call."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [message["params"]["request"]["url"] for message in messages if message["method"].endswith("WillBeSent")]
    return [address for address in sent if address != "about:blank"]


def displayed_color(browser, pane: int = 0) -> tuple[int, int, int]:
    """Return the color of a pane's dream, from a screenshot."""
    frame = browser.find_elements(By.CSS_SELECTOR, ".frame")[pane]
    with Image.open(io.BytesIO(frame.screenshot_as_png)) as image:
        return image.convert("RGB").getpixel((image.width // 2, image.height // 4))


def expected_color(plan, **changes) -> tuple[int, int, int]:
    """Return the color of the dream `FIRST` with some changes."""
    dream = FIRST | changes
    return color(plan, SimpleNamespace(**dream), dream["view"])


def shows(browser, plan, pane: int = 0, **changes) -> None:
    """Wait until a pane has the color of the dream `FIRST` with some changes."""
    expected = expected_color(plan, **changes)
    until(browser, lambda: displayed_color(browser, pane) == expected, f"{expected} in pane {pane}")


def until(browser, condition, message: str = "") -> None:
    """Wait until a condition is true, for at most five seconds."""
    WebDriverWait(browser, 5, poll_frequency=0.05).until(lambda _: condition(), message)


def press(browser, *keys: str) -> None:
    """Press keys in the focused element."""
    ActionChains(browser).send_keys(*keys).perform()


def link_parameters(browser) -> dict[str, str]:
    """Return the parameters in the page's link."""
    pairs = browser.current_url.partition("#")[2].split("&")
    return dict(pair.split("=") for pair in pairs)


def slide(browser, name: str, value: float) -> None:
    """Drag a slider to a position, which may be fractional, without releasing it."""
    browser.execute_script(
        "const slider = document.getElementById(arguments[0]); slider.value = arguments[1];"
        "slider.dispatchEvent(new Event('input', {bubbles: true}))",
        name,
        value,
    )


def colors(element) -> set[tuple[int, int, int]]:
    """Return the colors along the vertical and the horizontal center line of an element."""
    with Image.open(io.BytesIO(element.screenshot_as_png)) as image:
        (width, height), image = image.size, image.convert("RGB")
    vertical = {image.getpixel((width // 2, row)) for row in range(2, height - 2)}
    return vertical | {image.getpixel((column, height // 2)) for column in range(2, width - 2)}


def sheets(browser) -> set[str]:
    """Wait half a second, and return the sheets that the browser has requested since the last call."""
    time.sleep(0.5)
    return {url.partition("/sheets/")[2] for url in requested_urls(browser) if "/sheets/" in url}

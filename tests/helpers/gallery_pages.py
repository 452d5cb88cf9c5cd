"""A gallery in a browser: opening it at a link, what it shows, and what it asks for."""

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


def open_page(browser, gallery, **words) -> None:
    """Open a gallery anew, at a link that says `words`."""
    browser.get("about:blank")
    browser.get(f"{(gallery / 'index.html').as_uri()}#{'&'.join(f'{key}={value}' for key, value in words.items())}")


def asked(browser) -> list[str]:
    """Return the addresses that the browser has asked for since the last time."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [message["params"]["request"]["url"] for message in messages if message["method"].endswith("WillBeSent")]
    return [address for address in sent if address != "about:blank"]


def seen(browser, pane: int = 0) -> tuple[int, int, int]:
    """Return the colour in the middle of a pane's picture, as the screen shows it."""
    frame = browser.find_elements(By.CSS_SELECTOR, ".frame")[pane]
    with Image.open(io.BytesIO(frame.screenshot_as_png)) as picture:
        return picture.convert("RGB").getpixel((picture.width // 2, picture.height // 4))


def wanted(plan, **words) -> tuple[int, int, int]:
    """Return the colour of the dream that is `FIRST` but for `words`."""
    words = FIRST | words
    return color(plan, SimpleNamespace(**words), words["view"])


def shows(browser, plan, pane: int = 0, **words) -> None:
    """Wait until a pane's picture has the colour of a dream."""
    expected = wanted(plan, **words)
    until(browser, lambda: seen(browser, pane) == expected, f"{expected} in pane {pane}")


def until(browser, what, why: str = "") -> None:
    """Wait until something holds."""
    WebDriverWait(browser, 5, poll_frequency=0.05).until(lambda _: what(), why)


def press(browser, *keys: str) -> None:
    """Press keys, wherever the focus is."""
    ActionChains(browser).send_keys(*keys).perform()


def link_says(browser) -> dict[str, str]:
    """Return what the link says of the view."""
    pairs = browser.current_url.partition("#")[2].split("&")
    return dict(pair.split("=") for pair in pairs)


def slide(browser, name: str, value: float) -> None:
    """Drag a slider to a place between kept pictures, without letting it go."""
    browser.execute_script(
        "const slider = document.getElementById(arguments[0]); slider.value = arguments[1];"
        "slider.dispatchEvent(new Event('input', {bubbles: true}))",
        name,
        value,
    )


def colors(element) -> set[tuple[int, int, int]]:
    """Return the colours of an element, from its top to its bottom and from its left to its right."""
    with Image.open(io.BytesIO(element.screenshot_as_png)) as picture:
        (width, height), picture = picture.size, picture.convert("RGB")
    lengthwise = {picture.getpixel((width // 2, row)) for row in range(2, height - 2)}
    return lengthwise | {picture.getpixel((column, height // 2)) for column in range(2, width - 2)}


def sheets(browser) -> set[str]:
    """Return the sheets that the browser has asked for since the last time, once it rests."""
    time.sleep(0.5)
    return {address.partition("/sheets/")[2] for address in asked(browser) if "/sheets/" in address}

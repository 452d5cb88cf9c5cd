"""Checks for every page in a browser."""

CONTRAST = """
const parse = text => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
const back = node => { for (; node; node = node.parentElement) {
  const c = parse(getComputedStyle(node).backgroundColor); if (c.length < 4 || c[3] > 0) return c; }
  return [255, 255, 255]; };
return Math.min(...[...document.querySelectorAll(arguments[0])].map(node => {
  const pair = [light(parse(getComputedStyle(node).color)), light(back(node))].sort((a, b) => b - a);
  return (pair[0] + .05) / (pair[1] + .05); }));
"""


TEXT = "h1, h2, h3, p, th, td, figcaption, code, strong"


def contrast(browser, selector: str = TEXT) -> float:
    """Return the lowest contrast ratio between the text of the selected elements and their background."""
    return browser.execute_script(CONTRAST, selector)


def look(browser, theme: str, width: int) -> None:
    """Set the preferred theme, and the width of the window in pixels."""
    preferred = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": preferred})
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def check_readable(browser, url: str, theme: str, width: int) -> None:
    """Open a page with a theme and a window width, and check that it is readable.

    It must follow the theme, have enough contrast, scroll horizontally only inside tables, and log no errors.
    """
    look(browser, theme, width)
    browser.get(url)
    shade = browser.execute_script("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (max(shade) < 80) == (theme == "dark")
    assert contrast(browser) >= 4.5
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth"), "only tables scroll"
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def image_widths(browser) -> list[int]:
    """Wait until all images of a page are decoded, and return their natural widths in pixels."""
    browser.execute_script("document.querySelectorAll('img').forEach(img => img.loading = 'eager')")
    return browser.execute_async_script(
        "const done = arguments[0], all = [...document.images];"
        "Promise.all(all.map(img => img.decode())).then(() => done(all.map(img => img.naturalWidth)))"
    )

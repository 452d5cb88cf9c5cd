"""Whether the gallery stays fast with 10,000 dreams: ``make bench-gallery``.

Makes a gallery of about 10,000 dreams and a small one of the same shape, of flat pictures, and opens both from disk in
a headless Chromium, in turn. Prints, and with --json writes, for each: the page's size, how long it takes to write, how
long it takes until the dream is shown, and how long the page works for one move of a slider, the median of many.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from benchmarks.records import tell
from tests.helpers.galleries import build_gallery, gallery_plan

SIZES = {"small": (8, 5, 1), "large": (50, 8, 5)}  # classes, epochs, recipes
STEPS = [5, 10, 25, 50, 100]
MOVE = """
const slider = document.getElementById(arguments[0]), began = performance.now();
slider.value = arguments[1];
slider.dispatchEvent(new Event("input"));
document.body.offsetHeight;
return performance.now() - began;
"""
SHOWN = """
const done = arguments[0], began = performance.timeOrigin;
const look = () => {
  const pictures = [...document.querySelectorAll(".frame img")];
  if (pictures.length && pictures.every(each => each.complete && each.naturalWidth)) {
    done(Date.now() - began);
  } else setTimeout(look, 5);
};
look();
"""


def make(name: str, folder: Path) -> tuple[Path, dict]:
    """Write a gallery of a size into a folder; return its page, and what it took."""
    labels, epochs, recipes = SIZES[name]
    plan = gallery_plan(
        epochs=range(epochs),
        runs=["only"],
        recipes={f"recipe{number}": {"steps": STEPS, "seed": number} for number in range(recipes)},
        names=[f"Bird {number}" for number in range(labels)],
    )
    began = time.perf_counter()
    page = build_gallery(plan, folder) / "index.html"
    each = (time.perf_counter() - began) / len(plan.dreams)
    return page, {
        "gallery": name,
        "dreams": len(plan.dreams),
        "page_kB": page.stat().st_size / 1000,
        "ms_a_dream": 1000 * each,
    }


@contextmanager
def browser() -> Iterator[webdriver.Chrome]:
    """Yield a headless Chromium."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,900"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def look(driver: webdriver.Chrome, page: Path, epochs: int, moves: int) -> dict:
    """Return what opening a page and moving its sliders takes."""
    driver.get("about:blank")
    driver.get(page.as_uri())
    shown = driver.execute_async_script(SHOWN)
    places = [(number * 0.37) % (epochs - 1) for number in range(moves)]
    worked = [driver.execute_script(MOVE, "epoch", place) for place in places]
    return {"ms_until_shown": shown, "ms_a_move": statistics.median(worked)}


def main(arguments: list[str] | None = None) -> list[dict]:
    """Run the benchmark and return its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each page is opened; the best counts")
    parser.add_argument("--moves", type=int, default=60, help="moves of the slider a round")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    settings = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name, browser() as driver:
        made = {size: make(size, Path(name) / size) for size in SIZES if not (Path(name) / size).mkdir()}
        rounds = [
            {size: look(driver, page, SIZES[size][1], settings.moves) for size, (page, _) in made.items()}
            for _ in range(settings.rounds)
        ]
    best = {size: {key: min(each[size][key] for each in rounds) for key in rounds[0][size]} for size in SIZES}
    records = tell([{**made[size][1], **best[size]} for size in SIZES], settings.json)
    for key in ("ms_until_shown", "ms_a_move"):
        print(f"{key}: the large gallery takes {best['large'][key] / best['small'][key]:.2f} times the small one's")
    return records


if __name__ == "__main__":
    main()

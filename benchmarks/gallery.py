"""Compare a gallery of about 10,000 dreams with a small one.

Run it as ``make bench-gallery``. Builds both galleries from constant images, and opens them in turn from disk in a
headless Chromium. Prints one row per gallery: the size of the page, the time to write it, the time until the dream is
displayed, and the page's median time per slider move. --json writes the same as JSON.
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

from benchmarks.records import report
from tests.helpers.galleries import build_gallery, gallery_plan

SIZES = {"small": (8, 5, 1), "large": (50, 8, 5)}  # classes, epochs, recipes
STEPS = [5, 10, 25, 50, 100]
MOVE = """
const slider = document.getElementById(arguments[0]), started = performance.now();
slider.value = arguments[1];
slider.dispatchEvent(new Event("input"));
document.body.offsetHeight;
return performance.now() - started;
"""
DISPLAYED = """
const done = arguments[0], started = performance.timeOrigin;
const poll = () => {
  const images = [...document.querySelectorAll(".frame img")];
  if (images.length && images.every(each => each.complete && each.naturalWidth)) {
    done(Date.now() - started);
  } else setTimeout(poll, 5);
};
poll();
"""


def make(name: str, folder: Path) -> tuple[Path, dict]:
    """Write a gallery to a folder; return its page and a record.

    The record contains its size, and the time to write it.
    """
    labels, epochs, recipes = SIZES[name]
    plan = gallery_plan(
        epochs=range(epochs),
        runs=["only"],
        recipes={f"recipe{number}": {"steps": STEPS, "seed": number} for number in range(recipes)},
        names=[f"Bird {number}" for number in range(labels)],
    )
    started = time.perf_counter()
    page = build_gallery(plan, folder) / "index.html"
    seconds = (time.perf_counter() - started) / len(plan.dreams)
    return page, {
        "gallery": name,
        "dreams": len(plan.dreams),
        "page_kB": page.stat().st_size / 1000,
        "ms_per_dream": 1000 * seconds,
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


def time_page(driver: webdriver.Chrome, page: Path, epochs: int, moves: int) -> dict:
    """Return the time until a page displays its dream, and the time per slider move."""
    driver.get("about:blank")
    driver.get(page.as_uri())
    displayed = driver.execute_async_script(DISPLAYED)
    positions = [(number * 0.37) % (epochs - 1) for number in range(moves)]
    times = [driver.execute_script(MOVE, "epoch", position) for position in positions]
    return {"ms_until_displayed": displayed, "ms_per_move": statistics.median(times)}


def main(arguments: list[str] | None = None) -> list[dict]:
    """Run the benchmark and return its records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each page is opened; the best time counts")
    parser.add_argument("--moves", type=int, default=60, help="slider moves per round")
    parser.add_argument("--json", type=Path, help="write the records to this file")
    settings = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name, browser() as driver:
        galleries = {size: make(size, Path(name) / size) for size in SIZES if not (Path(name) / size).mkdir()}
        rounds = [
            {size: time_page(driver, page, SIZES[size][1], settings.moves) for size, (page, _) in galleries.items()}
            for _ in range(settings.rounds)
        ]
    best = {size: {key: min(each[size][key] for each in rounds) for key in rounds[0][size]} for size in SIZES}
    records = report([{**galleries[size][1], **best[size]} for size in SIZES], settings.json)
    for key in ("ms_until_displayed", "ms_per_move"):
        print(f"{key}: large gallery / small gallery = {best['large'][key] / best['small'][key]:.2f}")
    return records


if __name__ == "__main__":
    main()

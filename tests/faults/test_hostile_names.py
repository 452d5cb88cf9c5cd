"""Names with markup, commands, paths or terminal codes in the complete workflow."""

import csv
import json
import re
import shutil
import zipfile
from pathlib import Path

import pytest
import yaml
from PIL import Image
from selenium.common.exceptions import NoAlertPresentException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from dreambirds import cli
from dreambirds.data.tables import read_images, read_labels, read_table
from dreambirds.dream_job.image_files import KEY, read_facts
from tests.helpers.chromium import browser
from tests.helpers.gallery_pages import requested_urls
from tests.helpers.layouts import save_bird
from tests.helpers.studies import ROOT, Study, tiny

__all__ = ["browser"]
OWN = "document.title=/owned/.source"  # needs no quotes
NAMES = [
    '<script>document.title="owned"</script>',
    f"</script><script>{OWN}</script>",
    f"<img src=x onerror={OWN}>",
    f"<!--<script>{OWN}",
    f"'\"><svg onload={OWN}>",
    "$(touch owned)",
    "`touch owned`",
    "; touch owned #",
    "../../owned",
    "/owned",
    "{wildcards.run}",
    "{{7*7}}",
    "%s%n%(name)s",
    '=HYPERLINK("http://owned.invalid")',
    "-rf",
    "'single' \"double\" \\ back, comma 🐦 &lt; &amp;",
    "x" * 200,
]
CODES = "\x1b[31mred\x07 \u202egnp.drib \x9b2J"  # color and bell of a terminal, right-to-left text, another code
CODES_SHOWN = r"\x1b[31mred\x07 \u202egnp.drib \x9b2J"
SHOWN = [*NAMES, CODES_SHOWN]
PHOTOGRAPH = "x'\"; $(touch owned); `touch owned` & %s # -rf/\\onerror=alert(1).png"
QUESTION = f"</title></script><script>{OWN}</script> {{{{7*7}}}} {{wildcards.run}} $(touch owned) \x1b[31m"
SAFE_PATH = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """Return a finished study with hostile class names, file names and question."""
    folder = tmp_path_factory.mktemp("outside") / "of" / "study"
    birds = folder / "birds"
    for number in range(len(SHOWN)):
        for count in range(2):
            save_bird(birds / "train" / str(number) / f"{number}-{count}.jpg", "blue_jay", 10 * number + count)
    (birds / "names.txt").write_text("\n".join([*NAMES, CODES]) + "\n")
    start = save_bird(folder / PHOTOGRAPH, "northern_cardinal")
    study = Study(folder, tiny())
    study.config["dataset"] = {"source": "kaggle", "path": str(birds), "image_size": 32}
    study.config["runs"]["scratch"]["epochs"] = [1]
    photo = {"steps": [1], "start": "photograph", "start_path": str(start)}
    study.config["dreams"]["recipes"] = {"study": {"steps": [1]}, "photo": photo}
    study.config["questions"] = {"q": {"text": QUESTION, "contrasts": [{"vary": "recipe"}]}}
    study.output = study.run() + study.run("--report", "results/tiny/report.zip")
    with zipfile.ZipFile(study.results / "report.zip") as archive:
        archive.extractall(folder)
    return study


def paths_below(folder: Path) -> list[str]:
    """Return the relative paths of everything in a folder."""
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*")]


def test_commands_in_names_are_not_run_and_nothing_is_written_elsewhere(study):
    outside = study.folder.parents[1]
    assert paths_below(outside)[:2] == ["of", "of/study"]
    assert len(list(outside.iterdir())) == len(list((outside / "of").iterdir())) == 1
    assert [path for path in study.folder.rglob("owned") if path.is_file()] == []
    assert not list(ROOT.glob("owned")) and not Path("/owned").exists()


def test_result_paths_have_only_safe_characters_and_are_unique_per_class(study):
    strange = [path for path in paths_below(study.folder / "results") if not SAFE_PATH.fullmatch(path)]
    assert strange == []
    labels = list(read_labels(study.results / "dataset")["label"])
    assert len({label.casefold() for label in labels}) == len(SHOWN) and max(map(len, labels)) <= 64
    assert not [label for label in labels if label.startswith("-")], "no name is an option"
    for folder in ("dataset/images", "dreams/scratch/epoch-0001/study"):
        assert {path.name for path in (study.results / folder).iterdir() if path.is_dir()} == set(labels)


def test_the_tables_contain_the_complete_names(study, counted):
    assert list(read_labels(study.results / "dataset")["class_name"]) == SHOWN
    assert list(read_table(study.results / "dataset" / "classes.csv")["class_name"]) == SHOWN
    dreams = read_table(study.results / "dreams.csv")
    assert set(dreams["class_name"]) == set(SHOWN) and len(dreams) == 2 * len(SHOWN)
    assert {path.partition("/of/study/")[2] for path in dreams["start_path"].dropna()} == {PHOTOGRAPH}
    assert all((study.folder / path).is_file() for path in read_images(study.results / "dataset")["source"])
    for path in study.results.rglob("*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            assert len({len(row) for row in csv.reader(file)}) == 1, f"{path} has rows of one length"
    counted("hostile names kept unchanged in the tables", len(SHOWN))


def test_the_metadata_of_images_and_films_contains_the_names_as_data(study):
    assembled = [*study.results.glob("montages/**/*.png"), *study.results.glob("films/**/*.gif")]
    dreams = list(study.results.glob("dreams/**/*.png"))
    assert len(assembled) > 3 and len(dreams) == 4 * len(SHOWN)
    labels = list(read_labels(study.results / "dataset")["label"])
    assert all(read_facts(path)["labels"] == labels for path in assembled)
    texts = [_text(path) for path in dreams]
    assert {json.loads(text[KEY])["label"] for text in texts} == set(labels)
    assert {name for name in SHOWN if any(text["Title"].startswith(f"{name}, ") for text in texts)} == set(SHOWN)
    assert not [character for text in texts for character in "".join(text.values()) if not character.isprintable()]


def _text(path: Path) -> dict[str, str]:
    with Image.open(path) as image:
        image.load()
        return image.text


def open_quietly(browser, path: Path, *inside: Path) -> None:
    """Open a page; check that it runs nothing, logs no error, and loads no other files."""
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(path.as_uri())
    WebDriverWait(browser, 10).until(lambda _: browser.execute_script("return document.readyState") == "complete")
    check_quiet(browser, path, *inside)


def check_quiet(browser, path: Path, *inside: Path) -> None:
    """Check that a page ran nothing, logged no error, and loaded no other files."""
    with pytest.raises(NoAlertPresentException):
        _ = browser.switch_to.alert
    assert browser.title != "owned"
    assert browser.find_elements(By.CSS_SELECTOR, "[onerror], svg[onload]") == []
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    roots = tuple(root.as_uri() for root in (path, *inside))
    assert [address for address in requested_urls(browser) if not address.startswith((*roots, "data:", "blob:"))] == []


def test_the_gallery_shows_the_names_as_text(study, browser, counted):
    page = study.results / "gallery" / "index.html"
    open_quietly(browser, page, page.parent)
    cells = browser.find_elements(By.CSS_SELECTOR, "#grid .cell")
    assert [cell.get_property("textContent") for cell in cells] == SHOWN
    for cell, name in zip(cells, SHOWN, strict=True):
        browser.execute_script("arguments[0].click()", cell)
        assert browser.find_element(By.CSS_SELECTOR, "figcaption b").get_property("textContent") == name
        alt = browser.find_element(By.CSS_SELECTOR, "img.under").get_property("alt")
        assert alt.startswith(f"Dream of {name}: run ")
        assert browser.find_element(By.ID, "announcement").get_property("textContent") == name
    check_quiet(browser, page, page.parent)
    counted("hostile names displayed safely in the gallery", len(SHOWN))


def test_single_file_pages_show_user_input_as_text(study, browser, counted):
    overview, finding = study.results / "compare.html", study.results / "findings" / "q" / "index.html"
    open_quietly(browser, overview)
    assert PHOTOGRAPH in browser.find_element(By.TAG_NAME, "table").text
    open_quietly(browser, finding)
    shown = browser.find_element(By.TAG_NAME, "h1").get_property("textContent")
    assert shown.startswith(QUESTION[:-6]) and browser.title.startswith("</title></script><script>")
    config = yaml.safe_load(browser.find_element(By.TAG_NAME, "pre").get_property("textContent"))
    assert config["questions"]["q"]["text"] == QUESTION
    assert config["dreams"]["recipes"]["photo"]["start_path"].endswith(f"/{PHOTOGRAPH}")
    counted("pages with hostile text opened", 2)


def test_snakemakes_report_runs_no_code_from_names(study, browser, counted):
    page = study.folder / "report" / "report.html"
    open_quietly(browser, page, page.parent)
    WebDriverWait(browser, 10).until(lambda _: browser.find_elements(By.XPATH, "//*[normalize-space()='dreams']"))
    text = page.read_text(encoding="utf-8")
    assert OWN not in text and "touch owned" not in text, "it contains neither display names nor the user's paths"
    counted("pages with hostile text opened")


def test_the_terminal_and_the_logs_contain_no_terminal_codes(study):
    logs = [path.read_text(encoding="utf-8") for path in (study.folder / "results" / "logs").rglob("*.log")]
    assert len(logs) > 8
    for text in (study.output, *logs):
        assert [character for character in text if not character.isprintable() and character not in "\n\t\r"] == []


@pytest.mark.parametrize("width", [60, 2000])
def test_a_table_in_the_terminal_contains_no_codes_and_no_markup(study, tmp_path, monkeypatch, capsys, counted, width):
    folder = tmp_path / "[bold]study"
    shutil.copytree(study.results, folder, ignore=shutil.ignore_patterns("dataset", "gallery", "runs"))
    table = (folder / "dreams.csv").read_text()
    quoted = PHOTOGRAPH.replace('"', '""')
    (folder / "dreams.csv").write_text(table.replace(quoted, f"[/red] {CODES}"))
    monkeypatch.setenv("COLUMNS", str(width))
    for others in ([], [str(study.results)]):
        cli.main(["compare", str(folder), *others])
        output = capsys.readouterr().out
        assert [character for character in output if not character.isprintable() and character != "\n"] == []
        assert "[bold]study" in output and "\\x1b" in "".join(output.split())
    counted("terminal tables that show control codes as text", 2)


def test_folder_and_file_names_cannot_forge_log_lines(fresh, counted):
    photographs = fresh.folder / "photographs {wildcards.run} $(touch owned)\nError: forged"
    folders = [name.replace("/", "|").lstrip(".") for name in [*NAMES, CODES]] + ["two\nError: forged\rlines"]
    for number, folder in enumerate(folders):
        for count in range(2):
            save_bird(
                photographs / folder / f"\x1b[31m{count}\nError: forged $(touch owned).jpg",
                "blue_jay",
                10 * number + count,
            )
    (photographs / folders[0] / "broken \x1b[2J\nError: forged.jpg").write_bytes(b"not an image")
    fresh.config["dataset"] = {"source": "folder", "path": str(photographs), "image_size": 32}
    output = fresh.run("dataset_only")
    log = (fresh.folder / "results/logs/tiny/dataset.log").read_text()
    for text in (output, log, (fresh.folder / "results/logs/tiny/overview.log").read_text()):
        assert "\x1b" not in text and not re.search("^Error", text, re.MULTILINE)
    assert r"broken \x1b[2J\nError: forged.jpg' (not an image: text)" in output
    names = list(read_labels(fresh.results / "dataset")["class_name"])
    assert len(names) == len(folders) and "two Error: forged lines" in names and CODES_SHOWN in names
    assert [path for path in fresh.folder.rglob("owned") if path.is_file()] == [] and not (ROOT / "owned").exists()
    counted("hostile names kept unchanged in the tables", len(names))

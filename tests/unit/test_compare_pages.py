"""The pages that compare runs and recipes, or two studies, and the errors of the command."""

from types import SimpleNamespace

import pytest

from dreambirds import cli
from dreambirds.gallery import compare
from dreambirds.gallery.comparison import best, summary
from dreambirds.gallery.differences import differences, effects, pairs
from tests.helpers.archives import write_images
from tests.helpers.comparisons import NAMES, grid, small_study, write
from tests.helpers.pages import Page


@pytest.fixture
def study(tmp_path):
    """Return a study with two runs, two recipes with different last steps, and two classes."""
    return small_study(tmp_path)


def is_self_contained(page: Page) -> bool:
    """Return whether a page needs no other file, has no script, and gives each table header a scope."""
    links = [value for _, found in page.elements for key, value in found.items() if key in ("src", "href")]
    heads = all(found.get("scope") in ("row", "col") for found in page.all("th"))
    return not page.all("script") and heads and all(link.startswith("data:") for link in links)


def test_the_page_of_a_study_marks_the_best_and_escapes_text(study, tmp_path):
    compare.write_overview(study.folder, tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    assert is_self_contained(page) and page.text.count("(best)") == best(summary(study)).to_numpy().sum()
    assert len(page.all("tbody")) == 2 and len(page.all("tr")) == 1 + 8 and "blur_sigma" in page.text


def test_the_page_of_two_studies_shows_dreams_side_by_side(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, value in (("one", 0.1), ("two", 0.3)):
        rows = grid(lambda value=value, **_: {"dreamer_probability": value, "objective": f"<b>{value}</b>"})
        folder = tmp_path / "results" / name / "dreams"
        write_images(folder, [SimpleNamespace(**row) for row in rows], lambda *_: "red", lambda _: (4, 4))
        write(tmp_path / "results" / name, rows)
    cli.main(["compare", "results/one", "results/two"])
    output = capsys.readouterr().out
    assert "results/compare/one-two.html" in output and "+0.200" in output and "better" in output
    assert [path.name for path in (tmp_path / "results/compare").iterdir()] == ["one-two.html"]
    page = Page(tmp_path / "results/compare/one-two.html")
    assert is_self_contained(page) and not page.all("b")
    assert len(page.all("img")) == 2 * 12 and "image is missing" not in page.text and NAMES["bee"] in page.text
    lacking = [SimpleNamespace(**row) for row in rows if (row["epoch"], row["label"], row["step"]) != (4, "fox", 10)]
    write_images(tmp_path / "results/two/dreams", lacking, lambda *_: "red", lambda _: (4, 4))
    cli.main(["compare", "results/one", "results/two"])
    page = Page(tmp_path / "results/compare/one-two.html")
    assert len(page.all("img")) == 2 * 12 - 1 and page.text.count("image is missing") == 1


def test_a_page_shows_at_most_36_pairs(tmp_path):
    labels = [f"l{number}" for number in range(50)]
    one = write(tmp_path / "1", grid(lambda **_: {"dreamer_probability": 0.5}, labels=labels, epochs=(4,)))
    both = pairs(one, one)
    compare.write_two(tmp_path / "p.html", one, one, ("1", "2"), differences(one, one), effects(both), both)
    page = Page(tmp_path / "p.html")
    assert "36 of 50 pairs" in page.text and len(page.all("figure")) == 72
    assert "The tables contain no differences." in page.text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["results/onne"],
            "the results folder 'results/onne' does not exist; did you mean 'results/one'? (available: ",
        ),
        (
            ["nonsense"],
            "the results folder 'nonsense' does not exist; available: results/bare, results/one, results/torn",
        ),
        (["results/empty"], "'results/empty/dreams.csv' does not exist; run the study first"),
        (["results/one", "results/one/"], "'results/one' is given twice; pass two different studies"),
        (["results/one", "results/empty", "x"], "cannot compare 3 studies; pass one or two"),
        (
            ["results/one", "results/empty", "--sort", "run"],
            "--sort: applies to one study only; omit it to compare two",
        ),
        (["results/one", "--sort", "sed"], "--sort: unknown column 'sed'; "),
        (["results/bare"], "'results/bare/dreams.csv' has no column 'epoch'; delete it and run the study again"),
        (
            ["results/torn"],
            "cannot read the table 'results/torn/dreams.csv' (No columns to parse from file); delete it",
        ),
    ],
)
def test_bad_input_gives_a_one_line_error_and_status_1(study, tmp_path, monkeypatch, capsys, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    for name, text in (("empty", None), ("bare", "run,recipe\na,b\n"), ("torn", "")):
        (tmp_path / "results" / name).mkdir()
        if text is not None:
            (tmp_path / "results" / name / "dreams.csv").write_text(text)
    with pytest.raises(SystemExit) as end:
        cli.main(["compare", *arguments])
    assert str(end.value).startswith(f"Error: {sentence}") and "\n" not in str(end.value)
    assert capsys.readouterr().out == ""

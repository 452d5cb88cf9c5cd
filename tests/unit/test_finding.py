"""The page of one question, the page of all findings, and the escaping of names in them."""

import pandas as pd
import pytest
from PIL import Image

from dreambirds import cli
from dreambirds.config.contrasts import Comparison
from dreambirds.dream_job.image_files import read_facts
from dreambirds.evaluation.contrasts import FINDINGS
from dreambirds.figures.contrasts import column_name
from dreambirds.gallery import findings
from dreambirds.gallery.findings import sentence
from tests.helpers.findings import TEXT, build_finding, question_plan
from tests.helpers.galleries import BAD, number
from tests.helpers.pages import Page

ROW = {
    "vary": "epoch",
    "baseline": "first",
    "compared": "8",
    "where": "",
    "measure": "judge_top1",
    "mean_baseline": 0.25,
}
ROW |= {
    "mean_compared": 1.0,
    "difference": 0.75,
    "ci_low": 0.5,
    "ci_high": 1.0,
    "cohens_dz": 1.62,
    "n_classes": 8,
    "n_pairs": 16,
}


@pytest.fixture(scope="module")
def finding(tmp_path_factory):
    """Return the folder of a finding."""
    return build_finding(question_plan(), tmp_path_factory.mktemp("study"))


@pytest.mark.slow
def test_the_table_contains_the_known_values(finding):
    table, plan = findings.read_findings(finding / "finding.csv"), question_plan()
    assert list(table) == ["question", "text", *FINDINGS]
    assert set(table["question"]) == {"q"} and set(table["text"]) == {TEXT}
    assert list(table["vary"]) == ["epoch", "epoch", "view", "run"]
    first, last = (
        [number(plan, dream, "raw") for dream in plan.dreams if dream.epoch == epoch and dream.step == 5]
        for epoch in (0, 4)
    )
    assert table["mean_baseline"].iloc[0] == pytest.approx(sum(first) / len(first), rel=1e-4)
    assert table["mean_compared"].iloc[0] == pytest.approx(sum(last) / len(last), rel=1e-4)
    assert list(table["verdict"])[1::2] == ["not measured"] * 2 and table["baseline"].iloc[3] == "chance"


def test_the_page_needs_no_other_file_and_escapes_names(finding):
    page = Page(finding / "index.html")
    links = [value for _, found in page.elements for name, value in found.items() if name in ("src", "href")]
    assert len(links) == 3 and all(value.startswith(("data:image/png;", "data:,")) for value in links)
    assert not page.all("script") and len(page.all("img")) == 2, "effects and montage"
    assert "&lt;script&gt;window.harmed" in (finding / "index.html").read_text(encoding="utf-8")


def test_the_montage_has_one_column_per_value_and_a_dataset_image(finding):
    facts = read_facts(finding / "montage.png")
    assert facts["columns"] == ["first epoch, plain", "last epoch, plain", "raw", "second"]
    assert facts["labels"] == [f"class_{index}" for index in range(6)]
    with Image.open(finding / "montage.png") as image:
        assert image.width > 5 * 128 and image.height > 6 * 128


@pytest.mark.parametrize(
    ("vary", "value", "several", "name"),
    [
        ("epoch", "last", True, "last epoch, a, b"),
        ("step", 50, False, "step 50"),
        ("step_size", 0.01, True, "step_size 0.01, a, b"),
        ("blur_sigma", {"random": [0.1, 1.0]}, False, "random 0.1 to 1"),
        ("start", "gray", False, "gray"),
        ("view", "raw", False, "raw"),
    ],
)
def test_a_column_is_named_after_its_value(vary, value, several, name):
    comparison = Comparison(vary, None, value, {"recipe": ["a", "b"]}, [])
    assert column_name(comparison, value, several) == name


@pytest.mark.slow
def test_the_title_of_a_large_montage_counts_what_it_omits(tmp_path):
    folder = build_finding(question_plan(names=14), tmp_path)
    with Image.open(folder / "montage.png") as image:
        assert image.text["Title"] == "Compared dreams (2 columns or classes omitted)"
    assert len(read_facts(folder / "montage.png")["labels"]) == 12


@pytest.mark.parametrize(
    ("row", "verdict", "rest"),
    [
        (
            {"verdict": "higher"},
            "judge's top 1 is higher",
            "for epoch 8 than for the first epoch: 0.250 → 1.000, a difference of +0.750 (95% interval 0.500 to "
            "1.000, d_z 1.620; 8 classes, 16 pairs).",
        ),
        (
            {"verdict": "no difference seen", "baseline": "chance", "where": "recipe a", "ci_low": -0.1},
            "judge's top 1: no difference seen",
            "between chance and epoch 8 (recipe a): 0.250 → 1.000, a difference of +0.750 (95% interval -0.100 to "
            "1.000, d_z 1.620; 8 classes, 16 pairs).",
        ),
        ({"verdict": "not measured"}, "judge's top 1 was not measured", "for the first epoch and epoch 8."),
    ],
)
def test_a_sentence_is_built_from_its_row(row, verdict, rest):
    assert sentence({**ROW, **row}) == (verdict, rest)


def write_tables(folder) -> list:
    """Write the tables of two questions."""
    paths = []
    for name, verdict in (("one", "higher"), ("two", "no difference seen")):
        paths.append(folder / f"{name}.csv")
        rows = [{"question": name, "text": f"{name}? {BAD}", **ROW, "verdict": verdict}]
        pd.DataFrame(rows)[["question", "text", *FINDINGS]].to_csv(paths[-1], index=False)
    return paths


def test_the_collection_has_every_question_and_links_to_its_page(tmp_path):
    findings.write_findings("mine", write_tables(tmp_path), tmp_path / "index.html", tmp_path / "findings.csv")
    table = findings.read_findings(tmp_path / "findings.csv")
    assert list(table["question"]) == ["one", "two"] and list(table) == ["question", "text", *FINDINGS]
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert '<a href="one/index.html">' in page and '<a href="two/index.html">' in page and BAD not in page
    assert "Judge&#39;s top 1 is higher</strong> for epoch 8" in page and "2 questions of the study mine" in page


def test_a_table_is_printed_as_markdown(tmp_path, capsys):
    findings.write_findings("mine", write_tables(tmp_path), tmp_path / "index.html", tmp_path / "findings.csv")
    cli.main(["findings", str(tmp_path / "findings.csv")])
    output = capsys.readouterr().out
    assert "### `one`: one?" in output and "### `two`: two?" in output
    assert "| epoch first → 8 | judge's top 1 | 0.250 | 1.000 | +0.750 [0.500, 1.000] | 1.620 | higher |" in output


def test_a_missing_table_gives_a_one_line_error(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        cli.main(["findings", "no.csv"])
    assert str(end.value) == "Error: 'no.csv' does not exist; pass results/STUDY/findings/findings.csv"
    (tmp_path / "no.csv").write_text("a,b\n1,2\n")
    with pytest.raises(SystemExit) as end:
        cli.main(["findings", "no.csv"])
    assert str(end.value) == "Error: 'no.csv' is not a table of findings; pass results/STUDY/findings/findings.csv"
    with pytest.raises(SystemExit) as end:
        cli.main(["findings"])
    assert end.value.code == 2 and "the following arguments are required: TABLE" in capsys.readouterr().err

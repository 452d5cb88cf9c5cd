"""Truncated tables between stages: each is rejected with one error and its remedy, and no result is written."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from dreambirds.data.dataset import decode
from dreambirds.data.tables import read_history, read_table, start_photographs, write_table
from dreambirds.dream_job.archive import Picture
from dreambirds.dream_job.context import DreamContext, DreamJob
from dreambirds.errors import UserError
from dreambirds.evaluation.pixels import RealPixels, measure_saved
from dreambirds.evaluation.tables import read_judged
from dreambirds.figures.montage import load_cell
from dreambirds.figures.overview import write_overview
from dreambirds.gallery.findings import write_findings
from dreambirds.gallery.gallery import write_sheet
from dreambirds.plan.inputs import start_images
from dreambirds.plan.plan import make_plan
from dreambirds.seeding import generator
from tests.helpers.killing import files
from tests.helpers.studies import Study, tiny
from tests.helpers.values import (
    dreams_of,
    measure_of,
    views_of,
    write_all_tables,
    write_finding_of,
    write_gallery_of,
    write_plots_of,
)

ROW = "corrupt files between stages refused or rebuilt"
RESULTS = Path("results/tiny")
HISTORY = "runs/scratch/epoch-0001/history.csv"
ENDS = [f"{RESULTS}/{name}" for name in ("gallery/index.html", "findings/q/index.html", "dreams.csv")]
ARCHIVE, JUDGED = "dreams/scratch/epoch-0001/study/dreams.zip", "judged/j/scratch/epoch-0001/study.csv"
OF_PIXELS = [RESULTS / "dataset" / file for file in ("spectra.safetensors", "small.safetensors", "held_out.csv")]
PIXELS = "pixels/scratch/epoch-0001/study.csv"


def study_config() -> dict:
    """Return a config with one checkpoint, a judge and a question."""
    config = tiny()
    config["runs"]["scratch"]["epochs"] = [1]
    config["judges"] = {"j": {"train": {"model": "resnet10t", "epochs": [1], "batch_size": 8}}}
    config["questions"] = {"q": {"text": "Do steps help?", "contrasts": [{"vary": "step"}]}}
    return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Study:
    """Return a complete study: measured, with the answer to its question."""
    study = Study(tmp_path_factory.mktemp("finished"), study_config())
    study.run(*ENDS)
    return study


@pytest.fixture
def plan(finished, monkeypatch):
    """Return the plan of the study, in its folder."""
    monkeypatch.delenv("DREAMBIRDS_STORE", raising=False)
    monkeypatch.chdir(finished.folder)
    return make_plan(study_config())


def starting():
    """Return the plan of the same study, with dreams that start from photographs."""
    config = study_config()
    config["dreams"]["recipes"]["ph"] = {"steps": [2], "start": "photograph"}
    return make_plan(config)


def measure(plan, out: Path) -> None:
    names = ("dreams", "judgements", "runs", "judges")
    write_all_tables(plan, RESULTS, {name: out / f"{name}.csv" for name in names})


def answer(plan, out: Path) -> None:
    write_finding_of(plan, measure_of(plan, "q"), RESULTS, "q", out)


def collect(_plan, out: Path) -> None:
    write_findings("tiny", [RESULTS / "findings/q/finding.csv"], out / "index.html", out / "findings.csv")


STAGES = {
    "judge": lambda plan, _: dreams_of(plan),
    "measurements": measure,
    "curves": lambda *_: read_history(RESULTS / HISTORY, 1),
    "overview": lambda _, out: write_overview(RESULTS / "dataset", out / "a.png", out / "b.png", out / "c.csv"),
    "plots": lambda plan, out: write_plots_of(plan, RESULTS, out),
    "gallery": lambda plan, out: write_gallery_of(plan, plan.archives(), RESULTS, out),
    "question": answer,
    "findings": collect,
}
DAMAGES = {
    "half": lambda content: content[: len(content) // 2],
    "header only": lambda content: content[: content.index(b"\n") + 1],
    "last line missing": lambda content: content[: content.rindex(b"\n", 0, -1) + 1],
    "last character missing": lambda content: content[:-1],
    "empty": lambda content: b"",
}
REBUILD, TRAIN = (
    "delete it and run the same command again to rebuild it",
    "delete it and run the same command again to retrain its epoch",
)
DATASET = "delete the folder 'results/tiny/dataset' and run the same command again to rebuild it"
READ = [
    (JUDGED, "measurements", REBUILD),
    ("judged/j/sanity.csv", "measurements", REBUILD),
    (PIXELS, "measurements", REBUILD),
    (ARCHIVE, "judge", REBUILD),
    (ARCHIVE, "measurements", REBUILD),
    (HISTORY, "measurements", TRAIN),
    (HISTORY, "curves", TRAIN),
    ("dreams.csv", "plots", REBUILD),
    ("runs.csv", "plots", REBUILD),
    (ARCHIVE, "plots", REBUILD),
    (ARCHIVE, "gallery", REBUILD),
    ("dreams.csv", "gallery", REBUILD),
    ("runs.csv", "gallery", REBUILD),
    (ARCHIVE, "question", REBUILD),
    (JUDGED, "question", REBUILD),
    (PIXELS, "question", REBUILD),
    ("judged/j/sanity.csv", "question", REBUILD),
    (HISTORY, "question", TRAIN),
    ("findings/q/finding.csv", "findings", REBUILD),
    ("dataset/images.csv", "overview", DATASET),
    ("dataset/labels.csv", "overview", DATASET),
    ("dataset/images.csv", "gallery", DATASET),
]


def damage(path: Path, how: str) -> bytes:
    """Truncate a file; return its contents before."""
    good = path.read_bytes()
    path.write_bytes(DAMAGES[how](good))
    return good


def is_detected(name: str, how: str) -> bool:
    """Return whether the damage can be detected.

    A table that may be edited by hand may end without a line break, and the number of a question's comparisons is
    not known.
    """
    return not (how == "last character missing" and name.startswith("dataset")) and not (
        how == "last line missing" and name.startswith("findings")
    )


def test_the_workflow_reports_a_truncated_table_and_rebuilds_it_once_it_is_deleted(finished, counted):
    expected, name = files(finished), JUDGED
    damage(finished.results / name, "half")
    result = finished.snakemake(*ENDS)
    errors = [line for line in result.stdout.splitlines() if line.startswith("Error: ")]
    assert result.returncode != 0 and "Traceback" not in result.stdout, result.stdout[-3000:]
    assert errors[0] == f"Error: '{RESULTS / name}' is truncated: its last line is incomplete; {REBUILD}"
    assert (finished.folder / ENDS[0]).exists()
    (finished.results / name).unlink()
    finished.run(*ENDS)
    assert files(finished) == expected
    counted(ROW)


@pytest.mark.parametrize(
    ("name", "stage", "remedy", "how"), [(*read, how) for read in READ for how in DAMAGES if is_detected(read[0], how)]
)
def test_a_truncated_table_is_rejected_and_no_result_is_written(plan, tmp_path, name, stage, remedy, how, counted):
    path = RESULTS / name
    good = damage(path, how)
    try:
        with pytest.raises(UserError) as error:
            STAGES[stage](plan, tmp_path)
    finally:
        path.write_bytes(good)
    assert f"'{path}" in str(error.value) or f"'{path.parent}/images.csv'" in str(error.value)
    assert str(error.value).endswith(f"; {remedy}")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    counted(ROW)


@pytest.mark.parametrize("stage", STAGES)
def test_complete_tables_are_read(plan, tmp_path, stage):
    STAGES[stage](plan, tmp_path)


def test_a_judges_table_contains_exactly_the_classes_that_it_matches(plan, tmp_path):
    check = read_table(RESULTS / "judged/j/sanity.csv").assign(unmatched="blue_jay")
    table, path = read_table(RESULTS / JUDGED), tmp_path / "j.csv"
    write_table(table[table["label"] != "blue_jay"], path)
    assert len(read_judged(path, check, pd.DataFrame(plan.dreams))) == len(table) * 2 // 3
    write_table(table, path)
    with pytest.raises(UserError, match=rf"has {len(table)} rows instead of {len(table) * 2 // 3}; {REBUILD}$"):
        read_judged(path, check, pd.DataFrame(plan.dreams))
    write_table(pd.concat([table, table.tail(1)]), path)
    with pytest.raises(UserError, match=rf"contains a duplicate row; {REBUILD}$"):
        read_judged(path, check.assign(unmatched=""), pd.DataFrame(plan.dreams))


def test_rows_are_identified_by_epochs_with_many_digits(tmp_path):
    rows = pd.DataFrame({"epoch": [0, 0.25, 1234.5678]})
    write_table(rows, tmp_path / "a.csv", "%.6g")
    assert (tmp_path / "a.csv").read_text() == "epoch\n0\n0.25\n1234.5678\n"
    assert len(read_table(tmp_path / "a.csv", rows=rows)) == 3


def test_a_missing_prepared_photograph_is_reported_with_the_data_sets_remedy(plan, tmp_path, counted):
    plan = starting()
    path = next(iter(start_photographs(start_images(plan, "ph"), plan.names).values()))
    shutil.move(path, tmp_path / path.name)
    try:
        for read in (
            lambda: start_photographs(start_images(plan, "ph"), plan.names),
            lambda: STAGES["overview"](plan, tmp_path),
        ):
            with pytest.raises(UserError) as error:
                read()
            assert str(error.value) == f"the prepared image '{path}' does not exist; {DATASET}"
    finally:
        shutil.move(tmp_path / path.name, path)
    counted(ROW)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("dataset/images/blue_jay/0001.png", decode),
        ("dataset/images/blue_jay/0000.png", lambda path: write_sheet([[path]], (32, 32), path.with_name("sheet.png"))),
    ],
)
@pytest.mark.parametrize("how", ["half", "empty"])
def test_a_damaged_image_is_reported(plan, name, read, how, counted):
    path = RESULTS / name
    good = damage(path, how)
    try:
        with pytest.raises(UserError) as error:
            read(path)
    finally:
        path.write_bytes(good)
    assert str(error.value).startswith(f"cannot read the image '{path}' (")
    assert str(error.value).endswith(REBUILD)
    counted(ROW)


@pytest.mark.parametrize("own", [False, True])
def test_a_damaged_start_photograph_is_reported_with_a_remedy_if_it_is_the_data_sets(plan, tmp_path, own, counted):
    plan = starting()
    photographs = start_photographs(start_images(plan, "ph"), plan.names)
    if own:
        photographs = dict.fromkeys(photographs, shutil.copy(photographs["blue_jay"], tmp_path / "own.png"))
    path = Path(photographs["blue_jay"])
    good = damage(path, "half")
    try:
        with pytest.raises(UserError) as error:
            job = dream_context(plan, photographs, str(path) if own else None)
            job.starts(["blue_jay"], [generator(0, "blue_jay")])
    finally:
        path.write_bytes(good)
    assert f"cannot read '{path}' (" in str(error.value)
    assert str(error.value).endswith("; replace it, or set another path" if own else f"; {DATASET}")
    assert str(error.value).startswith("dreams.recipes.") == own
    counted(ROW)


def dream_context(plan, photographs: dict[str, Path], start_path: str | None) -> DreamContext:
    """Return the context for dreams of the study's checkpoint that start from photographs."""
    parameters = {**plan.recipes["ph"], "start_path": start_path}
    weights = RESULTS / "runs/scratch/epoch-0001/model.safetensors"
    job = DreamJob(weights, "ph", parameters, plan.names, photographs, None, 4 * 10**9)
    return DreamContext(job, torch.device("cpu"))


def test_a_damaged_image_of_a_dream_is_reported_with_its_archive(plan, counted):
    path, views = RESULTS / ARCHIVE, views_of(plan)
    good, name = path.read_bytes(), "blue_jay/step-0003.png"
    position = good.index(b"IDAT", good.index(name.encode())) + 8
    path.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
    try:
        for read in (
            lambda: measure_saved(views, RealPixels.read(*OF_PIXELS), "another"),
            lambda: load_cell(Picture(path, name), 48),
            lambda: STAGES["gallery"](plan, path.with_name("gallery")),
        ):
            with pytest.raises(UserError, match=rf"^'{path}' is corrupt \(Bad CRC-32 for file '{name}'\); {REBUILD}$"):
                read()
    finally:
        path.write_bytes(good)
    counted(ROW)

"""Tables that a stage hands on to another, cut short: each is refused in one sentence with its remedy, and nothing is
made of what is left of it."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from dreambirds.data.dataset import decode
from dreambirds.data.tables import read_history, read_table, start_photographs, write_table
from dreambirds.dream_job.context import DreamContext, DreamJob
from dreambirds.errors import UserError
from dreambirds.evaluation.columns import read_dreams_and_runs
from dreambirds.evaluation.metrics import measure_saved
from dreambirds.evaluation.tables import read_judged
from dreambirds.figures.montage import load_cell
from dreambirds.figures.overview import write_overview
from dreambirds.figures.plots import write_plots
from dreambirds.gallery.findings import write_findings
from dreambirds.gallery.gallery import write_gallery, write_sheet
from dreambirds.plan import experiments
from dreambirds.plan.inputs import start_images
from dreambirds.plan.paths import job_folder
from dreambirds.plan.plan import make_plan
from dreambirds.seeding import generator
from tests.helpers.killing import files
from tests.helpers.studies import Study, tiny
from tests.helpers.values import dreams_of, gallery_study, views_of, write_all_tables, write_finding_of

ROW = "spoilt files between stages refused or made anew"
RESULTS = Path("results/tiny")
INDEX, HISTORY = "dreams/scratch/epoch-0001/study/dreams.csv", "runs/scratch/epoch-0001/history.csv"
ENDS = [f"{RESULTS}/{name}" for name in ("gallery/index.html", "finding/index.html", "dreams.csv")]
TRACE = "dreams/scratch/epoch-0001/study/blue_jay/trace.csv"


def asking() -> dict:
    """Return a config with one checkpoint, a judge and an experiment."""
    config = tiny()
    config["runs"]["scratch"]["epochs"] = [1]
    config["judges"] = {"j": {"train": {"model": "resnet10t", "epochs": [1], "batch_size": 8}}}
    config["experiment"] = {"question": "Do steps help?", "contrasts": [{"vary": "step"}]}
    return config


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Study:
    """Return a study that has been measured, and answered its question."""
    study = Study(tmp_path_factory.mktemp("whole"), asking())
    study.run(*ENDS)
    return study


@pytest.fixture
def plan(whole, monkeypatch):
    """Return its plan, in its folder."""
    monkeypatch.delenv("DREAMBIRDS_STORE", raising=False)
    monkeypatch.chdir(whole.folder)
    return make_plan(asking())


def starting():
    """Return the plan of the same study with dreams that start from photographs."""
    config = asking()
    config["dreams"]["recipes"]["ph"] = {"steps": [2], "start": "photograph"}
    return make_plan(config)


def measure(plan, out: Path) -> None:
    judged, checks = ([RESULTS / f"judged/{judge}{end}.csv" for judge in plan.judges] for end in ("", ".sanity"))
    names = ("dreams", "judgements", "runs", "judges")
    write_all_tables(plan, RESULTS, judged, checks, {name: out / f"{name}.csv" for name in names})


def collect(_plan, out: Path) -> None:
    write_findings("tiny", [RESULTS / "finding/finding.csv"], out / "index.html", out / "findings.csv")


STAGES = {
    "judge": lambda plan, _: dreams_of(plan, RESULTS),
    "measurements": measure,
    "curves": lambda *_: read_history(RESULTS / HISTORY, 1),
    "overview": lambda _, out: write_overview(RESULTS / "dataset", out / "a.png", out / "b.png", out / "c.csv"),
    "plots": lambda plan, out: write_plots(RESULTS, out, *read_dreams_and_runs(RESULTS, plan.dreams)),
    "gallery": lambda plan, out: write_gallery(gallery_study(plan), RESULTS, RESULTS / "dataset", out),
    "finding": lambda plan, out: write_finding_of(plan, RESULTS, out),
    "findings": collect,
}
SPOILT = {
    "half": lambda whole: whole[: len(whole) // 2],
    "header only": lambda whole: whole[: whole.index(b"\n") + 1],
    "a line less": lambda whole: whole[: whole.rindex(b"\n", 0, -1) + 1],
    "a letter less": lambda whole: whole[:-1],
    "nothing left": lambda whole: b"",
}
ANEW, TRAIN = "delete it, and the same command makes it again", "delete it to train that epoch again"
DATASET = "delete the folder 'results/tiny/dataset' and run again"
JOB = f"delete the folder '{RESULTS / Path(INDEX).parent}', and the same command makes it again"
READ = [
    ("judged/j.csv", "measurements", ANEW),
    ("judged/j.sanity.csv", "measurements", ANEW),
    (INDEX, "judge", ANEW),
    (INDEX, "measurements", ANEW),
    (HISTORY, "measurements", TRAIN),
    (HISTORY, "curves", TRAIN),
    ("dreams.csv", "plots", ANEW),
    ("runs.csv", "plots", ANEW),
    (TRACE, "plots", JOB),
    ("dreams.csv", "gallery", ANEW),
    ("runs.csv", "gallery", ANEW),
    ("dreams.csv", "finding", ANEW),
    ("runs.csv", "finding", ANEW),
    ("judges.csv", "finding", ANEW),
    ("finding/finding.csv", "findings", ANEW),
    ("dataset/images.csv", "overview", DATASET),
    ("dataset/labels.csv", "overview", DATASET),
    ("dataset/images.csv", "gallery", DATASET),
]


def spoil(path: Path, how: str) -> bytes:
    """Spoil a file; return what it was."""
    good = path.read_bytes()
    path.write_bytes(SPOILT[how](good))
    return good


def can_tell(name: str, how: str) -> bool:
    """Tell whether a table lacks something then: one edited by hand may end without a line break, and the number of an
    experiment's comparisons is its own."""
    return not (how == "a letter less" and name.startswith("dataset")) and not (
        how == "a line less" and name.startswith("finding")
    )


def test_a_cut_table_is_told_by_the_workflow_and_made_again_once_it_is_deleted(whole, counted):
    expected, name = files(whole), "judged/j.csv"
    spoil(whole.results / name, "half")
    result = whole.snakemake(*ENDS)
    told = [line for line in result.stdout.splitlines() if line.startswith("Error: ")]
    assert result.returncode != 0 and "Traceback" not in result.stdout, result.stdout[-3000:]
    assert told[0] == f"Error: '{RESULTS / name}' is cut: its last line is not whole; {ANEW}"
    assert all((whole.folder / page).exists() for page in ENDS[:2])
    (whole.results / name).unlink()
    whole.run(*ENDS)
    assert files(whole) == expected
    counted(ROW)


@pytest.mark.parametrize(
    ("name", "stage", "remedy", "how"), [(*read, how) for read in READ for how in SPOILT if can_tell(read[0], how)]
)
def test_a_table_that_is_cut_is_refused_and_nothing_made_of_it(plan, tmp_path, name, stage, remedy, how, counted):
    path = RESULTS / name
    good = spoil(path, how)
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
def test_whole_tables_are_read(plan, tmp_path, stage):
    STAGES[stage](plan, tmp_path)


def test_a_judge_need_not_know_every_class_but_may_say_nothing_of_others(plan, tmp_path):
    check = read_table(RESULTS / "judged/j.sanity.csv").assign(unmatched="blue_jay")
    table, path = read_table(RESULTS / "judged/j.csv"), tmp_path / "j.csv"
    write_table(table[table["label"] != "blue_jay"], path)
    assert len(read_judged(path, check, plan.dreams)) == len(table) * 2 // 3
    write_table(table, path)
    with pytest.raises(UserError, match=rf"has {len(table)} rows instead of {len(table) * 2 // 3}; {ANEW}$"):
        read_judged(path, check, plan.dreams)
    write_table(pd.concat([table, table.tail(1)]), path)
    with pytest.raises(UserError, match=rf"has a row twice; {ANEW}$"):
        read_judged(path, check.assign(unmatched=""), plan.dreams)


def test_rows_are_known_by_epochs_of_many_digits(tmp_path):
    rows = pd.DataFrame({"epoch": [0, 0.25, 1234.5678]})
    write_table(rows, tmp_path / "a.csv", "%.6g")
    assert (tmp_path / "a.csv").read_text() == "epoch\n0\n0.25\n1234.5678\n"
    assert len(read_table(tmp_path / "a.csv", rows=rows)) == 3


def test_an_experiment_whose_table_is_cut_is_not_copied(plan, tmp_path, monkeypatch, counted):
    monkeypatch.setattr(experiments, "_command", lambda *_: ["true"])
    path = RESULTS / "finding/finding.csv"
    good = spoil(path, "half")
    places = {"config_file": tmp_path / "e.yaml", "said": tmp_path / "e.log"}
    try:
        with pytest.raises(UserError, match=rf"^'{path}' is cut: .*; delete the folder '{path.parent}', and "):
            experiments.run_experiment({"study": "tiny"}, 1, **places, page=tmp_path / "p", table=tmp_path / "t")
    finally:
        path.write_bytes(good)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["e.log", "e.yaml"]
    counted(ROW)


def test_a_prepared_photograph_that_is_gone_is_told_with_the_data_sets_remedy(plan, tmp_path, counted):
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
            assert str(error.value) == f"the prepared picture '{path}' is not there; {DATASET}"
    finally:
        shutil.move(tmp_path / path.name, path)
    counted(ROW)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("dreams/scratch/epoch-0001/study/blue_jay/step-0003.png", lambda path: load_cell(path, 48)),
        ("dreams/scratch/epoch-0001/study/blue_jay/step-0003-rescaled.png", decode),
        ("dataset/images/blue_jay/0000.png", lambda path: write_sheet([[path]], (32, 32), path.with_name("sheet.png"))),
    ],
)
@pytest.mark.parametrize("how", ["half", "nothing left"])
def test_a_damaged_picture_is_told(plan, name, read, how, counted):
    path = RESULTS / name
    good = spoil(path, how)
    try:
        with pytest.raises(UserError) as error:
            read(path)
    finally:
        path.write_bytes(good)
    assert str(error.value).startswith(f"the picture '{path}' can't be read (")
    assert str(error.value).endswith(ANEW)
    counted(ROW)


@pytest.mark.parametrize("own", [False, True])
def test_a_damaged_start_photograph_is_told_with_a_remedy_if_it_is_the_data_sets(plan, tmp_path, own, counted):
    plan = starting()
    photographs = start_photographs(start_images(plan, "ph"), plan.names)
    if own:
        photographs = dict.fromkeys(photographs, shutil.copy(photographs["blue_jay"], tmp_path / "own.png"))
    path = Path(photographs["blue_jay"])
    good = spoil(path, "half")
    try:
        with pytest.raises(UserError) as error:
            ready(plan, photographs, str(path) if own else None).starts(["blue_jay"], [generator(0, "blue_jay")])
    finally:
        path.write_bytes(good)
    assert f"cannot read the start photograph '{path}': " in str(error.value)
    assert str(error.value).endswith(f"; {DATASET}") != own
    counted(ROW)


def ready(plan, photographs: dict[str, Path], start_path: str | None) -> DreamContext:
    """Return the study's checkpoint, ready to dream from photographs."""
    parameters = {**plan.recipes["ph"], "start_path": start_path}
    folder = Path(job_folder("tiny", "scratch", 1, "ph"))
    weights = RESULTS / "runs/scratch/epoch-0001/model.safetensors"
    job = DreamJob(weights, "ph", parameters, plan.names, photographs, None, folder, 4 * 10**9)
    return DreamContext(job, torch.device("cpu"))


def test_a_dreams_picture_that_is_cut_is_told_with_its_own_remedy(plan, counted):
    views = views_of(plan, RESULTS)
    path = RESULTS / "dreams/scratch/epoch-0001/study/blue_jay/step-0003.png"
    good = spoil(path, "half")
    try:
        for read in (lambda: measure_saved(views, RESULTS / "dataset", "another"), lambda: decode(path, ANEW)):
            with pytest.raises(UserError, match=rf"^the picture '{path}' can't be read \(.*\); {ANEW}$"):
                read()
    finally:
        path.write_bytes(good)
    counted(ROW)

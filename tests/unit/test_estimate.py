"""The estimate of a study's time and disk: from records of earlier jobs, against sums written out by hand."""

import logging
import re
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
import timm

from dreambirds.io import store_root
from dreambirds.plan import inputs, targets
from dreambirds.plan.paths import checkpoint_folder
from dreambirds.plan.plan import make_plan
from dreambirds.runtime import timings
from dreambirds.runtime.timings import (
    dream_work,
    job_work,
    judge_work,
    record,
    seconds_per_unit,
    time_text,
    training_work,
)
from dreambirds.startup.estimate import Estimate, estimate, granted_cores, size_text
from dreambirds.startup.memory_profile import check_models
from dreambirds.startup.preflight import announce_study
from tests.helpers.chains import link
from tests.helpers.plans import config

IMAGES = 20  # per class; a fifth of them validates


@pytest.fixture(autouse=True)
def empty_store(tmp_path, monkeypatch):
    """Begin without any record, in a folder without results."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(timings, "recorded_here", [])


@pytest.fixture
def plan():
    """Return a plan of 3 checkpoints of one run on 2 classes, which dream 2 steps of one recipe; one judge learns."""
    judge = {"train": {"model": "test_vit", "epochs": [2]}}
    keys = {
        "dataset__images_per_label": IMAGES,
        "dataset__image_size": 64,
        "threads": {"train": 2, "dream": 1},
        "judges": {"judge": judge},
    }
    return make_plan(config(**keys))


def record_all(plan, rules=()) -> None:
    """Record 0.5 s per image for training, 3 s for a dream's step, 0.25 s per judged image, and seconds of jobs."""
    for run in plan.trained.values():
        record(training_work(run, (64, 64)), 50, 100)
    record(dream_work("test_resnet", plan.recipes["study"], (64, 64)), 6, 2)
    record(judge_work("judge"), 1, 4)
    for rule, seconds in rules:
        record(job_work(rule), seconds)


def test_the_time_is_the_sum_over_training_dreams_judges_and_jobs(plan):
    jobs = [("train", 10), ("dream", 20), ("judge", 30), ("dataset", 1), ("overview", 2), ("curves", 3), ("montage", 4)]
    record_all(plan, [*jobs, ("film", 5), ("results", 6), ("pixels", 7)])
    training = 0.5 * 0.8 * 2 * IMAGES * (4 + 2)  # up to epoch 4 of the run, and to epoch 2 of the judge
    dreams = 3 * 3 * 2 * 5  # checkpoints, labels, and steps up to the last one
    judged = 0.25 * 3 * 2 * 2 * 2  # checkpoints, labels, steps, and views
    serial = (training + 4 * 10) * 2  # both threads: these take both cores, all others one
    single = dreams + 3 * 20 + judged + 3 * 30 + 1 + 2 + 3 + 5 * 4 + 2 * 5 + 6 * 3 + 7 * 3
    expected = estimate(plan, plan.dream_jobs, 2)
    assert expected.unknown == [] and expected.seconds == pytest.approx((serial + single) / 2)
    assert estimate(plan, plan.dream_jobs, 1).seconds == pytest.approx(serial / 2 + single), "one core for each"
    assert estimate(plan, plan.dream_jobs, None).seconds == pytest.approx(serial / 2 + single)
    assert "of all jobs together" in str(estimate(plan, plan.dream_jobs, None))


def test_existing_results_are_not_counted(plan, tmp_path):
    record_all(plan)
    before = estimate(plan, plan.dream_jobs, 1)
    checkpoint = tmp_path / "results/default/runs/scratch/epoch-0001/model.safetensors"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    after = estimate(plan, [job for job in plan.dream_jobs if job.epoch == 4], 1)
    assert before.seconds - after.seconds == pytest.approx(0.5 * 0.8 * 2 * IMAGES * 1 + 3 * 2 * 2 * 5)


def test_without_records_the_time_is_unknown_until_the_first_epoch(plan):
    assert str(estimate(plan, plan.dream_jobs, 2)).startswith(
        "Expected: time unknown until the first epoch; more than "
    )


def test_work_without_a_record_is_reported(plan):
    record(training_work(plan.trained["scratch"], (64, 64)), 100, 1)
    message = str(estimate(plan, plan.dream_jobs, 1))
    assert message.startswith("Expected: more than 3 h 33 min on 1 core (no record yet of training 'judge', dreams ")
    assert "…" in message


def test_a_finished_study_has_no_estimate(plan, tmp_path):
    for file in _all_files(plan):
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert estimate(plan, [], 2) is None


def _all_files(plan) -> list[str]:
    """Return the files of a finished study that the estimate looks for."""
    checkpoints = [(run, epoch) for run in plan.trained for epoch in plan.epochs(run)]
    weights = [f"{checkpoint_folder('default', *checkpoint)}/model.safetensors" for checkpoint in checkpoints]
    figures = [*targets.montages(plan), *targets.films(plan), *targets.curves(plan), *targets.overview(plan)]
    tables = [
        *targets.results(plan, ()),
        *inputs.measured(plan, plan.judges, plan.dream_jobs)["judged"],
        *inputs.pixel_tables(plan, plan.dream_jobs),
        "results/default/dataset/images.csv",
    ]
    return [*weights, *figures, *tables]


def test_the_disk_estimate_covers_images_traces_and_checkpoints(plan):
    check_models(plan)
    images = 3 * 2 * 2 * 2 * 64 * 64 * 3  # checkpoints, labels, steps and views, in bytes before compression
    figures = 3 * images
    traces = 3 * 2 * 5 * 56
    prepared = 2 * IMAGES * 64 * 64 * 3
    checkpoints = 3 * _checkpoint_bytes("test_resnet") + _checkpoint_bytes("test_vit")
    size = estimate(plan, plan.dream_jobs, 1).size
    assert size == pytest.approx(checkpoints + 0.6 * (2 * images + figures) + 2 * traces + 1.6 * prepared, rel=0.01)


def _checkpoint_bytes(model: str) -> int:
    """Return the bytes of a network for 2 classes, and of the two moments that AdamW keeps of each parameter."""
    network = timm.create_model(model, num_classes=2)
    parameters = sum(parameter.nbytes for parameter in network.parameters())
    return 3 * parameters + sum(buffer.nbytes for buffer in network.buffers())


def test_a_disk_that_is_too_small_is_reported():
    texts = [str(Estimate(60, [], 3 * 10**9, free, 2)) for free in (10**9, 4 * 10**9)]
    assert texts[0] == "Expected: about 60 s on 2 cores; about 3.0 GB of disk, but only 1.0 GB are free."
    assert texts[1] == "Expected: about 60 s on 2 cores; about 3.0 GB of disk."


def test_the_announcement_counts_in_the_singular_and_the_plural(plan, capsys):
    announce_study(plan, 2)
    first, second = capsys.readouterr().err.splitlines()
    assert first == (
        "Study 'default': 12 dreams requested (3 checkpoints, 1 run, 1 recipe, 2 classes), 0 of them exist."
    )
    assert second.startswith("Expected: time unknown until the first epoch; more than ")


def test_a_record_replaces_the_previous_one_and_a_corrupt_one_is_ignored():
    work = judge_work("judge")
    assert seconds_per_unit(work) is None
    record(work, 10, 5)
    record(work, 12, 4)
    assert seconds_per_unit(work) == 3
    record(work, 99, 0)  # nothing was done
    assert seconds_per_unit(work) == 3
    (path,) = (store_root() / "timings").iterdir()
    for text in ("", "{}", '{"seconds": "NaN"}', '{"seconds": -1}', "[1]"):
        path.write_text(text)
        assert seconds_per_unit(work) is None


def test_training_records_its_time_and_logs_the_remaining_time_after_its_first_epoch(tmp_path, dataset, run, caplog):
    caplog.set_level(logging.INFO)
    settings = run()
    link(tmp_path, dataset, settings, 3)
    lines = [line for line in caplog.messages if line.startswith("a")]
    assert [line.split(":")[0] for line in lines] == ["a epoch 0", "a epoch 1", "a", "a epoch 2", "a epoch 3"]
    assert re.fullmatch(r"a: about \d+ s left to epoch 3", lines[2])
    each = seconds_per_unit(training_work(settings, (32, 32)))
    epochs = pd.read_csv(tmp_path / "epoch-0003/history.csv")
    assert epochs["seconds"].iloc[-1] / (2 * 8) <= each < 1, "with validation and the checkpoint"


def test_different_networks_sizes_and_recipes_are_recorded_separately():
    keys = make_plan(config()).recipes["study"]
    kinds = [dream_work("a", keys, (64, 64)), dream_work("b", keys, (64, 64)), dream_work("a", keys, (64, 96))]
    kinds.append(dream_work("a", keys | {"octaves": 3}, (64, 64)))
    for number, work in enumerate(kinds, start=1):
        record(work, number)
    assert [seconds_per_unit(work) for work in kinds] == [1, 2, 3, 4]
    assert dream_work("a", keys | {"seed": 5, "step_size": 9}, (64, 64)) == kinds[0]


def test_a_job_records_its_time_minus_that_of_its_work(monkeypatch):
    monkeypatch.setattr(timings, "_started", lambda: 100.0)
    monkeypatch.setattr(timings.time, "time", lambda: 160.0)
    record(judge_work("judge"), 45, 9)
    timings.record_job("judge")
    assert seconds_per_unit(job_work("judge")) == 15


def test_a_dry_run_without_cores_is_estimated_for_all_of_them(monkeypatch):
    monkeypatch.setattr("dreambirds.startup.estimate.cpu_count", lambda: 7)
    for arguments, cores, expected in [(["-n"], 1, 7), (["-n"], 3, 3), (["--cores", "1"], 1, 1), ([], None, None)]:
        monkeypatch.setattr(sys, "argv", ["snakemake", *arguments])
        settings = SimpleNamespace(cores=cores, nodes=1)
        assert granted_cores(SimpleNamespace(resource_settings=settings)) == expected


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (45, "45 s"),
        (90, "2 min"),
        (3569, "59 min"),
        (3600, "1 h"),
        (12000, "3 h 20 min"),
        (90000, "1 d 1 h"),
    ],
)
def test_times_are_formatted_for_people(seconds, text):
    assert time_text(seconds) == text


@pytest.mark.parametrize(("size", "text"), [(1, "1 MB"), (58_000_000, "58 MB"), (1_230_000_000, "1.2 GB")])
def test_sizes_are_formatted_for_people(size, text):
    assert size_text(size) == text

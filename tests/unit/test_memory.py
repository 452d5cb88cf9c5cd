"""Requested memory of jobs, compared with the memory that real jobs use."""

import multiprocessing
import os
import re
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from dreambirds.data.dataset import write_packed
from dreambirds.data.labels import Label
from dreambirds.data.tables import IMAGE_COLUMNS, label_table
from dreambirds.dream_job.batches import SHARE, batch_size, estimate_activation_memory
from dreambirds.dream_job.context import DreamJob
from dreambirds.dream_job.run import run_dream_job
from dreambirds.dreaming.matching import PIXELS
from dreambirds.dreaming.recipe import as_recipe
from dreambirds.models import MODEL_FILE
from dreambirds.models.checkpoint import CheckpointInfo, save_checkpoint
from dreambirds.models.classifier import build
from dreambirds.models.inference import prepare_for_inference
from dreambirds.plan import measurements, memory
from dreambirds.plan.measurements import stored
from dreambirds.startup.memory_profile import check_models
from dreambirds.training.job import TrainJob, run_train_job
from tests.helpers.plans import BIRDS, STEPS, measured, plan_of

pytestmark = pytest.mark.usefixtures("files")
ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
LARGE = pytest.param(("inception_v4", 128, 8), marks=pytest.mark.exhaustive, id="inception_v4")
MIDDLE = pytest.param(("resnet18", 128, 16), marks=pytest.mark.exhaustive, id="resnet18")
CASES = [("test_resnet", 64, 32), MIDDLE, LARGE]


def test_without_measurements_jobs_request_a_default():
    plan = plan_of(threads={"loader_workers": 2}, batch_size=100, compile=True)
    assert memory.train_mb(plan, stored(plan), "a") == 4000 + 1000 + 2 * 500 + 100, "and 2 MB of images in each process"
    assert (
        memory.dream_mb(plan, stored(plan), "a", "r") == 4000
        and memory.dream_bytes(plan, stored(plan), "a", "r") == 3_100_000_000
    )
    check_models(plan)
    assert (
        memory.train_mb(plan, stored(plan), "a") < 4000 + 1000 and memory.dream_mb(plan, stored(plan), "a", "r") < 1500
    )


def requested(found: dict, **more) -> int:
    """Return the memory that training requests, given the measurements of its model."""
    plan = plan_of(**more)
    measurements.write(measurements.training(plan, "a"), {"weights": 0, "learning": 0, "image": 0, **found})
    measurements.write(measurements.optimizer(plan, "a"), {"per_byte": 2.0})
    return memory.train_mb(plan, stored(plan), "a")


def test_training_requests_memory_for_process_weights_images_and_loaders():
    mega = 10**6
    assert requested({}, batch_size=2) == 1000, "rounded up to hundreds, above 900"
    assert requested({"weights": 1000 * mega}, batch_size=2) == 1000 + 3000
    assert requested({"learning": 1000 * mega}, batch_size=2) == 1000 + 5000, "gradients, and two moments, twice"
    assert requested({"image": 10 * mega}, batch_size=100) == 1000 + 1600
    image_bytes = 4 * 3 * 1000**2
    assert requested({}, batch_size=100, size=1000) == pytest.approx(900 + 8 * 100 * image_bytes / mega, abs=100)
    loading = 3 * (500 + 2 * 100 * image_bytes / 4 / mega)  # in uint8
    more = requested({}, batch_size=100, size=1000, threads={"loader_workers": 3}) - requested(
        {}, batch_size=100, size=1000
    )
    assert more == pytest.approx(loading, abs=100)
    assert requested({}, batch_size=2, compile=True) == 2000
    assert requested({}, batch_size=2, gpu=1) == 1000 + 2500 == requested({"image": 10 * mega}, batch_size=100, gpu=1)
    assert requested({"image": 100 * mega}, batch_size=100, gpu=1) == 1000 + 16_000, "in case there is no GPU"


def dreaming(image_bytes: int, recipe: dict | None = None, weights: int = 0, **more) -> tuple[int, int]:
    """Return the requested MB and the batch size of a dream job, by bytes per image."""
    plan = plan_of({"r": {**STEPS, **(recipe or {})}}, **{"labels": None, **more})
    measurements.write(measurements.training(plan, "a"), {"weights": weights, "learning": 0, "image": 0})
    measurements.write(measurements.dreaming(plan, "a", "r"), {"image": image_bytes})
    keys, pixels = plan.recipes["r"], np.prod(plan.shape("r"))
    film = 3 * pixels * (keys["steps"][-1] // keys["film_every"] + 2) if keys["film_every"] else 0
    free = memory.dream_bytes(plan, stored(plan), "a", "r")
    return memory.dream_mb(plan, stored(plan), "a", "r"), batch_size(int(image_bytes + film), free, CPU)


def test_dreams_request_memory_for_all_labels_and_the_job_computes_the_same_batch_size():
    mega = 10**6
    assert 1 <= memory.ROOM * SHARE < 1 + 1 / 16
    assert dreaming(10 * mega) == (1000, 8), "eight drawn species"
    assert dreaming(100 * mega) == (1800, 8) and dreaming(100 * mega, labels=BIRDS) == (1300, 3)
    assert dreaming(100 * mega, labels_per_job=5) == (1500, 5)
    assert dreaming(100 * mega, weights=200 * mega) == (2800, 8), "five copies while the checkpoint is prepared"
    assert dreaming(1000 * mega) == (8000, 7), "no more than the limit"
    assert dreaming(1000 * mega, weights=600 * mega) == (8000, 4)
    assert dreaming(9000 * mega) == (10_000, 1), "except for a single image"
    assert dreaming(1000 * mega, gpu=1) == (8000, 7) and dreaming(10 * mega, gpu=1) == (3500, 8)


def test_less_memory_means_smaller_batches_and_more_memory_for_a_retry_changes_nothing():
    plan = plan_of({"r": STEPS}, labels=None)
    measurements.write(measurements.training(plan, "a"), {"weights": 0, "learning": 0, "image": 0})
    measurements.write(measurements.dreaming(plan, "a", "r"), {"image": 10**8})
    assert memory.dream_mb(plan, stored(plan), "a", "r") == 1800
    batches = {
        mb: batch_size(10**8, memory.memory_budget(plan, stored(plan), "a", "r", mb), CPU)
        for mb in (100, 1300, 1800, 3600, 5400)
    }
    assert batches == {100: 1, 1300: 4, 1800: 8, 3600: 8, 5400: 8}


def test_films_and_kept_steps_take_memory():
    mega, pixels = 10**6, 1024**2
    plain, batch = dreaming(mega, {"size": 1024})
    assert batch == 8
    many = {"size": 1024, "steps": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]}
    assert dreaming(mega, many)[0] - plain == pytest.approx(8 * 10 * 12 * pixels / mega, abs=100)
    film, batch = dreaming(mega, {"size": 1024, "steps": [20], "film_every": 2})
    assert batch == 8 and film - plain == pytest.approx((8 * 3 + 60) * 12 * pixels / mega, abs=100)


def test_the_photographs_of_a_class_take_memory_before_its_dream():
    mega, portrait = 10**6, {"preset": "portrait", "size": 512, "match_photographs": 100}
    assert memory.PHOTOGRAPH_PIXELS == PIXELS
    photographs = 100 * 4 * 3 * 512**2 / mega
    few, batch = dreaming(100 * mega, portrait, size=224, labels=BIRDS)
    assert batch == 3 and few == pytest.approx(900 + 2 * photographs + 16 * 100 / 4, abs=100)
    uncropped = {**portrait, "crop_area": None, "whole_views": 0.0}
    assert dreaming(100 * mega, uncropped, size=224, labels=BIRDS)[0] == pytest.approx(
        900 + 2 * photographs + 75, abs=100
    )
    assert dreaming(1000 * mega, portrait, size=224, labels=BIRDS)[0] == pytest.approx(
        900 + 2 * photographs + 4000, abs=100
    )
    assert dreaming(400 * mega, {**portrait, "match_photographs": 2}, size=224)[0] == 4200, "the batch takes more"


def test_the_batch_of_a_job_fits_on_the_model_that_it_dreams_with():
    recipe = {"octaves": 2, "octave_steps": 1, "pad": 4, "objective": "layer_l2:layer2"}
    plan = measured({"r": {**STEPS, **recipe}}, size=64, labels=None)
    model = prepare_for_inference(build("test_resnet", 8, {}), 64, CPU, hooked=["layer2"])
    image_bytes = estimate_activation_memory(model, as_recipe(plan.recipes["r"], 64), (64, 64))
    assert measurements.read(measurements.dreaming(plan, "a", "r")) == {"image": image_bytes}
    assert batch_size(image_bytes, memory.dream_bytes(plan, stored(plan), "a", "r"), CPU) == 8


def peak() -> int:
    """Return the peak resident memory of this process in bytes, from the kernel."""
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def train_job(folder: Path, run: dict) -> int:
    """Train a new run for two updates, and return the peak memory."""
    torch.set_num_threads(1)
    run_train_job(TrainJob("a", run, folder, 1, None, folder / "epoch-0001"), CPU)
    return peak()


def dream_job(job: DreamJob, folder: Path) -> int:
    """Dream with an empty store, and return the peak memory."""
    torch.set_num_threads(1)
    os.environ["DREAMBIRDS_STORE"] = str(folder / "empty")
    run_dream_job(job, CPU, folder / "dreams.zip")
    return peak()


@pytest.fixture(scope="module")
def spawned():
    """Return an executor that runs every call in a new process.

    A fork would not count the pages of libraries.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context, max_tasks_per_child=1) as executor:
        yield executor


def noise(folder: Path, side: int, batch: int, labels: list[str]) -> Path:
    """Write a prepared data set of noise: two batches to train on, one to validate."""
    folder.mkdir()
    random, rows = np.random.default_rng(0), []
    with write_packed(folder, (side, side)) as append:
        for number in range(3 * batch):
            image = random.integers(0, 256, (3, side, side), dtype=np.uint8)
            append(image)
            digest = sha256(image.transpose(1, 2, 0).tobytes()).hexdigest()
            split = "train" if number < 2 * batch else "validation"
            row = {"path": f"images/a/{number}.png", "label": labels[number % len(labels)], "split": split}
            rows.append({**row, "sha256": digest})
    images = pd.DataFrame(rows).reindex(columns=IMAGE_COLUMNS)
    images.to_csv(folder / "images.csv", index=False)
    label_table(images, [Label(label, label) for label in labels]).to_csv(folder / "labels.csv", index=False)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_real_jobs_use_less_memory_than_requested_but_not_far_less(case, tmp_path, spawned):
    model, side, batch = case
    plan = measured(size=side, model=model, batch_size=batch, labels=None)
    labels, checkpoint = list(plan.names), tmp_path / "epoch-0001"
    save_checkpoint(checkpoint, build(model, len(labels), {}), CheckpointInfo(model, {}, labels, "a", 1, side))
    free = memory.dream_bytes(plan, stored(plan), "a", "r")
    job = DreamJob(checkpoint / MODEL_FILE, "r", plan.recipes["r"], plan.names, {}, None, free)
    data = noise(tmp_path / "data", side, batch, labels)
    jobs = [
        (memory.train_mb(plan, stored(plan), "a"), spawned.submit(train_job, data, plan.config["runs"]["a"])),
        (memory.dream_mb(plan, stored(plan), "a", "r"), spawned.submit(dream_job, job, tmp_path)),
    ]
    for requested_mb, found in jobs:
        used = found.result() / 10**6
        print(f"{case}: requests {requested_mb} MB, uses {used:.0f} MB")
        assert used <= requested_mb <= 2.5 * used + 500


@pytest.mark.slow
def test_a_real_job_that_compares_with_photographs_uses_less_memory_than_requested(tmp_path, spawned):
    recipe = {"preset": "portrait", "size": 128, "steps": [3], "pyramid_steps": 2, "crop_area": 0.5}
    plan = measured({"r": recipe}, size=64, labels=None)
    labels, checkpoint = list(plan.names), tmp_path / "epoch-0001"
    info = CheckpointInfo("test_resnet", {}, labels, "a", 1, 64)
    save_checkpoint(checkpoint, build("test_resnet", len(labels), {}), info)
    data = noise(tmp_path / "data", 128, 24 * len(labels), labels)
    free = memory.dream_bytes(plan, stored(plan), "a", "r")
    job = DreamJob(checkpoint / MODEL_FILE, "r", plan.recipes["r"], plan.names, {}, None, free)
    job = replace(job, references=data)
    requested_mb = memory.dream_mb(plan, stored(plan), "a", "r")
    used = spawned.submit(dream_job, job, tmp_path).result() / 10**6
    print(f"requests {requested_mb} MB, uses {used:.0f} MB")
    assert used <= requested_mb <= 2.5 * used + 500

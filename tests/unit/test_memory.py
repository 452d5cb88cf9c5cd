"""What jobs ask for in memory, against what real jobs take."""

import multiprocessing
import os
import re
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from dreambirds.data.packed import packing
from dreambirds.dreaming.batches import LARGEST, SHARE, batch_size
from dreambirds.dreaming.rehearsal import rehearse
from dreambirds.errors import StudyError
from dreambirds.models.build import Classifier, build
from dreambirds.models.checkpoint import Card, save_checkpoint
from dreambirds.models.frozen import freeze
from dreambirds.pictures import measuring
from dreambirds.pictures.dreams import dream_all
from dreambirds.pictures.measuring import kept_in_training, measure, optimiser_state
from dreambirds.pictures.ready import Job, as_recipe
from dreambirds.study import memory
from dreambirds.study.plan import make_plan
from dreambirds.training.files import Files
from dreambirds.training.segment import Segment, train_segment

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
BIRDS = ["blue_jay", "northern_cardinal", "yellow_warbler"]
STEPS = {"preset": "original", "steps": [3]}
CASES = [("test_resnet", 64, 32), ("resnet18", 128, 16), ("inception_v4", 128, 8)]


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    """Begin with nothing measured."""
    monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(memory, "_known", {})
    return tmp_path / "store" / "memory"


def plan_of(recipes: dict | None = None, size: int = 32, labels: list[str] | None = BIRDS, **more):
    """Return a plan of one run, `a`; what is not of the config's first level belongs to that."""
    config = {key: more.pop(key) for key in ("threads", "gpu") if key in more}
    dataset = {"image_size": size, "labels": labels}
    dreams = {"recipes": recipes or {"r": STEPS}, "labels_per_job": more.pop("labels_per_job", None)}
    runs = {"a": {"model": "test_resnet", **more}}
    return make_plan({"gpu": 0, "dataset": dataset, "runs": runs, "dreams": dreams, **config})


def measured(*arguments, **more):
    """Return a plan of which all is measured."""
    plan = plan_of(*arguments, **more)
    measure(plan)
    return plan


def counted(monkeypatch, name: str) -> list:
    """Return the list to which every call of a function of `measuring` is added."""
    calls, function = [], getattr(measuring, name)
    monkeypatch.setattr(measuring, name, lambda *words: calls.append(words) or function(*words))
    return calls


def shallow(side: int) -> Classifier:
    """Return a network of which it is known what it keeps: the convolution its input, the tangent its output, and the
    linear layer its input, which is that output in another order."""
    layers = [nn.Conv2d(3, 8, 1), nn.Tanh(), nn.Flatten(), nn.Linear(8 * side**2, 2)]
    return Classifier(nn.Sequential(*layers)).to(memory_format=torch.channels_last)


def test_nothing_is_measured_twice_and_no_model_is_built_twice(files, monkeypatch):
    built, rehearsed, frozen = (counted(monkeypatch, name) for name in ("build", "rehearse", "freeze"))
    alike = {"r": {**STEPS, "blur_sigma": [0.25, 0.5, 1.0], "step_size": [0.01, 0.02]}}
    plan = plan_of({**alike, "pads": {**STEPS, "pad": [1, 2]}, "prior": {**STEPS, "batch_norm_prior": [0.1, 1.0]}})
    assert len(plan.recipes) == 10 and memory.unknown(plan)
    measure(plan)
    assert not memory.unknown(plan)
    assert len(built) == 1 and len(rehearsed) == 1 + 2 + 1, "what decides no memory is not tried again"
    assert len(frozen) == 2, "folded for most, and with its batch norms"
    assert len(list(files.glob("*.json"))) == 2 + 4 and not [*files.glob(".*")]
    memory._known.clear()
    assert not memory.unknown(plan), "another process reads the files"
    measure(plan)
    assert len(built) == 1
    for change in ({"labels": BIRDS[:2]}, {"size": 48}, {"model": "test_resnet", "model_options": {"drop_rate": 0.1}}):
        other = plan_of(**change)
        assert memory.read(memory.training(other, "a")) is None is memory.read(memory.dreaming(other, "a", "r"))
    for change in ({"epochs": [0, 1, 9]}, {"batch_size": 64, "learning_rate": 1.0}, {"threads": {"load": 1}}):
        assert not memory.unknown(plan_of(**change))
    measure(plan_of(optimizer="momentum"))
    assert len(built) == 2 and len(rehearsed) == 4 and len(list(files.glob("*.json"))) == 7


def test_what_was_measured_by_other_code_or_libraries_or_is_damaged_is_not_known(files, monkeypatch):
    plan = measured()
    memory._known.clear()
    with monkeypatch.context() as other:
        other.setattr(memory, "_measurer", lambda: ["torch 9"])
        assert memory.unknown(plan)
    assert not memory.unknown(plan)
    for damage in ("", "{", "[]", '{"found": 3}', "{}"):
        for path in files.glob("*.json"):
            path.write_text(damage)
        memory._known.clear()
        assert memory.unknown(plan) and memory.train_mb(plan, "a") == memory.dream_mb(plan, "a", "r") == 4000
    measure(plan)
    memory._known.clear()
    assert not memory.unknown(plan)


def test_where_nothing_can_be_kept_the_process_knows_it_still(tmp_path):
    (tmp_path / "store").write_text("a file where the folder would be")
    plan = measured()
    assert not memory.unknown(plan) and memory.train_mb(plan, "a") < 1500


def test_asking_does_not_import_torch(files):
    measured()
    code = """
import sys
from dreambirds.study import memory
from dreambirds.study.plan import make_plan
dataset = {"image_size": 32, "labels": ["blue_jay", "northern_cardinal", "yellow_warbler"]}
recipes = {"r": {"preset": "original", "steps": [3]}}
config = {"gpu": 0, "dataset": dataset, "runs": {"a": {"model": "test_resnet"}}, "dreams": {"recipes": recipes}}
plan = make_plan(config)
assert not memory.unknown(plan)
assert memory.train_mb(plan, "a") < 1500 > memory.dream_mb(plan, "a", "r") and memory.dream_bytes(plan, "a", "r")
assert not {"torch", "timm"} & sys.modules.keys()
"""
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT / "workflow")}
    done = subprocess.run([sys.executable, "-c", code], env=surroundings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_measurements_jobs_ask_for_a_default():
    plan = plan_of(threads={"load": 2}, batch_size=100, compile=True)
    assert memory.train_mb(plan, "a") == 4000 + 1000 + 2 * 500 + 100, "and for 2 MB of pictures in each process"
    assert memory.dream_mb(plan, "a", "r") == 4000 and memory.dream_bytes(plan, "a", "r") == 3_100_000_000
    measure(plan)
    assert memory.train_mb(plan, "a") < 4000 + 1000 and memory.dream_mb(plan, "a", "r") < 1500


def test_a_training_picture_keeps_what_the_backward_pass_needs():
    classifier, pixels = shallow(64), 64**2
    assert kept_in_training(classifier.train(), (64, 64)) == (3 + 8 + 8) * 4 * pixels
    for parameter in classifier.network[0].parameters():
        parameter.requires_grad_(False)
    assert kept_in_training(classifier, (64, 64)) == 2 * 8 * 4 * pixels, "two of the largest activations, if it is more"
    with pytest.raises(StudyError, match="the model can't be trained: "):
        kept_in_training(classifier, (32, 32))


def test_the_weights_that_learn_and_the_optimiser_count():
    plan, head = measured(), measured(trainable="head")
    found, last = (memory.read(memory.training(each, "a")) for each in (plan, head))
    parameters = list(build("test_resnet", 3, {}).parameters())
    assert found["learning"] == 4 * sum(parameter.numel() for parameter in parameters) < found["weights"]
    assert last["weights"] == found["weights"] and last["learning"] == 4 * 3 * (parameters[-2].shape[1] + 1)
    assert last["picture"] < found["picture"]
    hard = plan_of(trainable="head", adversarial={"length": 1.0})
    assert memory.training(hard, "a") == memory.training(plan, "a"), "gradients go through all of it"
    assert optimiser_state("adamw") == pytest.approx(2, abs=0.01) and optimiser_state("momentum") == 1


def asked(found: dict, **more) -> int:
    """Return what training asks for if its model was measured so."""
    plan = plan_of(**more)
    memory.write(memory.training(plan, "a"), {"weights": 0, "learning": 0, "picture": 0, **found})
    memory.write(memory.optimiser(plan, "a"), {"per_byte": 2.0})
    return memory.train_mb(plan, "a")


def test_training_asks_for_its_process_weights_pictures_and_what_loads_them():
    mega = 10**6
    assert asked({}, batch_size=2) == 1000, "whole hundreds above 900"
    assert asked({"weights": 1000 * mega}, batch_size=2) == 1000 + 3000
    assert asked({"learning": 1000 * mega}, batch_size=2) == 1000 + 5000, "gradients, and two moments, twice"
    assert asked({"picture": 10 * mega}, batch_size=100) == 1000 + 1600
    pictures = 4 * 3 * 1000**2
    assert asked({}, batch_size=100, size=1000) == pytest.approx(900 + 8 * 100 * pictures / mega, abs=100)
    loading = 3 * (500 + 2 * 100 * pictures / mega)
    more = asked({}, batch_size=100, size=1000, threads={"load": 3}) - asked({}, batch_size=100, size=1000)
    assert more == pytest.approx(loading, abs=100)
    assert asked({}, batch_size=2, compile=True) == 2000
    assert asked({}, batch_size=2, gpu=1) == 1000 + 2500 == asked({"picture": 10 * mega}, batch_size=100, gpu=1)
    assert asked({"picture": 100 * mega}, batch_size=100, gpu=1) == 1000 + 16_000, "in case there is no GPU"


def dreaming(picture: int, recipe: dict | None = None, weights: int = 0, **more) -> tuple[int, int]:
    """Return (MB, batch of the job) of a dream whose pictures were measured to take so many bytes."""
    plan = plan_of({"r": {**STEPS, **(recipe or {})}}, **{"labels": None, **more})
    memory.write(memory.training(plan, "a"), {"weights": weights, "learning": 0, "picture": 0})
    memory.write(memory.dreaming(plan, "a", "r"), {"picture": picture})
    keys, pixels = plan.recipes["r"], np.prod(plan.shape("r"))
    film = 3 * pixels * (keys["steps"][-1] // keys["film_every"] + 2) if keys["film_every"] else 0
    given = memory.dream_bytes(plan, "a", "r")
    return memory.dream_mb(plan, "a", "r"), batch_size(int(picture + film), given, CPU)


def test_dreams_ask_for_their_labels_at_once_and_the_job_reckons_the_same_batch():
    mega = 10**6
    assert memory.AT_ONCE == LARGEST and 1 <= memory.ROOM * SHARE < 1 + 1 / 16
    assert dreaming(10 * mega) == (1000, 8), "eight drawn species"
    assert dreaming(100 * mega) == (1800, 8) and dreaming(100 * mega, labels=BIRDS) == (1300, 3)
    assert dreaming(100 * mega, labels_per_job=5) == (1500, 5)
    assert dreaming(100 * mega, weights=200 * mega) == (2800, 8), "five copies while the checkpoint is made ready"
    assert dreaming(1000 * mega) == (8000, 7), "no more than the most"
    assert dreaming(1000 * mega, weights=600 * mega) == (8000, 4)
    assert dreaming(9000 * mega) == (10_000, 1), "but for a single picture"
    assert dreaming(1000 * mega, gpu=1) == (8000, 7) and dreaming(10 * mega, gpu=1) == (3500, 8)


def test_a_job_that_is_given_less_memory_takes_smaller_batches_and_more_at_a_retry_changes_nothing():
    plan = plan_of({"r": STEPS}, labels=None)
    memory.write(memory.training(plan, "a"), {"weights": 0, "learning": 0, "picture": 0})
    memory.write(memory.dreaming(plan, "a", "r"), {"picture": 10**8})
    assert memory.dream_mb(plan, "a", "r") == 1800
    batches = {mb: batch_size(10**8, memory.granted(plan, "a", "r", mb), CPU) for mb in (100, 1300, 1800, 3600, 5400)}
    assert batches == {100: 1, 1300: 4, 1800: 8, 3600: 8, 5400: 8}


def test_films_and_kept_steps_are_held_too():
    mega, pixels = 10**6, 1024**2
    plain, batch = dreaming(mega, {"size": 1024})
    assert batch == 8
    many = {"size": 1024, "steps": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]}
    assert dreaming(mega, many)[0] - plain == pytest.approx(8 * 10 * 12 * pixels / mega, abs=100)
    film, batch = dreaming(mega, {"size": 1024, "steps": [20], "film_every": 2})
    assert batch == 8 and film - plain == pytest.approx((8 * 3 + 60) * 12 * pixels / mega, abs=100)


def test_a_job_finds_room_for_the_batch_on_the_model_that_it_dreams_with():
    recipe = {"octaves": 2, "octave_steps": 1, "pad": 4, "objective": "layer_l2:layer2"}
    plan = measured({"r": {**STEPS, **recipe}}, size=64, labels=None)
    model = freeze(build("test_resnet", 8, {}), 64, CPU, seen=["layer2"])
    picture = rehearse(model, as_recipe(plan.recipes["r"], 64), (64, 64))
    assert memory.read(memory.dreaming(plan, "a", "r")) == {"picture": picture}
    assert batch_size(picture, memory.dream_bytes(plan, "a", "r"), CPU) == 8


def test_very_large_dreams_are_reckoned_from_smaller_ones_or_left_to_the_dream(monkeypatch):
    most = max
    recipes = {"r": {**STEPS, "size": 700}, "tiles": {**STEPS, "size": 700, "tile": 128}}
    whole = {name: memory.read(memory.dreaming(measured(recipes), "a", name))["picture"] for name in recipes}
    monkeypatch.setattr(measuring, "LARGEST", 350**2)
    monkeypatch.setattr(memory, "_known", {})
    monkeypatch.setattr(memory, "_measurer", lambda: ["smaller"])
    seen = counted(monkeypatch, "rehearse")
    neuron = {**STEPS, "size": 700, "objective": "neuron:layer1:0:150:0"}
    plan = measured({**recipes, "neuron": neuron})
    found = {name: memory.read(memory.dreaming(plan, "a", name))["picture"] for name in plan.recipes}
    assert [most(shape) for *_, shape in seen] == [350, 700, 350], "tiles are small enough"
    assert whole["r"] <= found["r"] <= 1.01 * whole["r"] and found["tiles"] == whole["tiles"]
    assert found["neuron"] is None and not memory.unknown(plan), "it is not tried again"
    assert memory.dream_mb(plan, "a", "neuron") == 4000


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"recipes": {"r": STEPS, "wrong": {**STEPS, "objective": "layer_mean:layer9"}}},
            "dreams.recipes.wrong on the run 'a': objective: the model has no layer 'layer9'; ",
        ),
        ({"model_options": {"no": 1}}, "runs.a: model_options {'no': 1} do not fit the model 'test_resnet': "),
        (
            {"model": "vit_tiny_patch16_224", "model_options": {"img_size": 64}, "size": 48},
            "runs.a: the model 'vit_tiny_patch16_224' does not take pictures of 48x48 pixels",
        ),
    ],
    ids=["recipe", "options", "size"],
)
def test_what_does_not_fit_is_refused_in_one_sentence_and_not_kept(changes, sentence):
    plan = plan_of(**changes)
    with pytest.raises(StudyError) as refused:
        measure(plan)
    assert str(refused.value).startswith(sentence) and "\n" not in str(refused.value)
    assert memory.unknown(plan)


# Real jobs, each in a process of its own.


def peak() -> int:
    """Return the most bytes that were resident in this process, as the kernel counted them."""
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def train_job(folder: Path, run: dict) -> int:
    """Make two updates of a run from nothing, and return the peak."""
    torch.set_num_threads(1)
    train_segment(Segment("a", run, folder, 1, None, Files.inside(folder)), CPU)
    return peak()


def dream_job(job: Job, store: str) -> int:
    """Dream with an empty store, and return the peak."""
    torch.set_num_threads(1)
    os.environ["DREAMBIRDS_STORE"] = store
    dream_all(job, CPU)
    return peak()


@pytest.fixture(scope="module")
def apart():
    """Return an executor of which every call is a fresh process: a fork would not count the libraries' pages."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=fresh, max_tasks_per_child=1) as executor:
        yield executor


def noise(folder: Path, side: int, batch: int, labels: list[str]) -> Path:
    """Write a prepared data set of noise: two batches to train on, and one that validates."""
    folder.mkdir()
    random, rows = np.random.default_rng(0), []
    with packing(folder, (side, side)) as append:
        for number in range(3 * batch):
            picture = random.integers(0, 256, (3, side, side), dtype=np.uint8)
            append(picture)
            digest = sha256(picture.transpose(1, 2, 0).tobytes()).hexdigest()
            split = "train" if number < 2 * batch else "validation"
            row = {"path": f"images/{number}.png", "label": labels[number % len(labels)], "split": split}
            rows.append({**row, "sha256": digest})
    pd.DataFrame(rows).to_csv(folder / "images.csv", index=False)
    table = pd.DataFrame({"index": range(len(labels)), "label": labels, "name": labels})
    table.to_csv(folder / "labels.csv", index=False)
    return folder


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_real_jobs_stay_below_what_they_ask_for_and_not_far_below(case, tmp_path, apart):
    model, side, batch = case
    plan = measured(size=side, model=model, batch_size=batch, labels=None)
    labels, checkpoint = list(plan.names), tmp_path / "epoch-0001.safetensors"
    save_checkpoint(checkpoint, build(model, len(labels), {}), Card(model, {}, labels, "a", 1, side))
    free = memory.dream_bytes(plan, "a", "r")
    job = Job(checkpoint, "r", plan.recipes["r"], plan.names, {}, None, tmp_path / "dreams", free)
    data = noise(tmp_path / "data", side, batch, labels)
    jobs = [
        (memory.train_mb(plan, "a"), apart.submit(train_job, data, plan.config["runs"]["a"])),
        (memory.dream_mb(plan, "a", "r"), apart.submit(dream_job, job, str(tmp_path / "empty"))),
    ]
    for asked, found in jobs:
        taken = found.result() / 10**6
        print(f"{case}: asks for {asked} MB, takes {taken:.0f} MB")
        assert taken <= asked <= 2.5 * taken + 500

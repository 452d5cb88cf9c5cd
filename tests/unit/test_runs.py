"""The keys of a run: epochs and their names, errors before any job, and default input sizes of models."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from dreambirds.config.runs import parse_epoch
from dreambirds.errors import UserError
from dreambirds.plan.checkpoints import previous_checkpoint, training_settings
from dreambirds.plan.paths import archive_path, epoch_name, epoch_text
from dreambirds.plan.plan import make_plan


def config(size=32, threads=None, **run) -> dict:
    """Return a small study whose run has the given keys."""
    return {
        "dataset": {"labels": ["blue_jay", "northern_cardinal"], "image_size": size},
        "runs": {"a": {"model": "test_resnet", "epochs": [0, 1], **run}},
        "dreams": {"recipes": {"study": {"steps": [2, 5]}}},
        "threads": threads or {},
    }


@given(st.integers(0, 99_990_000).map(lambda ticks: ticks / 10_000) | st.integers(0, 9999))
def test_an_epoch_name_is_parsed_back_to_the_epoch(epoch):
    text = epoch_text(epoch)
    assert parse_epoch(text) == epoch
    assert type(parse_epoch(text)) is (int if epoch == int(epoch) else float)
    integer, _, decimals = text.partition(".")
    assert len(integer) == 4 and len(decimals) <= 4 and not decimals.endswith("0")
    assert epoch_name(epoch) == f"epoch-{text}"


@given(st.lists(st.integers(0, 99_990_000), min_size=2, max_size=6, unique=True))
def test_epoch_names_sort_like_epochs(ticks):
    epochs = sorted(tick / 10_000 for tick in ticks)
    assert sorted(map(epoch_text, epochs)) == [epoch_text(epoch) for epoch in epochs]


def test_epoch_names_are_padded_decimal_numbers():
    written = {0: "0000", 4: "0004", 10: "0010", 100: "0100", 9999: "9999", 0.25: "0000.25", 10.5: "0010.5"}
    assert {epoch: epoch_text(epoch) for epoch in written} == written
    assert {text: parse_epoch(text) for text in written.values()} == {text: epoch for epoch, text in written.items()}
    assert (
        archive_path("s", "r", 0.25, "x", "-001")
        == archive_path("s", "r", "0000.25", "x", "-001")
        == "results/s/dreams/r/epoch-0000.25/x/dreams-001.zip"
    )


def test_integer_epochs_stay_integers_among_fractions():
    plan = make_plan(config(epochs=[0, 0.25, 1.0, 2]))
    assert plan.epochs("a") == [0, 0.25, 1, 2]
    for epochs in (plan.epochs("a"), dict.fromkeys(dream.epoch for dream in plan.dreams)):
        assert [type(epoch) for epoch in epochs] == [int, float, int, int]
    assert [dream.epoch for dream in plan.dreams] == [epoch for epoch in (0, 0.25, 1, 2) for _ in range(4)]
    table = "results/default/dreams/a/epoch-0000.25/study/dreams.zip"
    assert plan.archives(epoch="0000.25", label="blue_jay", step="0002") == [table]
    with pytest.raises(UserError, match=r"no dreams with the epoch 0\.5; did you mean '0\.25'\?"):
        plan.select(epoch="0000.5")
    assert {type(dream.epoch) for dream in make_plan(config(epochs=[0, 1])).dreams} == {int}


def test_a_training_job_resumes_from_the_previous_kept_epoch(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "w.safetensors")
    plan = make_plan(config(epochs=[0.25, 1, 1.5], weights=str(tmp_path / "w.safetensors")))
    assert previous_checkpoint(plan, "a", "0000.25")["pretrained"] == [str(tmp_path / "w.safetensors")]
    stem = "results/default/runs/a/epoch-0000.25"
    assert previous_checkpoint(plan, "a", "0001") == {
        "before": f"{stem}/model.safetensors",
        "before_state": f"{stem}/training_state.safetensors",
    }
    assert previous_checkpoint(plan, "a", 1.5)["before"] == "results/default/runs/a/epoch-0001/model.safetensors"
    assert not any(previous_checkpoint(make_plan(config()), "a", 0).values())
    with pytest.raises(UserError, match=r"the run 'a' keeps no checkpoint of epoch 0\.5; "):
        previous_checkpoint(plan, "a", "0000.5")
    assert "epochs" not in training_settings(plan, "a") and training_settings(plan, "a")["mixup"] == 0


REFUSED = [
    ({"epochs": [2, 1]}, r"runs\.a\.epochs: must be ascending, not \[2, 1\]"),
    ({"epochs": [0.5, 0.25]}, r"runs\.a\.epochs: must be ascending"),
    ({"epochs": [1, 1.0]}, r"runs\.a\.epochs: has duplicate values"),
    ({"epochs": [0.00001]}, r"runs\.a\.epochs: must have at most 4 decimals, not 1e-05"),
    ({"epochs": [1, 1.23456]}, r"runs\.a\.epochs: must have at most 4 decimals, not 1\.23456"),
    ({"epochs": [math.nan]}, r"runs\.a\.epochs\.0: must be a number, not \.nan"),
    ({"epochs": [True]}, r"runs\.a\.epochs\.0: must be a number, not true"),
    ({"epochs": ["0.5"]}, r"runs\.a\.epochs\.0: must be a number, not '0\.5'; .*write 0\.5"),
    ({"epochs": [-0.5]}, r"runs\.a\.epochs\.0: must be at least 0"),
    (
        {"weights": "nowhere.pth"},
        r"runs\.a\.weights: 'nowhere\.pth' does not exist; set it to an existing file or folder of weights, null, ",
    ),
    ({"weights": "/"}, r"runs\.a\.weights: the folder '/' does not contain a file of weights"),
    ({"schedule": "cosin"}, r"runs\.a\.schedule: unknown value 'cosin'; did you mean 'cosine'\?"),
    ({"schedule": "plateau"}, r"runs\.a\.schedule: unknown value 'plateau'; .*allowed: constant, cosine"),
    ({"precision": "bfloat"}, r"runs\.a\.precision: unknown value 'bfloat'; did you mean 'bfloat16'\?"),
    ({"precision": 16}, r"runs\.a\.precision: "),
    ({"mixup": -0.1}, r"runs\.a\.mixup: must be at least 0, not -0\.1"),
    ({"compile": "yes"}, r"runs\.a\.compile: must be true or false, not 'yes'"),
    ({"gradient_clip": 0}, r"runs\.a\.gradient_clip: must be greater than 0, not 0"),
    ({"class_weights": "balance"}, r"runs\.a\.class_weights: unknown value 'balance'; did you mean 'balanced'\?"),
    ({"class_weights": None}, r"runs\.a\.class_weights: "),
    ({"trainable": "heads"}, r"runs\.a\.trainable: unknown value 'heads'; did you mean 'head'\?"),
    ({"schedule_milestones": [8, 5]}, r"runs\.a\.schedule_milestones: must be ascending, not \[8, 5\]"),
    ({"schedule_milestones": [0.5]}, r"runs\.a\.schedule_milestones\.0: must be an integer"),
    ({"schedule_decay": 0}, r"runs\.a\.schedule_decay: must be greater than 0"),
    (
        {"schedule": "wsd", "schedule_epochs": 3, "warmup_epochs": 3},
        r"runs\.a\.warmup_epochs: must be less than 'schedule_epochs' for the schedule 'wsd', not 3",
    ),
    (
        {"schedule": "rsqrt", "schedule_epochs": 1},
        r"runs\.a\.warmup_epochs: must be less .* for the schedule 'rsqrt', not 1",
    ),
    (
        {"schedule": "cosine", "schedule_epochs": 1},
        r"runs\.a\.warmup_epochs: must be less .* for the schedule 'cosine', not 1",
    ),
    ({"optimizer": "kron"}, r"runs\.a\.optimizer: timm has no optimizer 'kron'"),
    ({"model": "test_resnet.nosuchtag", "size": None}, r"runs\.a\.model: .*nosuchtag"),
    ({"threads": {"loader_workers": -1}}, r"threads\.loader_workers: must be at least 0, not -1"),
    ({"threads": {"loader_workers": 1.5}}, r"threads\.loader_workers: must be an integer, not 1\.5"),
]


@pytest.mark.parametrize(("changes", "sentence"), REFUSED, ids=lambda value: str(value)[:40])
def test_faulty_runs_are_refused_with_the_key_path(changes, sentence):
    given_config = config(**changes)
    before = copy.deepcopy(given_config)
    with pytest.raises(UserError, match=f"^{sentence}") as caught:
        make_plan(given_config)
    assert "\n" not in str(caught.value)
    assert str(given_config) == str(before)


GOOD = [
    {"schedule": "wsd", "schedule_epochs": 3, "warmup_epochs": 2},
    {"schedule": "cosine", "schedule_epochs": 3, "warmup_epochs": 2},
    {"epochs": [0, 0.0001, 9999]},
    {"schedule": "constant", "warmup_epochs": 0, "gradient_clip": 0.5, "mixup": 0.2, "precision": "auto"},
    {"weights": "package", "model": "tf_efficientnet_lite0"},
    {"weights": "hub", "compile": True, "class_weights": "balanced", "threads": {"loader_workers": 0}},
]


@pytest.mark.parametrize("changes", GOOD, ids=str)
def test_valid_runs_are_accepted(changes):
    plan = make_plan(config(**changes))
    assert all(plan.config["runs"]["a"][key] == value for key, value in changes.items() if key != "threads")


def test_weights_paths_may_use_the_home_folder_and_variables(tmp_path, monkeypatch):
    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pth")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MY_WEIGHTS", str(tmp_path))
    for name in ("~/w.pth", "$MY_WEIGHTS/w.pth"):
        files = previous_checkpoint(make_plan(config(weights=name)), "a", 0)
        assert files["pretrained"] == [str(tmp_path / "w.pth")]


def test_the_default_image_size_is_that_of_the_models():
    assert make_plan(config(None)).config["dataset"]["image_size"] == 160
    assert make_plan(config(None, model="inception_v4")).config["dataset"]["image_size"] == 299
    narrow = config(None, model="test_vit", model_options={"img_size": [64, 96]})
    assert make_plan(narrow).config["dataset"]["image_size"] == [64, 96]


def two(other: dict) -> dict:
    """Return a study of two runs without an image size."""
    study = config(None)
    study["runs"]["b"] = other
    return study


def test_models_with_different_input_sizes_need_an_image_size():
    with pytest.raises(
        UserError,
        match=r"^dataset\.image_size: is null, but the models have different input sizes \(a: 160, b: 299\); set a",
    ):
        make_plan(two({"model": "inception_v4"}))
    assert make_plan(two({"model": "test_vit"})).config["dataset"]["image_size"] == 160
    for size in (160, [160, 160]):
        same = make_plan(two({"model": "test_vit", "model_options": {"img_size": size}}))
        assert same.config["dataset"]["image_size"] == 160

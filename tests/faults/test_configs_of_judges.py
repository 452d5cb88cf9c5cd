"""Faulty judges and weights files: each is refused in one line with the key's path, before any job."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dreambirds.errors import MAX_LENGTH, one_line
from dreambirds.models.checkpoint import CheckpointInfo, save_checkpoint
from dreambirds.models.classifier import build
from dreambirds.plan import measurements
from dreambirds.plan.plan import make_plan
from dreambirds.startup import memory_profile
from dreambirds.startup.memory_profile import check_models
from tests.helpers.refusals import changed_config, refusal

CLASSES = ["Blue Jay", "Yellow Warbler", "Wren"]
ROW = "configs refused"


@pytest.fixture
def files(tmp_path, monkeypatch) -> Path:
    """Change to a folder with weights of three classes, their names, and valid and invalid checkpoints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(measurements, "_known", {})
    torch.manual_seed(0)
    classifier = build("test_resnet", 3, {})
    save_file(classifier.network.state_dict(), "good.safetensors")
    save_file({"x": torch.zeros(2)}, "other.safetensors")
    for name, options, labels in (
        ("good", {}, CLASSES),
        ("strange", {}, ["a", "b", "c"]),
        ("odd", {"dept": 3}, CLASSES),
    ):
        save_checkpoint(Path("saved") / name, classifier, CheckpointInfo("test_resnet", options, labels, "r", 1, 32))
        shutil.copyfile(Path("saved") / name / "model.safetensors", name)
    Path("cut").write_bytes(Path("good").read_bytes()[:-100])
    Path("labels.txt").write_text("\n".join(CLASSES))
    Path("few.txt").write_text("\n".join(CLASSES[:2]))
    Path("strange.txt").write_text("a\nb\nc\n")
    Path("empty.txt").write_text("\n\n")
    return tmp_path


def from_weights(**changes) -> dict:
    """Return changes that add a judge with weights from a file."""
    judge = {"weights": "good.safetensors", "labels": "labels.txt", "model": "test_resnet", "image_size": 32}
    return {"judges": {"w": {**judge, **changes}}}


def from_checkpoint(file: str, **names: str) -> dict:
    """Return changes that add a judge that is a checkpoint."""
    return {"judges": {"w": {"checkpoint": file, "names": names}}}


RUN = "runs/scratch"
LITE, SHIPPED = "tf_efficientnet_lite0", {"weights": "package"}
BAD = [
    # class names
    (
        "judges.w.names: unknown label 'blue_joy'; did you mean 'blue_jay'?",
        from_checkpoint("good", blue_joy="Blue Jay"),
    ),
    ("judges.w.names: unknown label 'blue_joy'; did you mean", from_weights(names={"blue_joy": "Blue Jay"})),
    ("judges.w.names.blue_jay: the network has no class 'Blue Joy'; did", from_weights(names={"blue_jay": "Blue Joy"})),
    (
        "judges.w.names.blue_jay: the network has no class 'Jay'; did",
        from_checkpoint("good", blue_jay="Jay"),
    ),
    ("judges.w.names: no class name of the network matches the study's classes", from_weights(labels="strange.txt")),
    (
        "judges.w.names: no class name of the network matches the study's classes",
        from_checkpoint("strange"),
    ),
    (
        "judges.w.labels: 'empty.txt' contains no class names; write one class name per line",
        from_weights(labels="empty.txt"),
    ),
    ("judges.w.labels: '.' is not a file", from_weights(labels=".")),
    # models and weights
    (
        "judges.w.model_options: the model 'test_resnet' cannot be built with the options {'dept': 3} (",
        from_weights(model_options={"dept": 3}),
    ),
    ("judges.w.model_options.in_chans: must be 3, or 1 for a model", from_weights(model_options={"in_chans": 2})),
    ("judges.w.model_options: with {'drop_rate': 2}, the model", from_weights(model_options={"drop_rate": 2})),
    (
        "judges.w.weights: 'good.safetensors' has a head for 3 classes, not 2 ('fc.weight' is (3, ",
        from_weights(labels="few.txt"),
    ),
    ("judges.w.weights: 'good.safetensors' does not fit the model (", from_weights(model="test_vit")),
    ("judges.w.weights: 'other.safetensors' does not fit the model (", from_weights(weights="other.safetensors")),
    ("judges.w.weights: 'labels.txt' is neither a safetensors file nor one that", from_weights(weights="labels.txt")),
    (
        "judges.w.image_size: the model 'inception_v4' does not accept",
        from_weights(model="inception_v4", weights="big.pth"),
    ),
    ("runs.scratch.weights: 'other.safetensors' does not fit the model", {f"{RUN}/weights": "other.safetensors"}),
    (
        "judges.j.train.weights: 'cut' ends early (",
        {"judges/j/train": {"model": "test_vit", "weights": "cut"}},
    ),
    (
        "judges.w.weights: 'hub' is only allowed in a run or in a judge's 'train'; set it to a file or package",
        from_weights(weights="hub"),
    ),
    (
        "judges.w.weights: no package ships weights for 'test_resnet'",
        from_weights(weights="package", labels=None),
    ),
    (
        "judges.w.model: is required with 'weights: package'; set it to one of tf_efficientnet_lite0, ",
        from_weights(weights="package", model=None),
    ),
    (
        "judges.w.names.blue_jay: the network has no class 'Blue Joy'; did",
        from_weights(weights="package", model=LITE, labels=None, names={"blue_jay": "Blue Joy"}),
    ),
    (
        "judges.w.weights: the package's file has a head for 1000 classes, not 3",
        from_weights(weights="package", model=LITE),
    ),
    (
        "judges.j.train.weights: no package ships weights for 'test_vit'",
        {"judges/j/train": {"model": "test_vit", **SHIPPED}},
    ),
    (
        "runs.scratch.model_options: with {'stem_kernel_size': 5}, the package's file does not fit the "
        "model (1 tensor differs, ",
        {f"{RUN}/model": LITE, f"{RUN}/model_options": {"stem_kernel_size": 5}, f"{RUN}/weights": "package"},
    ),
    # checkpoints
    ("judges.w.checkpoint: 'cut' is corrupt (", from_checkpoint("cut")),
    ("set another file, or recreate it in its own study", from_checkpoint("cut")),
    (
        "judges.w.checkpoint: 'odd' contains the model 'test_resnet', which cannot be built (",
        from_checkpoint("odd"),
    ),
    # judges that the study trains
    ("judges.j.train: the model 'inception_v4' does not accept images", {"judges/j/train": {"model": "inception_v4"}}),
    ("judges.j.train.model_options: the model", {"judges/j/train": {"model_options": {"dept": 3}}}),
    (
        "runs.judge: is the name of the default judge; choose another name for the run",
        {"judges": None, "runs/judge": {}},
    ),
]


@pytest.mark.parametrize("number", range(len(BAD)), ids=lambda number: BAD[number][0][:60])
def test_a_judge_or_weights_that_do_not_fit_are_refused_before_any_job(files, number, counted):
    expected, changes = BAD[number]
    if "big.pth" in str(changes):
        torch.save(build("inception_v4", 3, {}).network.state_dict(), "big.pth")
    message = refusal(changed_config(changes))
    assert expected in message and one_line(message) == message and len(message) <= MAX_LENGTH + 3, message
    assert not Path("store").exists()
    counted(ROW)


def test_valid_files_are_checked_once_and_again_after_a_change(files, monkeypatch):
    weights, checkpoint = (
        from_weights()["judges"]["w"],
        from_checkpoint("good", blue_jay="Blue Jay")["judges"]["w"],
    )
    config = changed_config({"judges": {"w": weights, "c": checkpoint}, f"{RUN}/weights": "good.safetensors"})
    check_models(make_plan(config))
    measurements._known.clear()
    assert measurements.is_measured(make_plan(config))
    monkeypatch.setattr(memory_profile, "load_judge", lambda *_: pytest.fail("loaded again"))
    check_models(make_plan(config))
    os.utime("good", (1, 1))
    assert [
        what["measured"] for what in measurements.judges(make_plan(config)).values() if not measurements.read(what)
    ] == ["judge"]
    os.utime("good.safetensors", (1, 1))
    (key,) = measurements.weights(make_plan(config), "scratch").values()
    assert measurements.read(key) is None


def test_files_that_the_study_creates_are_not_checked_in_advance(files):
    own = files / "results/tiny/runs/scratch/epoch-0001/model.safetensors"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"")
    judged = changed_config(from_checkpoint(str(own)))
    again = changed_config({f"{RUN}/weights": "results/tiny/runs/other/epoch-0001/model.safetensors"})
    assert measurements.judges(make_plan(judged)) == {}
    (own.parents[2] / "other").mkdir()
    own.parent.rename(own.parents[2] / "other" / own.parent.name)
    assert measurements.weights(make_plan(again), "scratch") == {}

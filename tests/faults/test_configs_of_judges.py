"""Bad judges and files of weights: each is refused in one sentence with the key's path, before any job."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dreambirds.errors import LONGEST, one_line
from dreambirds.models.checkpoint import CheckpointInfo, save_checkpoint
from dreambirds.models.classifier import build
from dreambirds.plan import memory
from dreambirds.plan.plan import make_plan
from dreambirds.startup import memory_profile
from dreambirds.startup.memory_profile import profile_memory
from tests.helpers.refusals import refusal, spoilt

CLASSES = ["Blue Jay", "Yellow Warbler", "Wren"]
ROW = "configs refused"


@pytest.fixture
def files(tmp_path, monkeypatch) -> Path:
    """Work in a folder with weights of three classes, what these are called, and checkpoints, good ones and bad."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(memory, "_known", {})
    torch.manual_seed(0)
    classifier = build("test_resnet", 3, {})
    save_file(classifier.network.state_dict(), "good.safetensors")
    save_file({"x": torch.zeros(2)}, "other.safetensors")
    for name, options, labels in (
        ("good", {}, CLASSES),
        ("strange", {}, ["a", "b", "c"]),
        ("odd", {"dept": 3}, CLASSES),
    ):
        save_checkpoint(Path("made") / name, classifier, CheckpointInfo("test_resnet", options, labels, "r", 1, 32))
        shutil.copyfile(Path("made") / name / "model.safetensors", name)
    Path("cut").write_bytes(Path("good").read_bytes()[:-100])
    Path("labels.txt").write_text("\n".join(CLASSES))
    Path("few.txt").write_text("\n".join(CLASSES[:2]))
    Path("strange.txt").write_text("a\nb\nc\n")
    Path("empty.txt").write_text("\n\n")
    return tmp_path


def from_weights(**changes) -> dict:
    """Return a study whose judge comes from weights."""
    judge = {"weights": "good.safetensors", "labels": "labels.txt", "model": "test_resnet", "image_size": 32}
    return {"judges": {"w": {**judge, **changes}}}


def from_checkpoint(file: str, **names: str) -> dict:
    """Return a study whose judge is a checkpoint."""
    return {"judges": {"w": {"checkpoint": file, "names": names}}}


RUN = "runs/scratch"
LITE, SHIPPED = "tf_efficientnet_lite0", {"weights": "package"}
BAD = [
    # what classes are called
    (
        "judges.w.names: unknown label 'blue_joy'; did you mean 'blue_jay'?",
        from_checkpoint("good", blue_joy="Blue Jay"),
    ),
    ("judges.w.names: unknown label 'blue_joy'; did you mean", from_weights(names={"blue_joy": "Blue Jay"})),
    ("judges.w.names.blue_jay: the judge has no class 'Blue Joy'; did", from_weights(names={"blue_jay": "Blue Joy"})),
    (
        "judges.w.names.blue_jay: the judge has no class 'Jay'; did",
        from_checkpoint("good", blue_jay="Jay"),
    ),
    ("judges.w.names: the judge knows none of the study's classes by name", from_weights(labels="strange.txt")),
    (
        "judges.w.names: the judge knows none of the study's classes by name",
        from_checkpoint("strange"),
    ),
    ("judges.w.labels: 'empty.txt' holds no name", from_weights(labels="empty.txt")),
    ("judges.w.labels: '.' is not a file", from_weights(labels=".")),
    # models and weights
    ("judges.w.model_options: {'dept': 3} do not fit the model 'test_resnet'", from_weights(model_options={"dept": 3})),
    ("judges.w.model_options.in_chans: is no option to set; ", from_weights(model_options={"in_chans": 1})),
    ("judges.w.model_options: with {'drop_rate': 2} the model", from_weights(model_options={"drop_rate": 2})),
    ("judges.w.weights: 'good.safetensors' holds no last layer for 2 classes", from_weights(labels="few.txt")),
    ("judges.w.weights: 'good.safetensors' does not fit the model: ", from_weights(model="test_vit")),
    ("judges.w.weights: 'other.safetensors' does not fit the model: ", from_weights(weights="other.safetensors")),
    ("judges.w.weights: 'labels.txt' is not a safetensors file, nor one that", from_weights(weights="labels.txt")),
    (
        "judges.w.image_size: the model 'inception_v4' does not take",
        from_weights(model="inception_v4", weights="big.pth"),
    ),
    ("runs.scratch.weights: 'other.safetensors' does not fit the model", {f"{RUN}/weights": "other.safetensors"}),
    ("judges.j.train.weights: 'cut' is not a safetensors", {"judges/j/train": {"model": "test_vit", "weights": "cut"}}),
    ("judges.w.weights: 'package' is for runs and for a judge's 'train'; name a", from_weights(weights="package")),
    (
        "judges.j.train.weights: no package ships weights of 'test_vit'",
        {"judges/j/train": {"model": "test_vit", **SHIPPED}},
    ),
    (
        "runs.scratch.model_options: with {'stem_kernel_size': 5} the package's file does not fit the model: ",
        {f"{RUN}/model": LITE, f"{RUN}/model_options": {"stem_kernel_size": 5}, f"{RUN}/weights": "package"},
    ),
    # checkpoints
    ("judges.w.checkpoint: 'cut' is no whole checkpoint", from_checkpoint("cut")),
    ("set another file, or recreate it in its own study", from_checkpoint("cut")),
    (
        "judges.w.checkpoint: 'odd' holds a model that can't be built ({'dept': 3} do not fit",
        from_checkpoint("odd"),
    ),
    # the study's own judges
    ("judges.j.train: the model 'inception_v4' does not take pictures", {"judges/j/train": {"model": "inception_v4"}}),
    ("judges.j.train.model_options: {'dept': 3}", {"judges/j/train": {"model_options": {"dept": 3}}}),
    ("runs.judge: the study's own judge has this name; call the run otherwise", {"judges": None, "runs/judge": {}}),
]


@pytest.mark.parametrize("number", range(len(BAD)), ids=lambda number: BAD[number][0][:60])
def test_a_judge_or_weights_that_do_not_fit_are_refused_before_any_job(files, number, counted):
    sentence, changes = BAD[number]
    if "big.pth" in str(changes):
        torch.save(build("inception_v4", 3, {}).network.state_dict(), "big.pth")
    said = refusal(spoilt(changes))
    assert sentence in said and one_line(said) == said and len(said) <= LONGEST + 3, said
    assert not Path("store").exists()
    counted(ROW)


def test_files_that_fit_are_looked_at_once_and_again_when_they_change(files, monkeypatch):
    weights, checkpoint = (
        from_weights()["judges"]["w"],
        from_checkpoint("good", blue_jay="Blue Jay")["judges"]["w"],
    )
    config = spoilt({"judges": {"w": weights, "c": checkpoint}, f"{RUN}/weights": "good.safetensors"})
    profile_memory(make_plan(config))
    memory._known.clear()
    assert not memory.needs_profiling(make_plan(config))
    monkeypatch.setattr(memory_profile, "load_judge", lambda *_: pytest.fail("loaded again"))
    profile_memory(make_plan(config))
    os.utime("good", (1, 1))
    assert [what["measured"] for what in memory.judges(make_plan(config)).values() if not memory.read(what)] == [
        "judge"
    ]
    os.utime("good.safetensors", (1, 1))
    assert memory.read(memory.weights(make_plan(config), "scratch")) is None


def test_what_the_study_makes_itself_is_not_looked_at_before(files):
    own = files / "results/tiny/runs/scratch/epoch-0001/model.safetensors"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"")
    judged = spoilt(from_checkpoint(str(own)))
    again = spoilt({f"{RUN}/weights": "results/tiny/runs/other/epoch-0001/model.safetensors"})
    assert memory.judges(make_plan(judged)) == {}
    (own.parents[2] / "other").mkdir()
    own.parent.rename(own.parents[2] / "other" / own.parent.name)
    assert memory.weights(make_plan(again), "scratch") is None

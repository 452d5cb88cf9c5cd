"""Checkpoints that were trained elsewhere: their epochs, and what a config says about them."""

import argparse
import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from dreambirds.config.checkpoints import list_checkpoints
from dreambirds.config.class_names import head_rows, output_labels
from dreambirds.data.labels import Label
from dreambirds.errors import UserError
from dreambirds.models.checkpoint import CheckpointInfo, save_checkpoint
from dreambirds.models.classifier import build
from dreambirds.plan import inputs
from dreambirds.plan.plan import make_plan
from tests.helpers.studies import LABELS, tiny


@pytest.fixture(scope="module")
def state():
    return timm.create_model("test_resnet", num_classes=3).state_dict()


def save(path, **content):
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def foreign(checkpoints, **keys):
    """Return a tiny config whose only run has these checkpoints."""
    return tiny() | {"runs": {"mine": {"model": "test_resnet", "checkpoints": checkpoints, **keys}}}


def test_the_epochs_of_a_pattern_are_completed_epochs_in_ascending_order(tmp_path, state):
    for number in (0, 9, 10):
        facts = {"arch": "test_resnet", "version": 2, "args": argparse.Namespace(lr=0.1)}
        save(tmp_path / f"checkpoint-{number}.pth.tar", epoch=number, state_dict=state, **facts)
    found = list_checkpoints(str(tmp_path / "checkpoint-*.pth.tar"), "runs.mine.checkpoints")
    assert [(each.epoch, each.path.name) for each in found] == [
        (1, "checkpoint-0.pth.tar"),
        (10, "checkpoint-9.pth.tar"),
        (11, "checkpoint-10.pth.tar"),
    ]


def test_a_folder_stands_for_the_checkpoints_in_it_and_copies_of_one_count_once(tmp_path, state):
    first = save(tmp_path / "epoch_1.pt", epoch=1, model=state)
    (tmp_path / "last.pt").write_bytes(first.read_bytes())
    (tmp_path / "linked.pt").hardlink_to(first)
    (tmp_path / "notes.txt").write_text("not a checkpoint")
    found = list_checkpoints(str(tmp_path), "where")
    assert [(each.epoch, each.path.name) for each in found] == [(1, "epoch_1.pt")]


@pytest.mark.parametrize(
    ("checkpoints", "message"),
    [
        ("none-*.pt", r"where: 'none-\*.pt' matches no checkpoint .*correct the path"),
        ({0: "missing.pt"}, "where: 'missing.pt' does not exist; correct the path"),
        ({"first": "a.pt"}, "where: the key 'first' must be a number of completed epochs, from 0 to 9999"),
        ({-1: "a.pt"}, "where: the key -1 must be a number of completed epochs"),
        ({0.12345: "a.pt"}, "at most 4 decimals"),
        ({True: "a.pt"}, "where: the key true must be a number"),
        ("a.pt", "the epoch of 'a.pt' is unknown, because neither the file nor its name contains it; list the epochs"),
        ("*.pt", "both of epoch 1; list the epochs"),
    ],
)
def test_checkpoints_that_are_refused(tmp_path, monkeypatch, state, checkpoints, message):
    monkeypatch.chdir(tmp_path)
    torch.save(state, tmp_path / "a.pt")
    if checkpoints == "*.pt":
        (tmp_path / "a.pt").unlink()
        save(tmp_path / "one.pt", epoch=1, model=state)
        save(tmp_path / "other.pt", epoch=1, model={**state, "fc.bias": state["fc.bias"] + 1})
    with pytest.raises(UserError, match=message):
        list_checkpoints(checkpoints, "where")


def test_a_run_with_checkpoints_has_their_epochs_and_no_training(tmp_path, state):
    for number in (1, 2, 5):
        save(tmp_path / f"epoch_{number}.pt", epoch=number, model=state)
    plan = make_plan(foreign(str(tmp_path / "*.pt")))
    assert plan.epochs("mine") == [1, 2, 5] and plan.trained == {} and list(plan.foreign["mine"]) == [1, 2, 5]
    assert "learning_rate" not in plan.config["runs"]["mine"]
    again = make_plan(plan.config)
    assert again.config == plan.config, "a resolved config is planned in the same way"
    selected = make_plan(foreign(str(tmp_path / "*.pt"), epochs=[5]))
    assert selected.epochs("mine") == [5]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"epochs": [3]}, "runs.mine.epochs: 'checkpoints' contains no epoch 3; available: 1"),
        ({"learning_rate": 0.1}, "runs.mine.learning_rate: is for runs that the study trains"),
        ({"weights": "hub"}, "runs.mine.weights: is for runs that the study trains"),
        ({"model": "test_resnat"}, "runs.mine.model: .*did you mean 'test_resnet'"),
        ({"labels": "missing.txt"}, "runs.mine.labels: cannot read 'missing.txt'"),
        ({"labels": "two.txt"}, r"runs.mine.names: the network has no class for 'yellow_warbler' .* among its 2"),
        ({"labels": "others.txt"}, "runs.mine.names: no class name of the network matches"),
        ({"names": {"blue_joy": "x"}}, "runs.mine.names: unknown label 'blue_joy'"),
        ({"head": "soft"}, "runs.mine.head: unknown value"),
    ],
)
def test_keys_of_foreign_runs_that_are_refused(tmp_path, monkeypatch, state, keys, message):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a.pt", epoch=1, model=state)
    (tmp_path / "two.txt").write_text("\n".join(LABELS[:2]))
    (tmp_path / "others.txt").write_text("cat\ndog\n")
    with pytest.raises(UserError, match=message):
        make_plan(foreign("a.pt", **keys))


def test_a_network_with_more_classes_dreams_of_those_of_the_study(tmp_path, state):
    save(
        tmp_path / "a.pt",
        epoch=1,
        model=state,
        classes=["Owl", "Yellow Warbler", "017.Northern_Cardinal", "Cyanocitta (Blue Jay)"],
    )
    plan = make_plan(foreign(str(tmp_path / "a.pt")))
    assert len(plan.class_names("mine")[0]) == 4


def test_the_model_comes_from_the_file_if_the_config_has_none(tmp_path, state):
    save(
        tmp_path / "a.pth.tar",
        epoch=0,
        arch="test_resnet",
        version=2,
        state_dict=state,
        args=argparse.Namespace(model="test_resnet"),
    )
    config = tiny() | {"runs": {"mine": {"checkpoints": str(tmp_path / "a.pth.tar")}}}
    assert make_plan(config).config["runs"]["mine"]["model"] == "test_resnet"
    save(tmp_path / "a.pth.tar", epoch=0, model=state)
    with pytest.raises(UserError, match=r"runs.mine.model: is required, because '.*a.pth.tar' does not record it"):
        make_plan(config)


@pytest.mark.parametrize("key", ["labels", "names", "weights_key"])
def test_class_names_without_a_file_of_weights_are_refused(key):
    config = tiny()
    config["runs"]["scratch"][key] = {"blue_jay": "Jay"} if key == "names" else "x"
    with pytest.raises(UserError, match=rf"runs.scratch.{key}: describes a file of weights, and 'weights' is null"):
        make_plan(config)


def test_the_rows_of_a_head_follow_the_labels_of_its_folder_or_file(tmp_path):
    names = [*reversed(LABELS), "owl"]
    classifier = build("test_resnet", 4, {})
    save_checkpoint(tmp_path / "c", classifier, CheckpointInfo("test_resnet", {}, names, "r", 1, 32))
    known = [Label(label, label.replace("_", " ").title()) for label in [*LABELS, "auk"]]
    for run in (
        {"model": f"local-dir:{tmp_path / 'c'}", "weights": "hub"},
        {"model": "test_resnet", "weights": str(tmp_path / "c")},
    ):
        rows, origin = head_rows(known, {**run, "labels": None, "names": {}})
        assert rows == ([2, 1, 0, None], 4) and origin == f"'{tmp_path / 'c'}'"
        torch.manual_seed(0)
        built = build(run["model"], 4, {}, run["weights"], rows=rows).network.fc
        torch.manual_seed(0)
        new = build("test_resnet", 4, {}).network.fc
        trained = classifier.network.fc.weight
        assert torch.equal(built.weight[:3], trained[[2, 1, 0]]) and torch.equal(built.weight[3], new.weight[3])
    assert head_rows(known, {"model": "test_resnet", "weights": "hub", "labels": None, "names": {}})[0] is None


def test_a_folder_of_a_trainer_gives_its_checkpoints_without_the_final_weights(tmp_path, state):
    for step, epoch in ((500, 0.998), (1000, 2.0)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        save_file(dict(state), folder / "model.safetensors")
        (folder / "trainer_state.json").write_text(json.dumps({"epoch": epoch, "log_history": []}))
    save_file(dict(state), tmp_path / "model.safetensors")
    torch.save({}, tmp_path / "training_args.bin")
    assert [each.epoch for each in list_checkpoints(str(tmp_path), "where")] == [1, 2]


def test_the_number_in_which_names_differ_is_the_epoch_if_nothing_else_says_it(tmp_path, state):
    for number in (3, 12):
        torch.save({**state, "fc.bias": state["fc.bias"] + number}, tmp_path / f"resnet-50_birds-{number}.pth")
    assert [each.epoch for each in list_checkpoints(str(tmp_path / "*.pth"), "where")] == [3, 12]
    with pytest.raises(UserError, match=r"the epoch of '.*birds-3.pth' is unknown"):
        list_checkpoints(str(tmp_path / "*-3.pth"), "where")


def test_the_classes_of_all_checkpoints_of_a_run_are_the_same(tmp_path, state):
    first = save(tmp_path / "a.pt", model=state)
    second = save(tmp_path / "b.pt", model=state, classes=[*reversed(LABELS)])
    plan = make_plan(foreign({0: str(first), 5: str(second)}))
    assert plan.class_names("mine") == ([*reversed(LABELS)], f"'{second}'"), "those that one of them records"
    save(first, model=state, classes=LABELS)
    with pytest.raises(UserError, match=r"runs.mine.labels: '.*a.pt' and '.*b.pt' record different class names"):
        make_plan(foreign({0: str(first), 5: str(second)}))


def test_two_classes_of_a_study_are_not_the_same_class_of_a_network(tmp_path, state):
    path = save(tmp_path / "a.pt", epoch=1, model=state, classes=["jay", "cardinal", "warbler"])
    names = {"blue_jay": "jay", "northern_cardinal": "jay", "yellow_warbler": "warbler"}
    with pytest.raises(UserError, match=r"runs.mine.names: the classes 'northern_cardinal' and 'blue_jay' are both"):
        make_plan(foreign(str(path), names=names))


def test_outputs_with_the_same_name_have_their_numbers():
    labels = [Label("a", "A"), Label("b", "B")]
    assert output_labels(labels, ["x", "b", "x", "a", "aleph"], {"a": "aleph"}) == ["x (0)", "b", "x (2)", "a (3)", "a"]


def test_a_judge_of_own_code_depends_on_its_file_and_a_folder_on_all_of_its_files(tmp_path, monkeypatch, state):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text("def build(num_classes): ...\n")
    (tmp_path / "w").mkdir()
    save_file(dict(state), tmp_path / "w/model.safetensors")
    (tmp_path / "w/config.json").write_text(json.dumps({"label_names": LABELS}))
    plan = make_plan(tiny() | {"judges": {"j": {"model": "net:build", "weights": "w"}}})
    assert inputs.weights(plan, "j") == "w/model.safetensors"
    assert [Path(file).name for file in inputs.described(plan, "j")] == ["config.json", "net.py"]


def test_the_recorded_size_is_that_of_the_images_if_none_is_set(tmp_path, state):
    args = argparse.Namespace(model="test_resnet", img_size=48)
    save(tmp_path / "a.pth.tar", epoch=0, arch="test_resnet", version=2, state_dict=state, args=args)
    config = tiny() | {"runs": {"mine": {"checkpoints": str(tmp_path / "a.pth.tar")}}}
    config["dataset"]["image_size"] = None
    assert make_plan(config).config["dataset"]["image_size"] == 48


def test_a_checkpoint_of_this_project_is_one_checkpoint_without_its_training_state(tmp_path):
    folder = tmp_path / "epoch-0004"
    save_checkpoint(folder, build("test_resnet", 3, {}), CheckpointInfo("test_resnet", {}, LABELS, "r", 4, 32))
    save_file({"momentum": torch.zeros(1)}, folder / "training_state.safetensors")
    for path in (folder, tmp_path):
        assert [(each.epoch, each.path) for each in list_checkpoints(str(path), "where")] == [(4, folder)]

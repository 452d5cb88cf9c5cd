"""Judges in a config, and the matching of their classes to those of the study."""

import os
import re

import pytest
import torch
from safetensors.torch import save_file

from dreambirds.data.labels import Label, match_classes, read_names
from dreambirds.errors import UserError
from dreambirds.plan import inputs
from dreambirds.plan.plan import make_plan
from tests.helpers.sections import section

LABELS = [Label("Blue_Jay", "Blue Jay"), Label("Green_Jay", "Green Jay"), Label("0050", "Évêque d'Or")]


def config(judges: dict | None, **runs) -> dict:
    """Return a study with these judges."""
    runs = runs or {"one": {"model": "test_resnet", "epochs": [0, 2]}, "two": {"model": "test_vit", "epochs": [1.5]}}
    return {"runs": runs, "dreams": {"recipes": {"study": {"steps": [1]}}}, "judges": judges}


def refused(judges: dict, **runs) -> str:
    """Return the error message that a study is refused with."""
    with pytest.raises(UserError) as error:
        make_plan(config(judges, **runs))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_study_has_one_judge_of_another_architecture_by_default():
    for model, other in (("test_resnet", "resnet10t"), ("resnet10t.c3_in1k", "mobilenetv3_small_100")):
        plan = make_plan(config(None, one={"model": model}))
        assert list(plan.judges) == ["judge"] and plan.trained["judge"]["model"] == other
        assert plan.trained["judge"]["weights"] is None and plan.epochs("judge") == [12]
        assert inputs.weights(plan, "judge") == "results/default/runs/judge/epoch-0012/model.safetensors"
        assert list(inputs.judged_recipes(plan, "judge")) == ["one"]
    assert make_plan(config(None, one={"weights": "hub"})).trained["judge"]["weights"] == "hub"
    assert make_plan(config({})).judges == {} and "judge" not in make_plan(config({})).trained


def test_a_run_that_does_not_dream_may_judge_but_not_the_only_one_that_does():
    study = config({"a": {"run": "two"}})
    study["dreams"]["recipes"]["study"]["runs"] = ["one"]
    plan = make_plan(study)
    assert (
        list(inputs.judged_recipes(plan, "a")) == ["one"] and len(inputs.judged_tables(plan, "a", plan.dream_jobs)) == 2
    )
    study["judges"] = {"a": {"run": "one"}}
    with pytest.raises(
        UserError, match=r"^judges\.a\.run: 'one' is the only run that dreams, and a run cannot judge its own"
    ):
        make_plan(study)


def test_a_trained_judge_does_not_dream_and_is_checked_like_a_run():
    plan = make_plan(config({"a": {"train": {"model": "test_efficientnet", "epochs": [1, 3]}}}))
    assert {dream.run for dream in plan.dreams} == {"one", "two"} and plan.epochs("a") == [1, 3]
    assert plan.path("a") == "judges.a.train" and plan.path("one") == "runs.one"
    assert inputs.weights(plan, "a").endswith("runs/a/epoch-0003/model.safetensors")
    assert "judges.a.train.model: timm has no model 'test_resnat'" in refused(
        {"a": {"train": {"model": "test_resnat"}}}
    )
    assert "judges.a.train.epochs: must be ascending" in refused({"a": {"train": {"epochs": [2, 1]}}})
    assert "judges.a.train: unknown key 'modl'; did you mean 'model'?" in refused({"a": {"train": {"modl": "x"}}})


def test_a_run_judges_the_others_with_its_last_or_the_selected_checkpoint():
    plan = make_plan(config({"a": {"run": "one"}, "b": {"run": "two", "epoch": 1.5}}))
    assert inputs.weights(plan, "a") == "results/default/runs/one/epoch-0002/model.safetensors"
    assert inputs.weights(plan, "b") == "results/default/runs/two/epoch-0001.5/model.safetensors"
    assert list(inputs.judged_recipes(plan, "a")) == ["two"] and list(inputs.judged_recipes(plan, "b")) == ["one"]
    assert all("/judged/a/two/" in table for table in inputs.judged_tables(plan, "a", plan.dream_jobs))
    assert "judges.a.run: the study has no run 'ones'; did you mean 'one'?" in refused({"a": {"run": "ones"}})
    assert "judges.a.epoch: the run 'one' keeps no checkpoint of epoch 1; " in refused(
        {"a": {"run": "one", "epoch": 1}}
    )
    assert "a run cannot judge its own dreams" in refused({"a": {"run": "one"}}, one={"model": "test_resnet"})


def test_judges_from_weights_need_class_names_and_a_model(tmp_path):
    weights, labels = tmp_path / "some.safetensors", tmp_path / "labels.txt"
    judge = {"weights": str(weights), "labels": str(labels), "model": "test_resnet"}
    assert f"judges.a.weights: '{weights}' does not exist; set it to an existing file" in refused({"a": judge})
    save_file({"a": torch.zeros(1)}, weights)
    assert f"judges.a.labels: '{labels}' does not exist; correct the path" in refused({"a": judge})
    labels.touch()
    assert f"judges.a.labels: '{labels}' contains no class names; write one class name per line" in refused(
        {"a": judge}
    )
    labels.write_text("Blue Jay\nother\n")
    assert "judges.a.model: timm has no model" in refused({"a": judge | {"model": "test_resnit"}})
    missing = f"is required, because '{weights}' does not record it; set it to"
    assert f"judges.a.model: {missing} the name of its architecture" in refused({"a": judge | {"model": None}})
    assert f"judges.a.labels: {missing} a text file" in refused({"a": judge | {"labels": None}})
    plan = make_plan(config({"a": judge, "b": {"checkpoint": str(weights)}}))
    assert inputs.weights(plan, "a") == inputs.weights(plan, "b") == str(weights)
    assert inputs.described(plan, "a") == [str(labels)] and inputs.described(plan, "b") == []


def test_a_judge_has_exactly_one_type(tmp_path):
    assert "needs exactly one of the keys 'train', 'run', 'checkpoint', 'weights', 'answers', but" in refused({"a": {}})
    assert ", but has 'train' and 'run'" in refused({"a": {"train": {}, "run": "one"}})
    assert "judges.a.epoch: is only used with 'run', not 'train'; remove it" in refused(
        {"a": {"train": {}, "epoch": 1}}
    )
    assert "judges.a.names: " in refused({"a": {"train": {}, "names": {"x": "y"}}})
    assert "judges.one: a run is also named 'one'" in refused({"one": {"train": {}}})
    assert "runs.judge: is the name of the default judge" in refused(None, judge={"model": "test_resnet"})
    assert make_plan(config({}, judge={"model": "test_resnet"})).path("judge") == "runs.judge"


def test_the_section_of_a_judge_excludes_its_training(run):
    plan = make_plan(config({"a": {"train": {"epochs": [1]}}}))
    assert "train" not in inputs.section(plan, "a") and set(section(epochs=[1])) == set(plan.trained["a"])


def test_classes_are_found_by_any_of_their_names():
    classes = ["Cyanocitta cristata (BLUE JAY)", "green-jay", "Eveque dor", "background"]
    assert match_classes(LABELS, classes, {}) == {"Blue_Jay": 0, "Green_Jay": 1, "0050": 2}
    assert match_classes(LABELS, ["Cyanocitta cristata", "x", "0050"], {}) == {"0050": 2}
    assert match_classes(LABELS, ["Cyanocitta cristata (Crest)"], {"Blue_Jay": "cyanocitta cristata"}) == {
        "Blue_Jay": 0
    }


def test_ambiguous_classes_are_not_matched_and_an_unknown_name_is_refused():
    assert match_classes(LABELS, ["A (Blue Jay)", "B (Blue Jay)", "Green Jay"], {}) == {"Green_Jay": 2}
    with pytest.raises(
        UserError, match=r"names.Blue_Jay: the network has no class 'Blew Jay'; did you mean 'Blue Jay'"
    ):
        match_classes(LABELS, ["Blue Jay"], {"Blue_Jay": "Blew Jay"})
    with pytest.raises(UserError, match=r"names: unknown label 'Blue_Jai'; did you mean 'Blue_Jay'"):
        match_classes(LABELS, ["Blue Jay"], {"Blue_Jai": "Blue Jay"})
    with pytest.raises(UserError, match="names: no class name of the network matches the study's classes"):
        match_classes(LABELS, ["A (Blue Jay)", "B (Blue Jay)"], {})


def test_names_are_read_from_lines_and_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "names.txt"
    path.write_bytes(b"one\n\xd7 two\n\nthree\n")
    assert read_names(path) == ["one", "\ufffd two", "", "three"]
    path.write_text("\n")
    (tmp_path / "none").mkdir()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for wrong, sentence in (
        (path, f"'{path}' contains no class names; write one class name per line"),
        (tmp_path / "none", f"cannot read '{tmp_path / 'none'}' (Is a directory); correct the path"),
        (
            tmp_path / "pipe",
            f"'{tmp_path / 'pipe'}' is a pipe, a socket or a device, not a file; pass the path of a file",
        ),
    ):
        with pytest.raises(UserError, match=f"^labels: {re.escape(sentence)}$"):
            read_names(wrong)

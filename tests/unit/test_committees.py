"""Committees in a config and a plan: members, pairs of training seeds, epochs, judges, memory and inputs."""

import pytest

from dreambirds.config.committees import list_committees
from dreambirds.config.grids import Point
from dreambirds.errors import UserError
from dreambirds.plan import inputs, measurements, memory, questions
from dreambirds.plan.plan import make_plan
from dreambirds.runtime import timings
from dreambirds.runtime.timings import dream_work, record
from dreambirds.startup.estimate import estimate

MEGA = 10**6
ALONE, TOGETHER = {"steps": [4], "runs": ["a"]}, {"steps": [4], "runs": ["a"], "committee": ["b"]}


def config(recipes: dict | None = None, judges: dict | None = None, **epochs) -> dict:
    """Return a study of two runs, or of runs with these epochs."""
    runs = {
        run: {"model": "test_resnet", "epochs": kept} for run, kept in (epochs or {"a": [0, 2], "b": [0, 2]}).items()
    }
    dreams = {"recipes": recipes or {"alone": ALONE, "together": TOGETHER}}
    dataset = {"labels": ["blue_jay", "northern_cardinal"], "image_size": 32}
    return {"gpu": 0, "dataset": dataset, "runs": runs, "dreams": dreams, "judges": judges or {}}


def refused(*arguments, **more) -> str:
    """Return the error message that a study is refused with."""
    with pytest.raises(UserError) as error:
        make_plan(config(*arguments, **more))
    return str(error.value)


def test_a_committee_is_a_parameter_of_a_recipe_and_its_list_makes_no_grid():
    plan = make_plan(config())
    assert list(plan.recipes) == ["alone", "together"], "they differ only in the committee"
    assert [keys["committee"] for keys in plan.recipes.values()] == [[], ["b"]]
    assert plan.committees == {("a", "together"): ["b"]}
    assert plan.dreaming_networks("a", "together") == ["a", "b"] and plan.dreaming_networks("a", "alone") == ["a"]
    folder = "results/default/runs"
    assert inputs.committee(plan, "a", "0002", "together", "") == [f"{folder}/b/epoch-0002/model.safetensors"]
    assert inputs.committee(plan, "a", "0002", "alone", "") == []


@pytest.mark.parametrize(
    ("recipe", "epochs", "message"),
    [
        ({"committee": ["bb"]}, {}, ": the study has no run 'bb'; did you mean 'b'?"),
        ({"committee": ["b"]}, {}, ": 'b' would be in its own committee; limit 'runs' to other runs"),
        ({"committee": ["b", "b"]}, {}, ": has duplicate values"),
        ({"committee": "b"}, {}, ": must be a list, not 'b'"),
        (
            {"runs": ["a"], "committee": ["b", "c"]},
            {"a": [0, 1, 4], "b": [0, 1, 4], "c": [0, 2, 4]},
            ": the run 'c' keeps no checkpoint of epoch 1, at which 'a' dreams; set 'epochs' to those that all "
            "keep: 0, 4",
        ),
        (
            {"runs": ["a"], "committee": ["b"]},
            {"a": [1], "b": [2]},
            ": the run 'b' keeps no checkpoint of epoch 1, at which 'a' dreams; they keep no epoch in common, "
            "so add one",
        ),
    ],
)
def test_impossible_committees_are_refused(recipe, epochs, message):
    assert f"dreams.recipes.r.committee{message}" in refused({"r": {"steps": [4], **recipe}}, **epochs)


def test_only_the_epochs_at_which_the_dreamer_dreams_matter():
    plan = make_plan(config({"r": {**TOGETHER, "epochs": [4]}}, a=[0, 1, 4], b=[0, 2, 4]))
    assert plan.committees == {("a", "r"): ["b"]} and [job.epoch for job in plan.dream_jobs] == [4]


def grid(origin: str, **axes) -> dict[str, Point]:
    """Return the points of a grid of training seeds and one other key, named by their values."""
    points, (key, values) = {}, next(iter({k: v for k, v in axes.items() if k != "seed"}.items()), ("", [None]))
    for seed in axes["seed"]:
        for value in values:
            varied = {"seed": seed, **({key: value} if key else {})}
            points["-".join([origin, *map(str, varied.values())])] = Point(origin, origin, varied)
    return points


def members(dreamers: dict[str, Point], *committee: str, **others: Point) -> dict:
    """Return the committees of a recipe that some runs dream, in a study with other runs too."""
    points = {**dreamers, **others}
    runs = {run: {"seed": point.varied.get("seed", 0), "epochs": [1]} for run, point in points.items()}
    recipe = {"r-1": {"committee": list(committee)}}
    found = list_committees(recipe, {"r-1": {run: [1] for run in dreamers}}, runs, points, {"r-1": "r"})
    return {run: each for (run, _), each in found.items()}


def test_runs_that_were_trained_elsewhere_have_no_training_seed_to_pair_by():
    runs, points = {"f": {"epochs": [1]}, "a-0": {"epochs": [1], "seed": 0}}, {"f": Point("f", "f")}
    points |= {"a-0": Point("a", "a", {"seed": 0})}

    def committees(dreamer: str, name: str) -> dict:
        return list_committees({"r": {"committee": [name]}}, {"r": {dreamer: [1]}}, runs, points, {"r": "r"})

    assert committees("a-0", "f") == {("a-0", "r"): ["f"]}
    with pytest.raises(UserError, match=r"'f' was trained elsewhere and has no training seed, .*; list one of a-0"):
        committees("f", "a")
    with pytest.raises(UserError, match="no run of the grid 'g' has the training seed 0 of 'a-0', only None"):
        points["g-1"], runs["g-1"] = Point("g", "g", {"names": {}}), {"epochs": [1]}
        committees("a-0", "g")


def test_grids_are_paired_by_the_training_seed():
    mine, theirs = grid("x", seed=[0, 1]), grid("y", seed=[1, 0, 2])
    assert members(mine, "y", **theirs) == {"x-0": ["y-0"], "x-1": ["y-1"]}
    assert members(mine, "y-2", **theirs) == {"x-0": ["y-2"], "x-1": ["y-2"]}, "a single run"
    assert members({"z": Point("z", "z")}, "y", **theirs) == {"z": ["y-0"]}, "the default seed"
    rates = grid("w", seed=[0, 1], learning_rate=[0.1, 0.2])
    assert members(grid("v", seed=[0, 1], learning_rate=[0.2]), "w", **rates) == {
        "v-0-0.2": ["w-0-0.2"],
        "v-1-0.2": ["w-1-0.2"],
    }
    for dreamers, committee, others, message in (
        (mine, ["w"], rates, "several runs of the grid 'w' can be paired with 'x-0'; choose from w-0-0.1, w-0-0.2"),
        (mine, ["y"], grid("y", seed=[0]), "no run of the grid 'y' has the training seed 1 of 'x-1', only 0; add"),
        (mine, ["x"], {}, "'x-0' would be in its own committee; limit 'runs'"),
        (mine, ["y-0", "y"], theirs, "contains the run 'y-0' twice; remove one"),
        (mine, ["yy"], theirs, "the study has no run 'yy'; did you mean 'y'?"),
        (
            grid("v", seed=[0], learning_rate=[0.3]),
            ["w"],
            rates,
            "no run of the grid 'w' can be paired with 'v-0-0.3'; choose from w-0-0.1, w-0-0.2",
        ),
    ):
        with pytest.raises(UserError) as error:
            members(dreamers, *committee, **others)
        assert str(error.value).startswith(f"dreams.recipes.r.committee: {message}"), "the recipe as in the config"


def test_a_member_does_not_judge_the_dreams_of_its_committee(tmp_path, monkeypatch):
    recipes = {"alone": {"steps": [1]}, "together": TOGETHER}
    plan = make_plan(config(recipes, {"j": {"run": "b"}}))
    assert inputs.judged_recipes(plan, "j") == {"a": ["alone"]} and list(inputs.judged_recipes(plan, "j")) == ["a"]
    tables = [f"results/default/judged/j/a/epoch-000{epoch}/alone.csv" for epoch in (0, 2)]
    assert inputs.judged_tables(plan, "j", plan.dream_jobs) == tables
    with pytest.raises(UserError, match="the judge 'j' does not judge the run 'a' with the recipe 'together'"):
        inputs.judged_archive(plan, "j", "a", "0002", "together", "")
    assert inputs.judged_archive(plan, "j", "a", "0002", "alone", "").endswith("a/epoch-0002/alone/dreams.zip")
    message = "judges.j.run: 'b' dreams or is in a committee in every recipe, and a run cannot judge its own dreams; "
    assert message in refused({"together": TOGETHER}, {"j": {"run": "b"}})
    monkeypatch.chdir(tmp_path)
    weights = tmp_path / "results/default/runs/b/epoch-0002/model.safetensors"
    weights.parent.mkdir(parents=True)
    weights.touch()
    given = {"j": {"checkpoint": "results/default/runs/b/epoch-0002/model.safetensors"}}
    assert inputs.judged_recipes(make_plan(config(None, given)), "j") == {"a": ["alone"]}, "the same network"
    assert "judges.j.checkpoint: 'b' dreams or is in a committee" in refused({"together": TOGETHER}, given)


def test_a_question_contains_the_members_and_what_judges_evaluate():
    contrast = {
        "vary": "recipe",
        "values": ["alone", "together"],
        "against": "first",
        "measures": ["dreamer_probability"],
    }
    study = config(None, {"j": {"run": "b"}, "k": {"run": "c"}}, a=[2], b=[2], c=[2], d=[2])
    plan = make_plan({**study, "questions": {"q": {"text": "Why?", "contrasts": [contrast]}}})
    assert list(questions.asked(plan, "q")["config"]["runs"]) == ["a", "b", "c"], "not d"
    assert questions.study_facts(plan, "q")["judged_recipes"] == {
        "j": {"a": ["alone"]},
        "k": {"a": ["alone", "together"]},
    }


def test_memory_counts_all_weights_and_the_largest_image(monkeypatch):
    study = config({"together": TOGETHER})
    study["runs"]["b"]["model"] = "test_vit"
    plan, found = make_plan(study), {}
    keys = {run: list(measurements.profile_keys(plan, run)) for run in ("a", "b")}
    assert [key["model"] for key in keys["b"] if key["measured"] == "dreaming"] == ["test_vit"], "a member is measured"
    for run, weights, image in (("a", 100, 10), ("b", 200, 30)):
        found[measurements.key_digest(measurements.training(plan, run))] = {
            "weights": weights * MEGA,
            "learning": 0,
            "image": 0,
        }
        assert memory.dream_mb(plan, found, "a", "together") == 4000, "the default, until all are measured"
        found[measurements.key_digest(measurements.dreaming(plan, run, "together"))] = {"image": image * MEGA}
    overhead = 900 + (100 + 200) + 4 * 200
    assert memory.dream_mb(plan, found, "a", "together") == overhead + 100, "two images of 30 MB, rounded up"
    assert memory.dream_bytes(plan, found, "a", "together") == pytest.approx(memory.ROOM * 2 * 30 * MEGA)


def test_the_time_of_a_committee_is_that_of_each_network_s_share_until_it_is_recorded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(timings, "recorded_here", [])
    study = config({"together": TOGETHER})
    study["runs"]["b"]["model"] = "test_vit"
    plan = make_plan(study)
    keys, steps = plan.recipes["together"], 2 * 2 * 4  # checkpoints, labels and steps

    def seconds() -> float:
        return estimate(plan, plan.dream_jobs, 1).seconds

    record(dream_work("test_resnet", keys, (32, 32)), 3)
    assert seconds() == 3 * steps / 2 and any("together" in each for each in estimate(plan, plan.dream_jobs, 1).unknown)
    record(dream_work("test_vit", keys, (32, 32)), 5)
    assert seconds() == (3 + 5) * steps / 2
    record(dream_work("test_resnet", keys, (32, 32), ["test_vit"]), 7)
    assert seconds() == 7 * steps

"""Grids of runs and judges: their points, their names, and what is refused."""

import json

import pytest

from dreambirds.config.grids import Point
from dreambirds.errors import UserError
from dreambirds.plan import inputs, questions
from dreambirds.plan.plan import make_plan
from tests.helpers.values import query_of

GRID = {"model": "test_resnet", "epochs": [0, 1], "seed": [0, 1], "learning_rate": [0.001, 0.01]}


def study(runs: dict | None = None, recipes: dict | None = None, **more) -> dict:
    """Return a study with a grid of four runs and a single one."""
    single = {"model": "test_resnet", "epochs": [1]}
    config = {"gpu": 0, "judges": {}, "dataset": {"image_size": 32, "labels": ["blue_jay", "northern_cardinal"]}}
    dreams = {"recipes": recipes or {"study": {"steps": [2, 5], "seed": [7, 8]}}}
    return {**config, "runs": runs or {"finetuned": GRID, "other": single}, "dreams": dreams, **more}


def test_a_list_in_a_key_of_a_run_makes_runs_that_are_named_after_what_varies():
    plan = make_plan(study())
    rates = {0.001: "0.001", 0.01: "0.01"}
    expected = {
        f"finetuned-seed-{seed}-learning_rate-{text}": Point(
            "finetuned", f"finetuned-learning_rate-{text}", {"seed": seed, "learning_rate": rate}
        )
        for seed in (0, 1)
        for rate, text in rates.items()
    }
    assert list(plan.run_points.items()) == [*expected.items(), ("other", Point("other", "other", {}))]
    assert list(plan.config["runs"]) == list(plan.run_points)
    for run, point in expected.items():
        keys = plan.config["runs"][run]
        assert {key: keys[key] for key in point.varied} == point.varied and keys["epochs"] == [0, 1]
    assert plan.recipe_points == {f"study-seed-{seed}": Point("study", "study", {"seed": seed}) for seed in (7, 8)}
    assert plan.path("finetuned-seed-1-learning_rate-0.01") == "runs.finetuned" and plan.path("other") == "runs.other"


def test_lists_that_are_single_values_span_no_grid():
    runs = {"a": {"model": "test_resnet", "epochs": [0, 2], "schedule": "multistep", "schedule_milestones": [1, 3]}}
    assert list(make_plan(study(runs)).config["runs"]) == ["a"]
    several = {"a": {"model": ["test_resnet", "test_vit"], "adversarial": [{"epsilon": 0.5}, {}], "weights": [None]}}
    names = list(make_plan(study(several)).config["runs"])
    assert names == [
        f"a-model-{model}-adversarial-{text}weights-None"
        for model in ("test_resnet", "test_vit")
        for text in ("epsilon-0.5-", "default-")
    ]


def test_a_grid_of_judges_varies_keys_of_the_judge_and_of_its_training():
    judges = {
        "judge": {"train": {"model": "resnet10t", "epochs": [1], "seed": [0, 1]}},
        "of": {"run": "finetuned"},
        "both": {"run": ["other", "finetuned-seed-0-learning_rate-0.01"]},
        "at": {"run": "other", "epoch": [1]},
    }
    plan = make_plan(study(judges=judges))
    grid = [run for run in plan.config["runs"] if run != "other"]
    assert list(plan.judges) == [
        *["judge-seed-0", "judge-seed-1", *(f"of-run-{run}" for run in grid)],
        *["both-run-other", "both-run-finetuned-seed-0-learning_rate-0.01", "at-epoch-1"],
    ]
    assert [plan.trained[f"judge-seed-{seed}"]["seed"] for seed in (0, 1)] == [0, 1]
    assert plan.judges[f"of-run-{grid[0]}"]["run"] == grid[0]
    assert list(inputs.judged_recipes(plan, f"of-run-{grid[0]}")) == [*grid[1:], "other"]
    assert plan.path("judge-seed-1") == "judges.judge.train"


def test_the_default_judge_is_unaffected_by_grids():
    plan = make_plan(study(judges=None))
    assert list(plan.judges) == ["judge"] and plan.path("judge") == "judges.judge.train"


def test_recipes_and_questions_name_a_run_or_a_whole_grid():
    one = "finetuned-seed-0-learning_rate-0.01"
    recipes = {name: {"steps": [step], "runs": runs} for name, step, runs in (("a", 1, ["finetuned"]), ("b", 2, [one]))}
    question = {"text": "?", "runs": ["finetuned"], "contrasts": [{"vary": "epoch"}]}
    plan = make_plan(study(recipes={**recipes, "c": {"steps": [3]}}, questions={"q": question}))
    grid = [run for run in plan.config["runs"] if run != "other"]
    assert list(plan.dreamers["a"]) == grid and list(plan.dreamers["b"]) == [one]
    assert list(plan.questions["q"].epochs) == grid
    facts = questions.study_facts(plan, "q")["runs"][one]
    assert facts == {"model": "test_resnet", "group": "finetuned-learning_rate-0.01", "seed": 0}


def test_the_resolved_config_and_that_of_a_question_contain_the_grids():
    judges = {"j": {"train": {"epochs": [1], "seed": [0, 1]}}, "k": {"run": "finetuned"}}
    question = {"text": "?", "runs": ["finetuned"], "contrasts": [{"vary": "epoch"}]}
    plan = make_plan(study(judges=judges, questions={"q": question}))
    again = make_plan(plan.resolved)
    assert json.dumps(again.config) == json.dumps(plan.config)
    assert (again.grids, again.recipe_points) == (plan.grids, plan.recipe_points)
    assert plan.resolved["runs"]["finetuned"]["seed"] == [0, 1] and list(plan.resolved["judges"]) == ["j", "k"]
    asked = questions.asked(plan, "q")["config"]
    assert list(asked["runs"]) == ["finetuned"]
    assert list(make_plan(asked).questions["q"].epochs) == list(plan.questions["q"].epochs)


def test_runs_of_a_grid_are_compared_in_pairs_that_share_the_rest():
    contrasts = [{"vary": "learning_rate"}, {"vary": "training_seed"}, {"vary": "run", "where": {"step": 5}}]
    plan = make_plan(study(questions={"q": {"text": "?", "contrasts": contrasts}}))
    question = plan.questions["q"]
    assert [(each.vary, each.baseline, each.compared) for each in question.comparisons] == [
        *[("learning_rate", 0.001, 0.01), ("training_seed", 0, 1), ("run", "finetuned", "other")]
    ]
    dreams = query_of(plan)
    for comparison, (same, pairs) in zip(
        question.comparisons, (("training_seed", 4), ("learning_rate", 4), (None, 8)), strict=True
    ):
        found = dreams.pairs(comparison)
        assert len(found) == pairs
        for one, two in found:
            assert one.recipe == two.recipe
            if same:
                assert question.runs[one.run][same] == question.runs[two.run][same]


def test_grids_of_two_runs_are_compared_with_equal_training_seeds():
    runs = {name: {"model": "test_resnet", "epochs": [epoch], "seed": [0, 1]} for name, epoch in (("a", 1), ("b", 2))}
    section = {"text": "?", "contrasts": [{"vary": "run"}]}
    plan = make_plan(study(runs, {"study": {"steps": [2]}}, questions={"q": section}))
    (comparison,) = plan.questions["q"].comparisons
    pairs = query_of(plan).pairs(comparison)
    assert [(one.run, two.run) for one, two in pairs] == [("a-seed-0", "b-seed-0"), ("a-seed-1", "b-seed-1")]


REFUSED = {
    "runs.finetuned.learning_rate: must be greater than 0, not -1": {"learning_rate": [0.1, -1]},
    "runs.finetuned.seed: must contain at least 1 value, not []": {"seed": []},
    "runs.finetuned.seed: has duplicate values: [1, 1]; remove them": {"seed": [1, 1]},
    "runs.finetuned: unknown key 'learning_rat'; did you mean 'learning_rate'?": {"learning_rat": [1, 2]},
    "runs.finetuned.model: timm has no model 'test_resnat'": {"model": ["test_resnet", "test_resnat"]},
    "runs.finetuned.warmup_epochs: must be less than 'schedule_epochs'": {"warmup_epochs": [1, 10]},
    "runs.finetuned: expands to 20000 runs, more than 10000; shorten the lists": {"seed": list(range(20_000))},
    "runs.finetuned.weights: two values give the same run name, 'finetuned-weights-a.pth'": {
        "weights": ["x/a.pth", "y/a.pth"]
    },
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_an_error_names_the_key_as_it_is_written(sentence):
    with pytest.raises(UserError) as error:
        make_plan(study({"finetuned": {"model": "test_resnet", "epochs": [1], **REFUSED[sentence]}}))
    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize(
    ("sentence", "changes"),
    [
        (
            "runs.a-seed-0: the name 'a-seed-0' also belongs to the run 'a'; rename one of them",
            {"a": [0, 1], "a-seed-0": 2},
        ),
        (
            "runs.a: the name 'a-seed-0' also belongs to the run 'a-seed-0'; rename one of them",
            {"a-seed-0": [2], "a": [0, 1]},
        ),
    ],
)
def test_two_runs_with_the_same_name_are_refused(sentence, changes):
    runs = {name: {"model": "test_resnet", "epochs": [1], "seed": seed} for name, seed in changes.items()}
    with pytest.raises(UserError) as error:
        make_plan(study(runs))
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("sentence", "changes"),
    [
        (
            "judges.other: a run is also named 'other'; choose another name for the judge",
            {"judges": {"other": {"train": {}}}},
        ),
        (
            "judges.j.train.seed: must be at least 0, not -1",
            {"judges": {"j": {"train": {"epochs": [1], "seed": [0, -1]}}}},
        ),
        ("judges.j.run: the study has no run 'finetund'; ", {"judges": {"j": {"run": ["other", "finetund"]}}}),
        (
            "dreams.recipes.r.runs: the study has no run 'finetun'; did you mean 'finetuned'?",
            {"recipes": {"r": {"runs": ["finetun"]}}},
        ),
    ],
)
def test_wrong_names_of_judges_and_runs_are_refused(sentence, changes):
    with pytest.raises(UserError) as error:
        make_plan(study(**changes))
    assert str(error.value).startswith(sentence)

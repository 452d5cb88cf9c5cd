"""The comparisons of a question, and errors for those that are impossible."""

import itertools
import random
import time

import pytest

from dreambirds.config.contrasts import FACTORS, Comparison, DreamQuery
from dreambirds.errors import UserError
from dreambirds.plan.plan import make_plan
from tests.helpers.plans import BIRDS
from tests.helpers.values import query_of

RECIPES = {
    "soft": {"blur_sigma": [0.5, {"random": [0.1, 1.0]}], "seed": [0, 1], "steps": [5, 10]},
    "sharp": {"blur_sigma": 0.0, "seed": [0, 1], "steps": [5, 20]},
}


def plan_of(*contrasts: dict, text: str = "Why?"):
    """Return a plan of two runs with different epochs and a question `q` with the given contrasts."""
    runs = {name: {"model": "test_resnet", "epochs": epochs} for name, epochs in (("a", [0, 2]), ("b", [0.5, 3]))}
    section = {"text": text, "contrasts": list(contrasts)}
    config = {"gpu": 0, "judges": {}, "dataset": {"image_size": 32, "labels": BIRDS}, "runs": runs}
    return make_plan({**config, "dreams": {"recipes": RECIPES}, "questions": {"q": section}})


def sides(*contrasts: dict) -> list[tuple]:
    """Return the baseline and the compared value of each comparison."""
    return [(each.baseline, each.compared) for each in plan_of(*contrasts).questions["q"].comparisons]


@pytest.mark.parametrize(
    ("contrast", "compared"),
    [
        ({"vary": "epoch"}, [(0, 2)]),
        ({"vary": "epoch", "where": {"run": "b"}}, [(0.5, 3)]),
        ({"vary": "epoch", "values": ["first", "last"]}, [("first", "last")]),
        ({"vary": "step", "against": "previous"}, [(5, 10)]),
        ({"vary": "step", "against": "previous", "where": {"recipe": "sharp"}}, [(5, 20)]),
        ({"vary": "run", "values": ["b", "a"]}, [("b", "a")]),
        ({"vary": "recipe"}, [("soft", "sharp")]),
        ({"vary": "view"}, [("raw", "rescaled")]),
        ({"vary": "blur_sigma"}, [(0.5, {"random": [0.1, 1.0]}), (0.5, 0.0)]),
        ({"vary": "blur_sigma", "where": {"recipe": "soft"}}, [(0.5, {"random": [0.1, 1.0]})]),
        ({"vary": "run", "values": ["a"], "against": "chance", "measures": ["dreamer_top1"]}, [(None, "a")]),
    ],
)
def test_values_are_compared_with_the_first_the_previous_or_chance(contrast, compared):
    assert sides(contrast) == compared


def test_first_and_last_are_resolved_per_run_and_recipe():
    dreams = query_of(plan_of({"vary": "view"}))
    last = dreams.pick({"epoch": ["last"], "step": ["last"], "view": ["raw"]})
    assert {(group.run, group.epoch) for group in last} == {("a", 2), ("b", 3)}
    assert {(group.recipe.partition("-")[0], group.step) for group in last} == {("soft", 10), ("sharp", 20)}
    some = dreams.pick({"epoch": ["first", 3], "blur_sigma": [{"random": [0.1, 1.0]}], "label": ["blue_jay"]})
    assert {group.epoch for group in some} == {0, 0.5, 3} and len(some) == 3 * 2 * 2 * 2
    assert dreams.pick({"label": ["heron"]}) == []


def pairs_of(vary: str, before: object, after: object, **where: list) -> list[tuple]:
    """Return the pairs of a comparison, each dream as (run, epoch, recipe, label, step, view)."""
    dreams = query_of(plan_of({"vary": "view"}))
    chosen = {"epoch": ["last"], "step": ["last"], "view": ["raw"], **where}
    chosen.pop(vary, None)
    comparison = Comparison(vary, before, after, chosen, [])
    return [
        tuple((*group[:3], label, *group[3:]) for group in pair)
        for pair in dreams.pairs(comparison)
        for label in dreams.compared_labels(comparison)
    ]


def test_pairs_differ_only_in_what_varies():
    blurs = pairs_of("blur_sigma", 0.5, 0.0)
    assert len(blurs) == 2 * 3 * 2, "runs, labels and seeds"
    for one, two in blurs:
        assert one[:2] == two[:2] and one[3] == two[3] and one[5] == two[5] and one[2][-1] == two[2][-1]
        assert (one[4], two[4]) == (10, 20), "the last steps may differ"
    epochs = pairs_of("epoch", "first", "last")
    assert len(epochs) == 2 * 6 * 3 and all((one[0], *one[2:]) == (two[0], *two[2:]) for one, two in epochs)
    runs = pairs_of("run", "a", "b")
    assert len(runs) == 6 * 3 and all(one[2:] == two[2:] and (one[1], two[1]) == (2, 3) for one, two in runs)
    assert len(pairs_of("view", "raw", "rescaled")) == 2 * 6 * 3 and len(pairs_of("seed", 0, 1)) == 2 * 3 * 3
    recipes = pairs_of("recipe", "soft", "sharp", run=["a"])
    assert len(recipes) == 4 * 3 and all(one[2][-1] == two[2][-1] for one, two in recipes), "they share the seed"


def test_no_dream_is_its_own_pair():
    assert pairs_of("epoch", "last", 3) == [] and pairs_of("step", "last", 10, recipe=["soft"]) == []


def brute_force(plan, comparison: Comparison) -> set[tuple]:
    """Return the pairs of a comparison, found by checking every pair of dreams of the plan."""
    dreams = [
        {"run": run, "epoch": epoch, "recipe": recipe, "label": label, "step": step, "view": view}
        for run, recipes in plan.dreaming_epochs.items()
        for recipe, epochs in recipes.items()
        for epoch, label, step, view in itertools.product(epochs, plan.names, plan.steps[recipe], ("raw", "rescaled"))
    ]

    def ends(dream: dict, column: str) -> tuple:
        owner = "run" if column == "epoch" else "recipe"
        numbers = [each[column] for each in dreams if each[owner] == dream[owner]]
        return min(numbers), max(numbers)

    def has(dream: dict, column: str, values: list) -> bool:
        if column in ("epoch", "step"):
            first, last = ends(dream, column)
            return dream[column] in [{"first": first, "last": last}.get(value, value) for value in values]
        if column == "recipe":
            return dream["recipe"].partition("-")[0] in values
        return (dream[column] if column in FACTORS else plan.recipes[dream["recipe"]][column]) in values

    def parameters(dream: dict) -> dict:
        return {key: value for key, value in plan.recipes[dream["recipe"]].items() if key not in ("steps", vary)}

    vary, where = comparison.vary, comparison.where
    selected = [dream for dream in dreams if all(has(dream, *condition) for condition in where.items())]
    loose = {"run": "epoch", "epoch": None, "step": None, "view": None}.get(vary, "step")
    if loose and not set(where[loose]) <= {"first", "last"}:
        loose = None
    agree = [column for column in ("run", "epoch", "step", "view", "label") if column not in (vary, loose)]
    pairs = set()
    for one, two in itertools.product(selected, selected):
        sides = has(one, vary, [comparison.baseline]) and has(two, vary, [comparison.compared])
        if sides and one != two and all(one[column] == two[column] for column in agree):
            seeds = [plan.recipes[dream["recipe"]]["seed"] for dream in (one, two)]
            if seeds[0] == seeds[1] if vary == "recipe" else parameters(one) == parameters(two):
                pairs.add((tuple(one.values()), tuple(two.values())))
    return pairs


VALUES = {
    "run": ["a", "b"],
    "epoch": ["first", "last", 0, 3],
    "step": ["first", "last", 5, 20],
    "recipe": ["soft", "sharp"],
    "view": ["raw", "rescaled"],
    "blur_sigma": [0.5, 0.0, {"random": [0.1, 1.0]}],
    "seed": [0, 1],
}


@pytest.mark.parametrize("vary", VALUES)
def test_pairs_equal_those_of_a_loop_over_all_pairs(vary):
    plan, chosen = plan_of({"vary": "view"}), random.Random(vary)
    sizes = []
    for baseline, compared in itertools.combinations(VALUES[vary], 2):
        where = {"epoch": ["last"], "step": ["last"], "view": ["raw"]}
        for column in chosen.sample(list(VALUES), 2):
            where[column] = chosen.sample(VALUES[column], 1)
        where |= {"label": BIRDS[:2]} if chosen.random() < 0.3 else {}
        where.pop(vary, None)
        expected = brute_force(plan, Comparison(vary, baseline, compared, where, []))
        found = pairs_of(vary, baseline, compared, **where)
        assert len(found) == len(set(found)) and set(found) == expected
        sizes.append(len(expected))
    assert max(sizes) > 0


@pytest.mark.slow
def test_a_hundred_thousand_dreams_are_compared_in_seconds():
    labels = [f"class_{number}" for number in range(100)]
    recipe = {"seed": 0, "steps": [1, 2, 3, 4, 5], "blur_sigma": 0.0}
    recipes = {f"r-{seed}": {**recipe, "seed": seed} for seed in range(20)}
    epochs = {run: {name: list(range(5)) for name in recipes} for run in ("a", "b")}
    began = time.perf_counter()
    dreams = DreamQuery(
        dict.fromkeys(recipes, "r"), recipes, epochs, labels, {run: {"run": run, "training_seed": 0} for run in epochs}
    )
    pairs = dreams.pairs(Comparison("run", "a", "b", {"epoch": ["last"], "step": ["last"], "view": ["raw"]}, []))
    assert len(pairs) == 20 and 2 * 5 * 20 * 5 * 100 == 100_000
    assert time.perf_counter() - began < 5


RARE = {"blur_sigma": 1.5, "seed": [0, 1], "steps": [5], "runs": ["a"], "epochs": [0]}


def test_missing_dreams_are_skipped_or_refused(monkeypatch):
    monkeypatch.setitem(RECIPES, "rare", RARE)
    assert sides({"vary": "recipe", "where": {"epoch": "first"}}) == [("soft", "sharp"), ("soft", "rare")]
    pairs = pairs_of("recipe", "soft", "rare", epoch=["first"])
    assert len(pairs) == 2 * 2 * 3 and {dream[0] for pair in pairs for dream in pair} == {"a"}, "two blurs, two seeds"
    for where, sentence in (
        ({"recipe": "rare"}, "contrasts.0.where: no dream has all of these values"),
        ({"recipe": "rare", "epoch": "first", "run": "b"}, "contrasts.0.where: no dream has all of these values"),
    ):
        with pytest.raises(UserError, match=sentence):
            plan_of({"vary": "seed", "where": where})
    with pytest.raises(
        UserError, match=r"contrasts.0.values: no dream selected by 'where' has epoch 'last'; available: 0"
    ):
        plan_of({"vary": "epoch", "values": ["first", "last"], "where": {"recipe": "rare"}})


@pytest.mark.parametrize(
    ("contrast", "sentence"),
    [
        ({}, ": the key 'vary' is missing"),
        ({"vary": "epock"}, ".vary: unknown factor 'epock'; did you mean 'epoch'?"),
        ({"vary": "label"}, ".vary: unknown factor 'label'; "),
        ({"vary": "steps"}, ".vary: unknown factor 'steps'; "),
        ({"vary": "step", "wear": 1}, ": unknown key 'wear'; did you mean 'where'?"),
        (
            {"vary": "step", "where": {"recipes": "soft"}},
            ".where: unknown factor 'recipes'; ",
        ),
        (
            {"vary": "step", "where": {"recipe": "sof"}},
            ".where.recipe: no dream has recipe 'sof'; did you mean 'soft'?",
        ),
        ({"vary": "epoch", "values": [0, 4]}, ".values: no dream has epoch 4; available: 0, 0.5, 2, 3"),
        (
            {"vary": "step", "where": {"recipe": "soft"}, "values": [5, 20]},
            ".values: no dream selected by 'where' has step 20; ",
        ),
        ({"vary": "step", "where": {"view": "row"}}, ".where.view: no dream has view 'row'; did you mean 'raw'?"),
        ({"vary": "step", "where": {"run": "a", "epoch": 3}}, ".where: no dream has all of these values"),
        (
            {"vary": "run", "values": ["a"]},
            ".values: at least two values are needed; add one, or set 'against' to chance",
        ),
        ({"vary": "run", "values": []}, ".values: must contain at least 1 value, not []"),
        ({"vary": "run", "values": ["a", "a"]}, ".values: has duplicate values: ['a', 'a']; remove them"),
        ({"vary": "epoch", "values": [[0, 2], 3]}, ".values.0: must be a string, a number, true or false"),
        ({"vary": "run", "values": [{"a": 1}, "b"]}, ".values: no dream has run {a: 1}; available: a, b"),
        ({"vary": "run", "where": {"run": "a"}}, ".where: unknown factor 'run'; "),
        ({"vary": "epoch", "values": [0, 0.5]}, ": no two dreams differ only in epoch (0 and 0.5); "),
        ({"vary": "step", "values": [10, 20]}, ": no two dreams differ only in step (10 and 20); "),
        (
            {"vary": "epoch", "values": ["last", 2], "where": {"run": "a"}},
            ": no two dreams differ only in epoch ('last' and 2); ",
        ),
        ({"vary": "run", "measures": ["judge"]}, ".measures.0: unknown value 'judge'; "),
        (
            {"vary": "run", "against": "chance", "measures": ["mean_abs_change"]},
            ".measures: 'mean_abs_change' has no chance level; ",
        ),
        (
            {"vary": "view", "measures": ["dreamer_top1"]},
            ".measures: 'dreamer_top1' is the same in both views; remove it",
        ),
    ],
)
def test_impossible_contrasts_are_refused(contrast, sentence):
    with pytest.raises(UserError) as error:
        plan_of({"vary": "view"}, contrast)
    assert str(error.value).startswith(f"questions.q.contrasts.1{sentence}")


def test_an_empty_text_is_refused():
    with pytest.raises(UserError, match=r"^questions\.q\.text: "):
        plan_of({"vary": "view"}, text="")

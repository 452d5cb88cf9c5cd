"""What an experiment compares, and that what it can't compare is said in one sentence."""

import pytest
from plans import BIRDS

from dreambirds.errors import StudyError
from dreambirds.study.experiment import Dreams
from dreambirds.study.plan import make_plan

RECIPES = {
    "soft": {"blur_sigma": [0.5, {"random": [0.1, 1.0]}], "seed": [0, 1], "steps": [5, 10]},
    "sharp": {"blur_sigma": 0.0, "seed": [0, 1], "steps": [5, 20]},
}


def plan_of(*contrasts: dict, question: str = "Why?"):
    """Return a plan of two runs of different epochs that compares this."""
    runs = {name: {"model": "test_resnet", "epochs": epochs} for name, epochs in (("a", [0, 2]), ("b", [0.5, 3]))}
    section = {"question": question, "contrasts": list(contrasts)}
    config = {"gpu": 0, "judges": {}, "dataset": {"image_size": 32, "labels": BIRDS}, "runs": runs}
    return make_plan({**config, "dreams": {"recipes": RECIPES}, "experiment": section})


def sides(*contrasts: dict) -> list[tuple]:
    """Return what is compared with what."""
    return [(each.before, each.after) for each in plan_of(*contrasts).comparisons]


@pytest.mark.parametrize(
    ("contrast", "compared"),
    [
        ({"vary": "epoch"}, [(0, 0.5), (0, 2), (0, 3)]),
        ({"vary": "epoch", "where": {"run": "b"}}, [(0.5, 3)]),
        ({"vary": "epoch", "values": ["first", "last"]}, [("first", "last")]),
        ({"vary": "step", "against": "previous"}, [(5, 10), (10, 20)]),
        ({"vary": "run", "values": ["b", "a"]}, [("b", "a")]),
        ({"vary": "recipe"}, [("soft", "sharp")]),
        ({"vary": "view"}, [("raw", "rescaled")]),
        ({"vary": "blur_sigma"}, [(0.5, {"random": [0.1, 1.0]}), (0.5, 0.0)]),
        ({"vary": "blur_sigma", "where": {"recipe": "soft"}}, [(0.5, {"random": [0.1, 1.0]})]),
        ({"vary": "run", "values": ["a"], "against": "chance"}, [(None, "a")]),
    ],
)
def test_values_are_compared_with_the_first_the_one_before_or_chance(contrast, compared):
    assert sides(contrast) == compared


def test_ends_are_those_of_each_run_and_recipe():
    plan = plan_of({"vary": "view"})
    dreams = Dreams(plan.config, plan.recipes, plan.dreams)
    last = dreams.pick({"epoch": ["last"], "step": ["last"]})
    assert set(last[["run", "epoch"]].itertuples(index=False, name=None)) == {("a", 2), ("b", 3)}
    assert {(recipe.partition("-")[0], step) for recipe, step in zip(last["recipe"], last["step"], strict=True)} == {
        ("soft", 10),
        ("sharp", 20),
    }
    some = dreams.pick({"epoch": ["first", 3], "blur_sigma": [{"random": [0.1, 1.0]}], "label": ["blue_jay"]})
    assert set(some["epoch"]) == {0, 0.5, 3} and len(some) == 3 * 2 * 2 and set(some["label"]) == {"blue_jay"}


def test_partners_differ_in_what_varies_only():
    plan = plan_of({"vary": "view"})
    dreams = Dreams(plan.config, plan.recipes, plan.dreams)
    rows = plan.dreams.drop_duplicates("recipe")
    words = dict(zip(rows["recipe"], dreams.partners(rows, "blur_sigma"), strict=True))
    assert len(words) == 6 and len(set(words.values())) == 2, "one word a seed, since steps do not count"
    assert len(set(dreams.partners(rows, "seed"))) == 3 and len(set(dreams.partners(rows, "epoch"))) == 6
    assert set(dreams.partners(rows, "recipe")) == {0, 1}


@pytest.mark.parametrize(
    ("contrast", "sentence"),
    [
        ({}, ": the key 'vary' is missing"),
        ({"vary": "epock"}, ".vary: 'epock' is nothing that dreams can be told by; did you mean 'epoch'?"),
        ({"vary": "label"}, ".vary: 'label' is nothing that dreams can be told by; "),
        ({"vary": "steps"}, ".vary: 'steps' is nothing that dreams can be told by; "),
        ({"vary": "step", "wear": 1}, ": unknown key 'wear'; did you mean 'where'?"),
        ({"vary": "step", "where": {"recipes": "soft"}}, ".where: 'recipes' is nothing that dreams can be told by; "),
        (
            {"vary": "step", "where": {"recipe": "sof"}},
            ".where.recipe: no dream has recipe 'sof'; did you mean 'soft'?",
        ),
        ({"vary": "epoch", "values": [0, 4]}, ".values: no dream has epoch '4'; allowed: 0, 0.5, 2, 3"),
        ({"vary": "step", "where": {"recipe": "soft"}, "values": [5, 20]}, ".values: no dream has step '20'; "),
        ({"vary": "step", "where": {"view": "row"}}, ".where.view: there is no view 'row'; did you mean 'raw'?"),
        ({"vary": "step", "where": {"run": "a", "epoch": 3}}, ".where: no dream has all of this"),
        ({"vary": "run", "values": ["a"]}, ".values: two values at least are compared, or one against chance"),
        ({"vary": "run", "values": []}, ".values: must hold at least 1 value(s), not []"),
        ({"vary": "run", "measures": ["judge"]}, ".measures.0: unknown value 'judge'; "),
        ({"vary": "run", "against": "chance", "measures": ["change"]}, ".measures: 'change' has no chance; "),
        ({"vary": "view", "measures": ["own_top1"]}, ".measures: 'own_top1' is the same in both views"),
    ],
)
def test_what_can_t_be_compared_is_refused(contrast, sentence):
    with pytest.raises(StudyError) as error:
        plan_of({"vary": "view"}, contrast)
    assert str(error.value).startswith(f"experiment.contrasts.1{sentence}")


def test_a_question_is_asked():
    with pytest.raises(StudyError, match=r"^experiment\.question: "):
        plan_of({"vary": "view"}, question="")

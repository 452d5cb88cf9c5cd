"""Answers of experiments, where they are known: against plain loops over made-up dreams."""

import math
from statistics import mean, stdev

import pandas as pd
import pytest

from dreambirds.evaluation.columns import DREAMS
from dreambirds.evaluation.contrasts import FINDINGS, say, stack_views
from dreambirds.plan.plan import make_plan
from tests.helpers.values import contrasts_of

LABELS = ["blue_jay", "northern_cardinal", "yellow_warbler", "scarlet_tanager", "great_blue_heron", "eastern_bluebird"]
RECIPES = {
    "soft": {"blur_sigma": [0.5, 1.0], "seed": [0, 1], "steps": [5, 10]},
    "sharp": {"blur_sigma": 0.0, "seed": [0, 1], "steps": [5, 20]},
}


def plan_of(*contrasts: dict, labels=LABELS):
    """Return a plan of two runs of different epochs that compares this."""
    runs = {name: {"model": "test_resnet", "epochs": epochs} for name, epochs in (("a", [0, 2]), ("b", [0, 3]))}
    section = {"question": "Why?", "contrasts": list(contrasts)}
    config = {"gpu": 0, "judges": {}, "dataset": {"image_size": 32, "labels": labels}, "runs": runs}
    return make_plan({**config, "dreams": {"recipes": RECIPES}, "experiment": section})


def probability(dream) -> float:
    """Return a number that tells a dream's place in every way."""
    place = LABELS.index(dream.label)
    early = 0.1 if dream.epoch == 0 else 0.5 + 0.01 * place + (0.05 if dream.run == "b" else 0)
    return early + 0.001 * dream.step + (0.02 * place if "1-seed" in dream.recipe else 0)


def table_of(plan, judge: str | None = "j") -> pd.DataFrame:
    """Return a table of dreams whose probabilities are known; rescaled ones are a tenth more."""
    rows = []
    for dream in plan.dreams.itertuples():
        said = {"judge_probability": probability(dream), "judge_probability_rescaled": probability(dream) + 0.1}
        mine = {
            "run": dream.run,
            "epoch": dream.epoch,
            "recipe": dream.recipe,
            "label": dream.label,
            "step": dream.step,
        }
        rows.append({**mine, "dreamer_probability": 0.25, **({"judge": judge, **said} if judge else {})})
    return pd.DataFrame(rows).reindex(columns=DREAMS)


def found(contrast: dict, **more) -> pd.DataFrame:
    """Return the answer to one contrast."""
    plan = plan_of({"measures": ["judge_probability"], **contrast})
    return contrasts_of(plan, table_of(plan, **more))


def by_hand(plan, before, after, key) -> list[float]:
    """Return the differences by class of dreams that two conditions choose, paired by a key, in plain loops."""
    differences = []
    for label in LABELS:
        mine = [dream for dream in plan.dreams.itertuples() if dream.label == label]
        first = {key(dream): probability(dream) for dream in mine if before(dream)}
        second = {key(dream): probability(dream) for dream in mine if after(dream)}
        differences.append(mean(second[each] - first[each] for each in first if each in second))
    return differences


def last(dream) -> bool:
    """Tell whether a dream is its run's and recipe's last."""
    return dream.epoch == {"a": 2, "b": 3}[dream.run] and dream.step == (20 if "sharp" in dream.recipe else 10)


def seed(dream) -> str:
    """Return a dream's seed, as its recipe's name has it."""
    return dream.recipe[-1]


CASES = {
    "epoch": (
        {"vary": "epoch", "values": ["first", "last"], "where": {"recipe": "soft"}},
        lambda d: d.epoch == 0 and d.step == 10 and "soft" in d.recipe,
        lambda d: "soft" in d.recipe and last(d),
        lambda d: (d.run, d.recipe),
    ),
    "run": (
        {"vary": "run"},
        lambda d: d.run == "a" and last(d),
        lambda d: d.run == "b" and last(d),
        lambda d: d.recipe,
    ),
    "recipe": (
        {"vary": "recipe", "where": {"run": "a", "blur_sigma": [1.0, 0.0]}},
        lambda d: d.run == "a" and "blur_sigma-1-" in d.recipe and last(d),
        lambda d: d.run == "a" and "sharp" in d.recipe and last(d),
        seed,
    ),
    "parameter": (
        {"vary": "blur_sigma", "values": [0.5, 1.0]},
        lambda d: "blur_sigma-0.5" in d.recipe and last(d),
        lambda d: "blur_sigma-1-" in d.recipe and last(d),
        lambda d: (d.run, seed(d)),
    ),
    "step": (
        {"vary": "step", "values": [5, 10], "where": {"epoch": "first"}},
        lambda d: d.epoch == 0 and d.step == 5 and "soft" in d.recipe,
        lambda d: d.epoch == 0 and d.step == 10,
        lambda d: (d.run, d.recipe),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_difference_is_that_of_plain_loops(case):
    contrast, before, after, key = CASES[case]
    (row,) = found(contrast).to_dict("records")
    plan = plan_of({"vary": "view"})
    differences = by_hand(plan, before, after, key)
    assert row["difference"] == pytest.approx(mean(differences))
    assert row["mean_compared"] - row["mean_baseline"] == pytest.approx(mean(differences))
    assert row["n_classes"] == 6 and row["n_pairs"] == 6 * len({key(d) for d in plan.dreams.itertuples() if before(d)})
    if stdev(differences) > 1e-9:
        assert row["cohens_dz"] == pytest.approx(mean(differences) / stdev(differences))
    assert row["verdict"] == ("higher" if mean(differences) > 0 else "lower")
    assert row["ci_low"] <= row["difference"] <= row["ci_high"]


def test_views_are_compared_and_chosen():
    (row,) = found({"vary": "view"}).to_dict("records")
    assert row["difference"] == pytest.approx(0.1) and row["n_pairs"] == 6 * 2 * 6
    (row,) = found({"vary": "view", "values": ["rescaled", "raw"]}).to_dict("records")
    assert row["difference"] == pytest.approx(-0.1) and row["verdict"] == "lower" and math.isnan(row["cohens_dz"])
    raw, rescaled = (found({"vary": "run", "where": {"view": view}}).iloc[0] for view in ("raw", "rescaled"))
    assert rescaled["mean_compared"] - raw["mean_compared"] == pytest.approx(0.1)
    assert (raw["where"], rescaled["where"]) == ("", "rescaled view")


def taken_for(plan, judge) -> pd.DataFrame:
    """Return a table of dreams of which the judge sees what a function of the label says."""
    table = table_of(plan)
    table["judge_prediction"] = [judge(label) for label in table["label"]]
    table["judge_top1"] = (table["judge_prediction"] == table["label"]).astype(int)
    return table


@pytest.mark.parametrize(
    ("judge", "before", "after", "word"),
    [
        (lambda label: label, 0.0, 1.0, "higher"),
        (lambda _: "blue_jay", 1 / 6, 1 / 6, "no difference seen"),
        (lambda _: "a bird of the judge's own", 0.0, 0.0, "no difference seen"),
        (lambda label: label if LABELS.index(label) else LABELS[1], 1 / 5 / 6, 5 / 6, "higher"),
    ],
)
def test_chance_is_how_often_other_dreams_are_taken_for_a_class(judge, before, after, word):
    plan = plan_of({"vary": "epoch", "values": ["first"], "against": "chance", "measures": ["judge_top1"]})
    (row,) = contrasts_of(plan, taken_for(plan, judge)).to_dict("records")
    assert (row["baseline"], row["verdict"]) == ("chance", word)
    assert row["mean_baseline"] == pytest.approx(before) and row["mean_compared"] == pytest.approx(after)


def test_two_judges_are_not_compared_with_each_other():
    plan = plan_of({"vary": "run", "measures": ["judge_probability", "dreamer_probability"]})
    table = table_of(plan)
    table["judge"] = table["run"].map({"a": "one", "b": "other"})
    judged, own = contrasts_of(plan, table).to_dict("records")
    assert (judged["verdict"], judged["n_pairs"]) == ("not measured", 0) and own["n_pairs"] == 6 * 6


def test_equal_dreams_show_no_difference_and_few_classes_tell_nothing():
    (row,) = found({"vary": "seed"}).to_dict("records")
    assert (row["difference"], row["cohens_dz"], row["verdict"]) == (0, 0, "no difference seen")
    plan = plan_of({"vary": "view"}, labels=LABELS[:4])
    assert set(contrasts_of(plan, table_of(plan))["verdict"]) >= {"too few classes to tell"}


def test_what_nobody_judged_was_not_measured():
    table = found({"vary": "run"}, judge=None)
    assert list(table) == FINDINGS and list(table["verdict"]) == ["not measured"] and table["n_pairs"].iloc[0] == 0


def test_a_table_by_view_has_every_dream_twice():
    plan = plan_of({"vary": "view"})
    table = table_of(plan)
    long = stack_views(table)
    assert len(long) == 2 * len(table) and not [column for column in long if column.endswith("_rescaled")]
    rescaled = long[long["view"] == "rescaled"]["judge_probability"].to_numpy()
    assert (rescaled == table["judge_probability_rescaled"].to_numpy()).all()


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.5"), (1.0, "1"), ("last", "last"), ({"random": [0.1, 1.0]}, "random 0.1 to 1"), (10, "10")],
)
def test_values_are_said_as_people_say_them(value, text):
    assert say(value) == text

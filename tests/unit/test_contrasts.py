"""Answers to questions, compared with plain loops over synthetic dreams."""

import math
from statistics import mean, stdev

import pandas as pd
import pytest

from dreambirds.evaluation.columns import DREAMS
from dreambirds.evaluation.contrasts import FINDINGS, format_value, stack_views
from dreambirds.plan.plan import make_plan
from tests.helpers.values import contrasts_of

LABELS = ["blue_jay", "northern_cardinal", "yellow_warbler", "scarlet_tanager", "great_blue_heron", "eastern_bluebird"]
RECIPES = {
    "soft": {"blur_sigma": [0.5, 1.0], "seed": [0, 1], "steps": [5, 10]},
    "sharp": {"blur_sigma": 0.0, "seed": [0, 1], "steps": [5, 20]},
}


def plan_of(*contrasts: dict, labels=LABELS):
    """Return a plan of two runs with different epochs and the given contrasts."""
    runs = {name: {"model": "test_resnet", "epochs": epochs} for name, epochs in (("a", [0, 2]), ("b", [0, 3]))}
    section = {"text": "Why?", "contrasts": list(contrasts)}
    config = {"gpu": 0, "judges": {}, "dataset": {"image_size": 32, "labels": labels}, "runs": runs}
    return make_plan({**config, "dreams": {"recipes": RECIPES}, "questions": {"q": section}})


def probability(dream) -> float:
    """Return a value that depends on every property of a dream."""
    index = LABELS.index(dream.label)
    early = 0.1 if dream.epoch == 0 else 0.5 + 0.01 * index + (0.05 if dream.run == "b" else 0)
    return early + 0.001 * dream.step + (0.02 * index if "1-seed" in dream.recipe else 0)


def table_of(plan, judge: str | None = "j") -> pd.DataFrame:
    """Return a table of dreams with known probabilities; those of the rescaled view are 0.1 higher."""
    rows = []
    for dream in plan.dreams:
        judged = {"judge_probability": probability(dream), "judge_probability_rescaled": probability(dream) + 0.1}
        mine = {
            "run": dream.run,
            "epoch": dream.epoch,
            "recipe": dream.recipe,
            "label": dream.label,
            "step": dream.step,
        }
        rows.append({**mine, "dreamer_probability": 0.25, **({"judge": judge, **judged} if judge else {})})
    return pd.DataFrame(rows).reindex(columns=DREAMS)


def found(contrast: dict, **more) -> pd.DataFrame:
    """Return the result of one contrast."""
    plan = plan_of({"measures": ["judge_probability"], **contrast})
    return contrasts_of(plan, table_of(plan, **more))


def by_hand(plan, before, after, key) -> list[float]:
    """Return the difference per class between the dreams of two conditions, paired by a key, in plain loops."""
    differences = []
    for label in LABELS:
        mine = [dream for dream in plan.dreams if dream.label == label]
        first = {key(dream): probability(dream) for dream in mine if before(dream)}
        second = {key(dream): probability(dream) for dream in mine if after(dream)}
        differences.append(mean(second[each] - first[each] for each in first if each in second))
    return differences


def last(dream) -> bool:
    """Return whether a dream is the last of its run and recipe."""
    return dream.epoch == {"a": 2, "b": 3}[dream.run] and dream.step == (20 if "sharp" in dream.recipe else 10)


def seed(dream) -> str:
    """Return a dream's seed, from the name of its recipe."""
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
def test_differences_match_plain_loops(case):
    contrast, before, after, key = CASES[case]
    (row,) = found(contrast).to_dict("records")
    plan = plan_of({"vary": "view"})
    differences = by_hand(plan, before, after, key)
    assert row["difference"] == pytest.approx(mean(differences))
    assert row["mean_compared"] - row["mean_baseline"] == pytest.approx(mean(differences))
    assert row["n_classes"] == 6 and row["n_pairs"] == 6 * len({key(d) for d in plan.dreams if before(d)})
    if stdev(differences) > 1e-9:
        assert row["cohens_dz"] == pytest.approx(mean(differences) / stdev(differences))
    assert row["verdict"] == ("higher" if mean(differences) > 0 else "lower")
    assert row["ci_low"] <= row["difference"] <= row["ci_high"]


def test_views_can_be_compared_and_selected():
    (row,) = found({"vary": "view"}).to_dict("records")
    assert row["difference"] == pytest.approx(0.1) and row["n_pairs"] == 6 * 2 * 6
    (row,) = found({"vary": "view", "values": ["rescaled", "raw"]}).to_dict("records")
    assert row["difference"] == pytest.approx(-0.1) and row["verdict"] == "lower" and math.isnan(row["cohens_dz"])
    raw, rescaled = (found({"vary": "run", "where": {"view": view}}).iloc[0] for view in ("raw", "rescaled"))
    assert rescaled["mean_compared"] - raw["mean_compared"] == pytest.approx(0.1)
    assert (raw["where"], rescaled["where"]) == ("", "rescaled view")


def taken_for(plan, judge) -> pd.DataFrame:
    """Return a table of dreams for which the judge predicts `judge(label)`."""
    table = table_of(plan)
    table["judge_prediction"] = [judge(label) for label in table["label"]]
    table["judge_top1"] = (table["judge_prediction"] == table["label"]).astype(int)
    return table


@pytest.mark.parametrize(
    ("judge", "before", "after", "verdict"),
    [
        (lambda label: label, 0.0, 1.0, "higher"),
        (lambda _: "blue_jay", 1 / 6, 1 / 6, "no difference seen"),
        (lambda _: "a bird of the judge's own", 0.0, 0.0, "no difference seen"),
        (lambda label: label if LABELS.index(label) else LABELS[1], 1 / 5 / 6, 5 / 6, "higher"),
    ],
)
def test_chance_is_how_often_dreams_of_other_classes_are_classified_as_the_class(judge, before, after, verdict):
    plan = plan_of({"vary": "epoch", "values": ["first"], "against": "chance", "measures": ["judge_top1"]})
    (row,) = contrasts_of(plan, taken_for(plan, judge)).to_dict("records")
    assert (row["baseline"], row["verdict"]) == ("chance", verdict)
    assert row["mean_baseline"] == pytest.approx(before) and row["mean_compared"] == pytest.approx(after)


def test_dreams_with_different_judges_are_not_compared():
    plan = plan_of({"vary": "run", "measures": ["judge_probability", "dreamer_probability"]})
    table = table_of(plan)
    table["judge"] = table["run"].map({"a": "one", "b": "other"})
    judged, own = contrasts_of(plan, table).to_dict("records")
    assert (judged["verdict"], judged["n_pairs"]) == ("not measured", 0) and own["n_pairs"] == 6 * 6


def test_equal_dreams_give_no_difference_and_few_classes_no_verdict():
    (row,) = found({"vary": "seed"}).to_dict("records")
    assert (row["difference"], row["cohens_dz"], row["verdict"]) == (0, 0, "no difference seen")
    plan = plan_of({"vary": "view"}, labels=LABELS[:4])
    assert set(contrasts_of(plan, table_of(plan))["verdict"]) >= {"too few classes to tell"}


def test_dreams_without_a_judge_are_not_measured():
    table = found({"vary": "run"}, judge=None)
    assert list(table) == FINDINGS and list(table["verdict"]) == ["not measured"] and table["n_pairs"].iloc[0] == 0


def test_a_table_by_view_has_two_rows_per_dream():
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
def test_values_are_formatted_for_people(value, text):
    assert format_value(value) == text

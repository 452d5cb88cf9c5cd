"""The comparison of runs and recipes, and of two studies, on hand-made tables with known results."""

import io
import re

import numpy as np
import pytest
from rich.console import Console

from dreambirds.errors import UserError
from dreambirds.gallery import compare
from dreambirds.gallery.comparison import best, summary, varying
from dreambirds.gallery.differences import differences, effects, most_different, pairs
from tests.helpers.comparisons import LABELS, grid, small_study, write


@pytest.fixture
def study(tmp_path):
    """Return a study with two runs, two recipes with different last steps, and two classes."""
    return small_study(tmp_path)


def printed(*tables, width=200) -> str:
    """Return the terminal output of tables."""
    console = Console(file=io.StringIO(), width=width)
    for table in tables:
        console.print(table)
    return console.file.getvalue()


def test_the_summary_has_one_row_per_run_epoch_and_recipe_with_means_at_the_last_step(study):
    table = summary(study)
    assert varying(study) == ["blur_sigma"]
    assert list(table["run"]) == ["scratch"] * 4 + ["late"] * 4, "grouped by run, in the study's order"
    assert list(table["epoch"])[:4] == [0, 0, 0.25, 0.25] and list(table["recipe"])[:2] == ["a", "b"]
    np.testing.assert_allclose(table["judge_probability"][:2], [0.15, 0.10])
    assert list(table["dreams"]) == [2] * 8 and list(table["seconds"])[:2] == [10, 5]
    assert set(table["validation_accuracy"]) == {0.5} and table["spectrum_distance"].isna().all()


def test_dreams_that_both_studies_have_are_paired(tmp_path):
    one = [row for row in grid(runs=("x", "y"), recipes=("a", "b")) if (row["run"], row["recipe"]) != ("x", "b")]
    first = write(tmp_path / "one", [row for row in one if row["recipe"] == "a" or row["epoch"] == 0])
    both = pairs(first, write(tmp_path / "two", grid(runs=("z",), epochs=(8,), recipes=("c", "b"))))
    found = both[["recipe", "run_1", "run_2", "epoch_1", "epoch_2"]].drop_duplicates().to_numpy().tolist()
    assert found == [["b", "y", "z", 0, 8]], "the run that has the shared recipe, at its last epoch"


def test_rows_are_sorted_within_their_run_best_first(study):
    assert list(summary(study, "judge_probability")["recipe"]) == ["a", "a", "b", "b"] * 2
    assert list(summary(study, "seconds")["seconds"])[:4] == [5, 5.25, 10, 10.25], "fewer seconds are better"
    assert list(summary(study, "blur_sigma")["blur_sigma"])[:4] == ["10", "10", "9", "9"], "sorted as numbers"
    with pytest.raises(UserError, match=r"--sort: unknown column 'judge_probabilty'; did you mean 'judge_prob"):
        summary(study, "judge_probabilty")


def test_the_best_values_are_the_lowest_or_the_highest_depending_on_the_metric(study):
    marked = best(summary(study))
    assert list(marked["feature_ratio"]) == [False] * 4 + [True] * 4, "lower is better, and ties are all marked"
    assert list(marked["judge_probability"]) == [True, False] * 4
    assert list(marked["seconds"]) == [False, True, False, False] * 2
    assert not marked["spectrum_distance"].any() and not marked["dreamer_probability"].any(), (
        "columns without measurements have no best value"
    )


def test_the_terminal_shows_one_table_or_two_if_that_is_too_wide(study):
    wide = printed(*compare.overview(study, summary(study), 200))
    assert wide.count("blur_sigma") == 1 and wide.count("recipe's last step") == 1 and "0.150*" in wide
    assert re.search(r"scratch +0 .*\n +0 .*\n +0\.25 ", wide), "a run is named once"
    tables = compare.overview(study, summary(study), 80)
    assert len(tables) == 2
    recipes, means = (printed(table) for table in tables)
    assert "blur_sigma" in recipes and "judge's" not in recipes and "blur_sigma" not in means and "0.150*" in means


def test_names_in_brackets_are_not_markup(tmp_path):
    study = write(tmp_path / "[red]", grid(recipes=("[bold]",)))
    output = printed(*compare.overview(study, summary(study), 200))
    assert "[bold]" in output and "[red]" in output


def test_only_actual_differences_of_parameters_are_listed(tmp_path):
    def ours(recipe, **_):
        return {"blur_sigma": 1, "step_size": '{"from": 1, "to": 2}' if recipe == "a" else 0.5}

    def theirs(recipe, **_):
        return {"blur_sigma": 2 if recipe == "a" else 1.0, "step_size": 0.5}

    settings = '{"batch_size": %d, "schedule": "cosine"}'
    one = write(tmp_path / "1", grid(ours, recipes=("a", "b")), settings=settings % 8)
    two = write(tmp_path / "2", grid(theirs, recipes=("a", "b", "c")), settings=settings % 16)
    found = differences(one, two).fillna("-").to_numpy().tolist()
    assert sorted(found) == [
        ["recipe a", "blur_sigma", "1", "2"],
        ["recipe a", "step_size", '{"from": 1, "to": 2}', "0.5"],
        ["recipe c", "", "-", "present"],
        ["run scratch", "batch_size", "8", "16"],
    ]


def test_if_no_name_is_shared_the_first_run_and_recipe_are_compared(tmp_path):
    one = write(tmp_path / "1", grid(lambda **_: {"blur_sigma": 1}, recipes=("a",)))
    two = write(tmp_path / "2", grid(lambda **_: {"blur_sigma": 2}, recipes=("b",), epochs=(0, 9)))
    found = differences(one, two).to_numpy().tolist()
    assert found == [["run scratch", "epochs", "0, 4", "0, 9"], ["recipe a / b", "blur_sigma", "1", "2"]]
    assert differences(one, one).empty
    both = pairs(one, two)
    assert set(both["recipe_1"]) == {"a"} and set(both["recipe_2"]) == {"b"} and set(both["epoch"]) == {0}


def test_pairs_agree_as_far_as_possible_at_the_last_common_step(tmp_path):
    one = write(tmp_path / "1", grid(epochs=(0, 1, 4), recipes=("a", "b"), steps=(5, 10, 20)))
    two = write(tmp_path / "2", grid(epochs=(1, 4, 9), recipes=("b", "c"), steps=(5, 10), labels=LABELS[1:]))
    both = pairs(one, two)
    assert len(both) == 2 * 1 * 5 and set(both["step"]) == {10}
    assert set(both["epoch"]) == {1, 4} and set(both["recipe"]) == {"b"} and "ant" not in set(both["label"])


def test_studies_without_a_common_step_or_epoch_are_paired_at_their_last(tmp_path):
    one = write(tmp_path / "1", grid(epochs=(0, 4), steps=(5, 10)))
    two = write(tmp_path / "2", grid(epochs=(1, 8), steps=(3, 50)))
    both = pairs(one, two)
    assert len(both) == len(LABELS) and set(both["epoch_1"]) == {4} and set(both["epoch_2"]) == {8}
    assert set(both["step_1"]) == {10} and set(both["step_2"]) == {50}


def test_studies_of_different_classes_are_not_compared(tmp_path):
    one, two = (write(tmp_path / name, grid(labels=[name])) for name in ("ant", "bee"))
    with pytest.raises(UserError, match="have no label in common"):
        pairs(one, two)


def test_effects_are_averaged_per_label_and_their_interval_is_over_labels(tmp_path):
    change = dict(zip(LABELS, [0.10, 0.12, 0.20, 0.14, 0.18, 0.40], strict=True))

    def after(label, epoch, **_):
        return {"judge_probability": 0.2 + change[label] + epoch / 100, "seconds": 3, "feature_ratio": 2}

    one = write(tmp_path / "1", grid(lambda **_: {"judge_probability": 0.2, "seconds": 2, "feature_ratio": 2}))
    rows = [row for row in grid(after) if not (row["label"] == "fox" and row["epoch"] == 4)]
    found = {effect.measure: effect for effect in effects(pairs(one, write(tmp_path / "2", rows)))}
    effect, by_label = found["judge_probability"], np.array([0.12, 0.14, 0.22, 0.16, 0.20, 0.40])
    assert effect.mean == pytest.approx(by_label.mean()) and (effect.n_classes, effect.n_pairs) == (6, 11)
    assert effect.first == pytest.approx(0.2) and effect.second == pytest.approx(0.2 + by_label.mean())
    reach = 2.5706 * by_label.std(ddof=1) / np.sqrt(6)  # Student's t of 5 degrees of freedom, from a table
    np.testing.assert_allclose([effect.ci_low, effect.ci_high], [effect.mean - reach, effect.mean + reach], atol=1e-4)
    assert effect.verdict == "better" and found["seconds"].verdict == "worse" and found["feature_ratio"].verdict == ""
    assert set(found) == {"judge_probability", "seconds", "feature_ratio"}, (
        "metrics that were not measured have no effect"
    )


def test_few_labels_give_no_verdict(tmp_path):
    one, two = (
        write(tmp_path / str(value), grid(lambda value=value, **_: {"dreamer_probability": value}, labels=LABELS[:3]))
        for value in (0, 1)
    )
    (effect,) = effects(pairs(one, two))
    assert effect.mean == 1 and effect.n_classes == 3 and effect.verdict == ""


def test_the_pairs_that_differ_most_are_ranked_by_the_judge_or_else_by_the_dreamer(tmp_path):
    def value(label, **_):
        return {"dreamer_probability": LABELS.index(label) / 10}

    one = write(tmp_path / "1", grid(lambda **_: {"dreamer_probability": 0.19}, epochs=(4,)))
    both = pairs(one, write(tmp_path / "2", grid(value, epochs=(4,))))
    chosen, by = most_different(both, 3)
    assert list(chosen["label"]) == ["fox", "elk", "ant"] and by == "dreamer_probability"
    both = both.assign(judge_probability_1=0.0, judge_probability_2=[1.0, 0, 0, 0, 0, 0.5])
    chosen, by = most_different(both, 2)
    assert list(chosen["label"]) == ["ant", "fox"] and by == "judge_probability"

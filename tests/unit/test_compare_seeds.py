"""Comparisons of studies with several seeds: they are pooled, in one study and in two."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from dreambirds.gallery import compare
from dreambirds.gallery.comparison import MEASURES, summary
from dreambirds.gallery.differences import differences, effects, pairs, pool_seeds
from tests.helpers.archives import write_images
from tests.helpers.comparisons import LABELS, grid, seeds_study, write
from tests.helpers.pages import Page


def measured(shift: float = 0.0):
    """Return a function that measures a dream from its seeds; some are not judged."""

    def value(training, dreaming, epoch, label, step):
        number = LABELS.index(label) / 10 + training / 3 + dreaming**2 / 50 + epoch / 7 + step / 100 + shift
        judged = None if (training, dreaming, label) == (1, 4, "cat") else number
        return {"judge_probability": judged, "dreamer_probability": number**2, "seconds": 5 - number}

    return value


@pytest.fixture
def study(tmp_path):
    """Return a study of one run with two training seeds, and one recipe with two dream seeds."""
    return seeds_study(tmp_path / "pooled", measured())


def table_of(study) -> pd.DataFrame:
    """Return the table of dreams of a study as it is in its file."""
    return pd.read_csv(study.folder / "dreams.csv")


def test_a_summary_has_one_row_per_group_with_the_means_of_all_seeds(study):
    table, written = summary(study), table_of(study)
    assert list(table["run"]) == ["fine"] * 2 and list(table["recipe"]) == ["plain"] * 2 and "seed" not in table
    assert list(table["dreams"]) == [2 * 2 * len(LABELS)] * 2
    for epoch, row in table.set_index("epoch").iterrows():
        last = written[(written["epoch"] == epoch) & (written["step"] == 10)]
        for name in MEASURES:
            np.testing.assert_allclose(row[name], last[name].mean())


def test_the_validation_accuracy_is_the_mean_over_the_training_seeds(tmp_path):
    study = seeds_study(tmp_path / "s", validation_accuracy=[0.2, 0.4, 0.6, 0.9])
    np.testing.assert_allclose(summary(study)["validation_accuracy"], [0.4, 0.65])


def test_parameters_of_a_grid_stay_columns_and_groups_stay_apart(tmp_path):
    rows = []
    for blur in (1, 2):
        for seed in (0, 1):
            for row in grid(recipes=(f"r-blur_sigma-{blur}-seed-{seed}",)):
                rows.append({**row, "recipe_group": f"r-blur_sigma-{blur}", "dream_seed": seed, "blur_sigma": blur})
    table = summary(write(tmp_path / "s", rows))
    assert list(table["recipe"]) == ["r-blur_sigma-1", "r-blur_sigma-2"] * 2
    assert list(table["blur_sigma"]) == ["1", "2"] * 2 and set(table["dreams"]) == {2 * len(LABELS)}


def test_dreams_of_several_seeds_become_one_with_their_means(study):
    keys = ["run_group", "epoch", "recipe_group", "label", "step"]
    expected = table_of(study).groupby(keys)[list(MEASURES)].mean()
    found = pool_seeds(study.dreams)
    assert len(found) == 2 * len(LABELS) * 2 and set(found["dreams"]) == {4}
    found = found.set_index(["run", "epoch", "recipe", "label", "step"]).loc[expected.index, list(MEASURES)]
    np.testing.assert_allclose(found.to_numpy(float), expected.to_numpy(float))
    assert set(pool_seeds(study.dreams)["image_path"].str.split("/").str[3]) == {"plain-seed-3"}, "the first dream"


def test_two_studies_are_compared_by_groups_also_with_other_seeds(study, tmp_path):
    other = seeds_study(tmp_path / "other", measured(0.25), training=(1, 2, 3), dreaming=(4,))
    both = pairs(study, other)
    assert len(both) == 2 * len(LABELS) and set(both["dreams_1"]) == {4} and set(both["dreams_2"]) == {3}
    one, two = (table_of(each).query("step == 10") for each in (study, other))
    effect = next(effect for effect in effects(both) if effect.measure == "dreamer_probability")
    expected = [each.groupby(["label", "epoch"])["dreamer_probability"].mean().mean() for each in (one, two)]
    np.testing.assert_allclose([effect.first, effect.second, effect.mean], [*expected, expected[1] - expected[0]])
    assert differences(study, other).to_numpy().tolist() == [
        ["run fine", "training_seed", "0, 1", "1, 2, 3"],
        ["recipe plain", "dream_seed", "3, 4", "4"],
    ]


def test_pages_and_terminal_say_that_seeds_are_pooled(study, tmp_path, capsys):
    compare.write_overview(study.folder, tmp_path / "page.html")
    page = Page(tmp_path / "page.html").text
    assert "Each row contains the dreams of all training seeds and dream seeds." in page and "fine-seed" not in page
    compare.compare([study.folder])
    assert "training and dream seeds are pooled" in capsys.readouterr().out
    single = write(tmp_path / "single", grid())
    compare.write_overview(single.folder, tmp_path / "single.html")
    assert "seeds" not in Page(tmp_path / "single.html").text


def test_a_pair_of_two_studies_says_how_many_seeds_its_values_are_the_mean_of(study, tmp_path):
    other = seeds_study(tmp_path / "other", measured(0.25), training=(1,), dreaming=(4,))
    for each in (study, other):
        images = [SimpleNamespace(**row) for row in table_of(each).to_dict("records")]
        write_images(each.folder / "dreams", images, lambda *_: "red", lambda _: (4, 4))
    text = Page(compare.compare_two(study, other, compare.Console(quiet=True))).text
    assert text.count("the mean of 4 seeds; the image shows the first") == 2 * len(LABELS)
    assert "the mean of 1" not in text

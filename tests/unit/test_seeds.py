"""Several seeds of a run or a recipe: pooled in plots, one of them in a montage, and the picked one marked."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageColor

from dreambirds.errors import UserError
from dreambirds.evaluation.columns import SAME_TRIES, mark_picked
from dreambirds.evaluation.contrasts import bootstrap_mean
from dreambirds.figures import draw
from dreambirds.figures.montage import FRAME, Grid, montage
from dreambirds.figures.plots import PLOTS
from dreambirds.figures.recognition import Recognition
from dreambirds.figures.selection import Selection
from dreambirds.plan import targets
from dreambirds.plan.plan import make_plan
from tests.helpers.archives import write_images

LABELS = ["blue_jay", "northern_cardinal"]
RECIPES = {"many": {"steps": [2, 5], "seed": [7, 8]}, "one": {"steps": [3]}, "late": {"steps": [4], "epochs": ["last"]}}


@pytest.fixture(scope="module")
def plan():
    """Return a plan with two training seeds, one other run, and two dream seeds of one recipe."""
    runs = {"tuned": {"model": "test_resnet", "epochs": [0, 1], "seed": [0, 1]}, "other": {"model": "test_resnet"}}
    runs["other"]["epochs"] = [1]
    dataset = {"image_size": 32, "labels": LABELS}
    return make_plan({"gpu": 0, "judges": {}, "dataset": dataset, "runs": runs, "dreams": {"recipes": RECIPES}})


def test_default_montages_and_films_show_the_first_seed_of_each_group(plan):
    files = [file.removeprefix("results/default/") for file in targets.montages(plan) + targets.films(plan)]
    assert {file.split("/")[1] for file in files} == {"tuned-seed-0", "other"}
    assert {file.split("/")[2] for file in files if file.count("/") == 3} == {"many-seed-7", "many", "one", "late"}
    by_seed = [file for file in files if "class-by-seed" in file]
    name = "many/class-by-seed_epoch-0001_rescaled.png"
    assert by_seed == [f"montages/{run}/{name}" for run in ("tuned-seed-0", "other")]


def shared(layout: str, place: str, at: str, run: str = "tuned-seed-1") -> dict:
    """Return the values that the dreams of a montage share."""
    return targets.montage_dreams(layout, run, place, at, "raw")


def test_a_montage_of_all_recipes_has_one_seed_of_each_and_a_montage_of_seeds_has_all(plan):
    folder = "results/default/dreams/tuned-seed-1/epoch-000"
    found = targets.shown_archives(plan, shared("recipe-by-class", "", "epoch-0001"))
    assert found == [f"{folder}1/{recipe}/dreams.zip" for recipe in ("many-seed-7", "one", "late")]
    found = targets.shown_archives(plan, shared("recipe-by-class", "", "epoch-0000"))
    assert found == [f"{folder}0/{recipe}/dreams.zip" for recipe in ("many-seed-7", "one")]
    found = targets.shown_archives(plan, shared("class-by-seed", "many/", "epoch-0000"))
    assert found == [f"{folder}0/many-seed-{seed}/dreams.zip" for seed in (7, 8)]
    found = targets.shown_archives(plan, shared("class-by-epoch", "many-seed-8/", "step-0005"))
    assert found == [f"{folder}{epoch}/many-seed-8/dreams.zip" for epoch in (0, 1)]


def test_a_montage_of_seeds_that_does_not_exist_is_refused_with_the_existing_ones(plan):
    with pytest.raises(UserError, match="has no dreams with the epoch 0 where the run is 'other'"):
        targets.shown_archives(plan, shared("class-by-seed", "many/", "epoch-0000", "other"))
    for wrong in ("many-seed-7", "late"):
        with pytest.raises(UserError) as error:
            targets.shown_archives(plan, shared("class-by-seed", f"{wrong}/", "epoch-0000"))
        assert str(error.value).startswith(f"epoch 0 of the run 'tuned-seed-1' dreams no recipe '{wrong}' ")
        assert str(error.value).endswith("available: many, one)") or str(error.value).endswith("available: many, one")


def test_a_figure_names_the_seeds_where_there_are_several(plan):
    one = targets.shown_seeds(plan, shared("class-by-epoch", "one/", "step-0003", "other"))
    assert one == {"training_seed": None, "dream_seeds": {"many-seed-7": 7, "many-seed-8": 8}}
    assert targets.shown_seeds(plan, shared("class-by-seed", "one/", "epoch-0001"))["dream_seeds"]["one"] == 0
    values = shared("class-by-epoch", "many-seed-8/", "step-0005")
    selection = Selection("s", pd.DataFrame(), values, {}, **targets.shown_seeds(plan, values))
    named = "recipe many-seed-8 · step 5 · training seed 1 · dream seed 8 · raw view"
    assert selection.describe() == f"run tuned-seed-1 · {named}"


def test_the_archives_of_a_group_make_a_grid_with_one_column_per_seed(plan, tmp_path):
    values = shared("class-by-seed", "many/", "epoch-0001")
    dreams = [dream for dream in plan.dreams if dream.run == "tuned-seed-1" and dream.recipe.startswith("many")]
    archives = write_images(tmp_path, dreams, partial(lambda dream, view: "red"), lambda _: (4, 4))
    selection = Selection.of("s", archives, plan.names, values, **targets.shown_seeds(plan, values))
    grid = selection.grid("label", "dream_seed")
    assert list(grid.columns) == [7, 8] and list(grid.index) == list(plan.names)
    assert [selection.name_of("dream_seed", seed) for seed in grid.columns] == ["dream seed 7", "dream seed 8"]
    assert {picture.name for picture in grid.to_numpy().ravel()} == {f"{label}/step-0005.png" for label in LABELS}
    assert selection.describe() == "run tuned-seed-1 · recipe many · epoch 1 · training seed 1 · raw view"
    assert selection.picked("label", "dream_seed") == set(), "these dreams have no distance"
    measured = Selection("s", selection.dreams.assign(distance=[0.3, 0.1, 0.2, 0.4]), values, plan.names)
    labels = list(plan.names)
    assert measured.picked("label", "dream_seed") == {(labels[0], 8), (labels[1], 7)}


def test_the_picked_dream_has_a_frame(tmp_path):
    Image.new("RGB", (8, 8), "white").save(tmp_path / "white.png")
    cells = [[tmp_path / "white.png"] * 3] * 2
    page = montage(Grid(cells, ["a", "b"], ["1", "2", "3"], "Title", "subtitle", {(1, 2)}), 40)
    framed = np.all(np.asarray(page) == ImageColor.getrgb(FRAME), axis=-1)
    white = np.argwhere(np.all(np.asarray(page) == (255, 255, 255), axis=-1))
    rows, columns = np.nonzero(framed)
    assert (rows.max() - rows.min(), columns.max() - columns.min()) == (43, 43)
    assert rows.max() > white[:, 0].max() and columns.max() > white[:, 1].max(), "the last row and column"


def test_the_picked_dream_has_the_smallest_distance_of_its_tries():
    rng = np.random.default_rng(0)
    keys = {"run": ["a", "b"], "epoch": [0, 1], "recipe_group": ["r", "s"], "label": LABELS, "step": [2, 5]}
    table = pd.MultiIndex.from_product([*keys.values(), range(3)], names=[*keys, "dream_seed"]).to_frame(index=False)
    table["dreamer_distance"] = rng.permutation(len(table)).astype(float)
    table.loc[table["recipe_group"] == "s", "dreamer_distance"] = np.nan
    table = table.sample(frac=1, random_state=0)
    found = mark_picked(table)
    for (_, row), value in zip(table.iterrows(), found, strict=True):
        tries = table[(table[SAME_TRIES] == row[SAME_TRIES]).all(axis=1)]
        expected = row["dreamer_distance"] == tries["dreamer_distance"].min()
        assert pd.isna(value) if row["recipe_group"] == "s" else value == expected
    equal = table.assign(dreamer_distance=0.0)
    assert mark_picked(equal).groupby([equal[key] for key in SAME_TRIES]).sum().eq(1).all()


def measured_dreams() -> pd.DataFrame:
    """Return dreams of two training seeds and two dream seeds, with random probabilities."""
    rng, rows = np.random.default_rng(0), []
    for run in (0, 1):
        for epoch in (0, 1):
            for recipe, seeds in (("many", (7, 8, 9)), ("one", (0,))):
                for seed in seeds:
                    for label in LABELS:
                        row = {"run": f"a-seed-{run}", "run_group": "a", "training_seed": run, "epoch": epoch}
                        row |= {"recipe": f"{recipe}-seed-{seed}", "recipe_group": recipe, "dream_seed": seed}
                        row |= {"label": label, "class_name": label, "step": 5, "dreamer_distance": rng.random()}
                        rows.append({**row, "judge_probability": rng.random(), "judge_top1": rng.integers(2)})
    table = pd.DataFrame(rows).assign(judge_prediction="x")
    return table.assign(picked=mark_picked(table))


def test_plots_pool_the_seeds_of_training_and_of_dreams():
    dreams = measured_dreams()
    accuracy = dreams[["run", "run_group", "epoch"]].drop_duplicates().assign(validation_accuracy=[0.1, 0.2, 0.5, 0.8])
    recognition = Recognition(dreams, accuracy)
    table = PLOTS["by-epoch"](recognition, draw)[0]
    assert list(zip(table["run_group"], table["recipe_group"], table["epoch"], strict=True)) == [
        ("a", recipe, epoch) for epoch in (0, 1) for recipe in ("many", "one")
    ]
    for row in table.itertuples():
        pooled = dreams[(dreams["recipe_group"] == row.recipe_group) & (dreams["epoch"] == row.epoch)]
        expected = bootstrap_mean(pooled["judge_probability"].to_numpy())
        assert (row.mean, row.ci_low, row.ci_high) == expected and row.mean == pooled["judge_probability"].mean()
        assert row.dreams == len(pooled) == (12 if row.recipe_group == "many" else 4)
        assert row.validation_accuracy == pytest.approx({0: 0.3, 1: 0.5}[row.epoch])
    figure = draw.lines(table, "epoch", "probability", "training epoch")
    assert figure.axes[0].get_ylabel() == "probability, mean of 4 to 12 dreams"


def test_the_table_of_recipes_has_a_row_with_the_picked_dreams_of_each_recipe_with_several_seeds():
    dreams = measured_dreams()
    table = PLOTS["recipes"](Recognition(dreams), draw)[0].set_index("recipe_group")
    assert set(table.index) == {"many", "many (picked)", "one"}
    last = dreams[(dreams["epoch"] == 1) & (dreams["recipe_group"] == "many")]
    nearest = last.loc[last.groupby(["run", "label"])["dreamer_distance"].idxmin()]
    assert table.loc["many (picked)", "mean"] == pytest.approx(nearest["judge_probability"].mean())
    assert table.loc["many (picked)", "dreams"] == 4 and table.loc["many", "dreams"] == 12
    unmeasured = dreams.assign(picked=pd.NA)
    assert set(PLOTS["recipes"](Recognition(unmeasured), draw)[0]["recipe_group"]) == {"many", "one"}

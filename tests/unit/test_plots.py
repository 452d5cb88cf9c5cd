"""The tables behind the plots, compared to known numbers, and the drawing of each plot."""

import subprocess
import sys

import pandas as pd
import pytest
from matplotlib import pyplot
from PIL import Image

from dreambirds.data.tables import read_table
from dreambirds.dream_job.archive import write_archive
from dreambirds.errors import REBUILD, UserError
from dreambirds.evaluation.columns import DREAMS, RUNS
from dreambirds.figures import draw
from dreambirds.figures.plots import PLOTS, write_plots
from dreambirds.figures.recognition import OWN, Recognition

EPOCHS, STEPS = [0, 0.25, 4], {"few": [5], "many": [5, 10, 20]}


def tables(judged: bool = True, recipes: dict = STEPS, labels: int = 3) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return tables of dreams and of checkpoints; a dream's probability depends on its epoch, step and label."""
    rows = []
    for epoch in EPOCHS:
        for recipe, steps in recipes.items():
            for step in steps:
                for index in range(labels):
                    label, probability = f"bird_{index}", epoch / 5 + step / 200 + index / 100
                    row = dict.fromkeys(DREAMS) | {"run": "a", "epoch": epoch, "recipe": recipe, "label": label}
                    row |= {"run_group": "a", "recipe_group": recipe}
                    row |= {
                        "class_name": f"<Bird & {index}>",
                        "step": step,
                        "dreamer_probability": 1 - probability,
                        "dreamer_top1": 0,
                    }
                    row |= {"dreamer_prediction": "bird_0", "image_path": f"dreams/{epoch}/{recipe}/{label}/step.png"}
                    row["steps_done"] = 1
                    if judged:
                        row |= {"judge_probability": probability, "judge_top1": int(epoch == 4), "judge": "j"}
                        row |= {"judge_prediction": label if epoch == 4 else "NA"}
                    rows.append(row)
    runs = [dict.fromkeys(RUNS) | {"run": "a", "epoch": epoch, "validation_accuracy": epoch / 10} for epoch in EPOCHS]
    return pd.DataFrame(rows), pd.DataFrame(runs).assign(run_group="a")


def numbers(name: str, recognition: Recognition) -> pd.DataFrame:
    """Return the table of a plot."""
    return PLOTS[name](recognition, draw)[0]


def test_plots_have_a_fixed_order_and_their_names_need_no_heavy_library():
    names = ["by-epoch", "by-step", "epoch-by-step", "recipes", "classes", "trajectories", "confusion"]
    assert list(PLOTS)[: len(names)] == names
    code = "import sys, dreambirds.figures.plots; print(*{'pandas', 'matplotlib', 'torch'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""


def test_values_are_means_over_their_dreams():
    recognition = Recognition(*tables())
    by_epoch = numbers("by-epoch", recognition).set_index(["recipe_group", "epoch"])
    assert by_epoch.loc[("many", 4), "mean"] == pytest.approx(0.8 + 0.1 + 0.01), "of the last step"
    assert by_epoch.loc[("few", 0.25), "validation_accuracy"] == 0.025 and by_epoch.loc[("few", 0), "dreams"] == 3
    assert list(by_epoch["top1"]) == [0, 0, 0, 0, 1, 1]
    by_step = numbers("by-step", recognition).set_index(["recipe_group", "step"])
    assert by_step.loc[("many", 10), "mean"] == pytest.approx(0.8 + 0.05 + 0.01) and len(by_step) == 4
    grid = numbers("epoch-by-step", recognition).set_index(["recipe_group", "epoch", "step"])["mean"]
    assert grid[("many", 0.25, 20)] == pytest.approx(0.05 + 0.1 + 0.01) and len(grid) == 12
    assert list(numbers("recipes", recognition)["recipe_group"]) == ["many", "few"]
    classes = numbers("classes", recognition)
    assert list(classes["label"]) == ["bird_2", "bird_1", "bird_0"]
    assert classes["mean"].iloc[0] == pytest.approx(0.8 + (0.025 + 0.1) / 2 + 0.02)


def test_a_recipe_of_some_epochs_is_drawn_for_these_and_ranked_only_at_the_last_checkpoint():
    dreams, runs = tables()
    gone = (dreams["recipe"] == "few") & (dreams["epoch"] == 4) | (dreams["recipe"] == "many") & (dreams["epoch"] == 0)
    recognition = Recognition(dreams[~gone], runs)
    by_epoch = numbers("by-epoch", recognition)
    assert list(zip(by_epoch["recipe_group"], by_epoch["epoch"], strict=True)) == [
        *[("few", 0), ("few", 0.25), ("many", 0.25), ("many", 4)]
    ]
    assert by_epoch["validation_accuracy"].tolist() == [0, 0.025, 0.025, 0.4]
    assert list(numbers("recipes", recognition)["recipe_group"]) == ["many"], (
        "the other recipe has no dreams of the last checkpoint"
    )
    for name in ("by-epoch", "by-step", "epoch-by-step", "recipes", "classes", "confusion"):
        pyplot.close(PLOTS[name](recognition, draw)[1]())


def test_without_a_judge_the_dreamers_probability_is_used():
    recognition = Recognition(*tables(judged=False))
    assert recognition.columns == OWN
    assert numbers("recipes", recognition)["mean"].iloc[0] == pytest.approx(1 - 0.8 - 0.025 - 0.01)


def test_the_confusion_matrix_counts_the_predictions_of_the_judge():
    dreams, _ = tables()
    dreams.loc[
        (dreams["epoch"] == 4) & (dreams["label"] == "bird_1") & (dreams["recipe"] == "few"), "judge_prediction"
    ] = "x"
    table = numbers("confusion", Recognition(dreams)).set_index(["label", "prediction"])["share"]
    assert table[("bird_1", "x")] == table[("bird_1", "bird_1")] == 0.5 and table[("bird_0", "bird_0")] == 1


def test_trajectories_are_quartiles_over_classes(tmp_path):
    archive, labels = tmp_path / "dreams.zip", [f"bird_{index}" for index in range(3)]
    traces = {label: f"step,probability\n0,{0.1 * index}\n1,0.5\n" for index, label in enumerate(labels)}
    write_archive(archive, [(f"{label}/trace.csv", trace.encode()) for label, trace in traces.items()])
    archives = {("a", 4, "many", label): str(archive) for label in labels}
    table = numbers("trajectories", Recognition(*tables(), archives))
    assert list(table["recipe_group"]) == ["many"] * 2 and list(table["mean"]) == pytest.approx([0.1, 0.5])
    assert table["q25"][0] == pytest.approx(0.05) and table["q75"][0] == pytest.approx(0.15)
    write_archive(archive, [(f"{label}/trace.csv", b"step,probability\n0,0.1\n") for label in labels])
    with pytest.raises(
        UserError, match=rf"^'{archive}': the trace of 'bird_0' does not contain the step 1; {REBUILD}$"
    ):
        numbers("trajectories", Recognition(*tables(), archives))


def test_only_the_first_and_last_of_many_rows_are_drawn():
    table = pd.DataFrame({"mean": range(20)})
    assert list(draw.extremes(table, 5)["mean"]) == [0, 1, 2, 18, 19]
    assert len(draw.extremes(table, 20)) == 20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("judged", "recipes", "labels"),
    [(True, STEPS, 3), (False, {"one": [5]}, 1), (True, {f"r{n}": [3] for n in range(40)}, 50)],
)
def test_every_plot_is_drawn_with_its_table(tmp_path, judged, recipes, labels):
    for name, table in zip(("dreams", "runs"), tables(judged, recipes, labels), strict=True):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    write_plots(tmp_path / "plots", *(read_table(tmp_path / name) for name in ("dreams.csv", "runs.csv")), {})
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {
        f"{n}.{end}" for n in PLOTS for end in ("png", "csv")
    }
    for name in PLOTS:
        with Image.open(tmp_path / "plots" / f"{name}.png") as image:
            assert 300 < image.width < 2500 and 150 < image.height < 3000
            assert len(image.convert("RGB").getcolors(maxcolors=image.width * image.height)) > 5
    written = pd.read_csv(tmp_path / "plots/recipes.csv")
    assert len(written) == len(recipes)


def test_the_lines_and_bars_have_the_values_of_the_table(tmp_path):
    recognition = Recognition(*tables())
    table = numbers("by-epoch", recognition)
    figure = draw.lines(table, "epoch", "probability", "training epoch", "validation_accuracy")
    drawn = {line.get_label(): line.get_ydata() for line in figure.axes[0].lines}
    assert list(drawn["many"]) == list(table[table["recipe_group"] == "many"]["mean"])
    assert list(drawn["validation accuracy"]) == [0, 0.025, 0.4]
    ranked = numbers("recipes", recognition)
    (axis,) = draw.bars(ranked, ranked["recipe_group"], "probability", "top 1").axes
    assert sorted(patch.get_width() for patch in axis.patches) == sorted(ranked["mean"])
    pyplot.close("all")

"""Studies whose tables are written by hand, for the tests of comparisons."""

import pandas as pd

from dreambirds.evaluation.columns import DREAMS, RUNS
from dreambirds.gallery.comparison import read_study
from dreambirds.plan.paths import epoch_name, step_name

POINT = ["run", "run_group", "training_seed"]
LABELS = ["ant", "bee", "cat", "dog", "elk", "fox"]
NAMES = {"bee": '<script>alert("bee")</script>'}


def dream(run, epoch, recipe, label, step, **more) -> dict:
    """Return a row of dreams.csv; other columns than the given ones are empty."""
    image = f"dreams/{run}/{epoch_name(epoch)}/{recipe}/{label}/{step_name(step)}"
    row = {
        "run": run,
        "epoch": epoch,
        "recipe": recipe,
        "label": label,
        "class_name": NAMES.get(label, label),
        "step": step,
    }
    row |= {"run_group": run, "training_seed": 0, "recipe_group": recipe, "dream_seed": 0}
    row |= {"judge": "judge", "image_path": f"{image}.png", "image_path_rescaled": f"{image}-rescaled.png"}
    return row | {"objective": "logit", "blur_sigma": 0.5} | more


def write(folder, dreams: list[dict], **of_runs):
    """Write a study's tables, read them, and return the study."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(dreams).reindex(columns=DREAMS)
    table.to_csv(folder / "dreams.csv", index=False)
    runs = table[[*POINT, "epoch"]].drop_duplicates().assign(model="resnet", **of_runs)
    runs.reindex(columns=[*RUNS, *(name for name in of_runs if name not in RUNS)]).to_csv(
        folder / "runs.csv", index=False
    )
    return read_study(folder)


def grid(value=lambda **_: {}, runs=("scratch",), epochs=(0, 4), recipes=("a",), labels=LABELS, steps=(5, 10)):
    """Return one dream per combination, with the columns that `value` returns for it."""
    return [
        dream(run, epoch, recipe, label, step, **value(run=run, epoch=epoch, recipe=recipe, label=label, step=step))
        for run in runs
        for epoch in epochs
        for recipe in recipes
        for label in labels
        for step in steps
    ]


def seeds_study(folder, value=lambda **_: {}, training=(0, 1), dreaming=(3, 4), **of_runs):
    """Write a study of a run with several training seeds and a recipe with several dream seeds, and return it.

    `value` returns the measurements of a dream, from its ``training``, ``dreaming``, ``epoch``, ``label`` and ``step``.
    """
    rows = []
    for one in training:
        for other in dreaming:
            seeds = {"training_seed": one, "dream_seed": other, "run_group": "fine", "recipe_group": "plain"}
            for row in grid(runs=(f"fine-seed-{one}",), recipes=(f"plain-seed-{other}",)):
                place = {key: row[key] for key in ("epoch", "label", "step")}
                rows.append({**row, **seeds, **value(training=one, dreaming=other, **place)})
    return write(folder, rows, **of_runs)


def small_study(tmp_path):
    """Return a study with two runs, two recipes with different last steps, and two classes."""

    def value(run, epoch, recipe, label, step):
        measured = {"judge_probability": step / 100 + (label == "bee") / 10, "seconds": epoch + step}
        return measured | {"blur_sigma": {"a": 10, "b": 9}[recipe], "feature_ratio": 2 - (run == "late")}

    rows = grid(value, runs=("scratch", "late"), epochs=(0, 0.25), recipes=("a", "b"), labels=LABELS[:2])
    rows = [row for row in rows if not (row["recipe"] == "b" and row["step"] == 10)]
    return write(tmp_path / "results" / "one", rows, validation_accuracy=0.5)

"""Galleries of synthetic studies: each dream is a uniform image with a unique color, and has unique measurements."""

from collections.abc import Callable, Sequence
from contextlib import chdir
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
from PIL import Image

from dreambirds.data.labels import Label
from dreambirds.data.tables import IMAGE_COLUMNS, label_table
from dreambirds.evaluation.columns import DREAMS, RUNS
from dreambirds.evaluation.excitation_table import COLUMNS
from dreambirds.plan import excitation
from dreambirds.plan.dream_table import Dream
from dreambirds.plan.paths import epoch_name
from dreambirds.plan.plan import Plan, make_plan
from tests.helpers.archives import write_images
from tests.helpers.values import write_gallery_of

BAD = '</script><script>window.harmed = 1</script> "jay" & <img src=x onerror="window.harmed = 1">'
SIZE = 16
PHOTOGRAPHS = "photographs"  # the class of the photographs that excite targets most
COLORS = ["red", "lime", "blue", "orange", "teal"]  # of these photographs


# "rare" has dreams of the second run at its first and last epoch only, "once" of the first run at one epoch only
GAPS = {
    "plain": {"steps": [1, 2, 5]},
    "rare": {"steps": [3, 7], "seed": 1, "runs": ["second"], "epochs": [0, "last"]},
    "once": {"steps": [2], "seed": 2, "runs": ["first"], "epochs": [0.25]},
}


def gallery_plan(epochs=(0, 0.25, 4), runs=("first", "second"), recipes=None, names=(BAD, "Bruant à gorge blanche")):
    """Return a plan with these epochs, runs, recipes, and display names of classes.

    `runs` are the names of the runs, or their further keys by name.
    """
    dataset = {"image_size": SIZE, "labels": None}
    keys = runs if isinstance(runs, dict) else {run: {} for run in runs}
    sections = {run: {"model": "test_resnet", "epochs": list(epochs), **more} for run, more in keys.items()}
    recipes = recipes or {"plain": {"steps": [1, 2, 5]}, "other": {"steps": [3, 7], "seed": 1}}
    section = {"gpu": 0, "judges": {}, "dataset": dataset, "runs": sections, "dreams": {"recipes": recipes}}
    plan = make_plan({"study": "synthetic", **section})
    labels = [Label(f"class_{number}", name) for number, name in enumerate(names)]
    return replace(plan, labels=labels, dreamt=labels)


def grid_plan() -> Plan:
    """Return a plan with a grid of runs, a single run, a grid of recipes, and a recipe that few runs dream.

    The runs of the grid `fine` vary their seed and their batch size, its recipes `plain` their objective and seed.
    """
    fine = {"seed": [0, 1, 2], "batch_size": [64, 8]}
    plain = {"steps": [5], "objective": ["logit", "cross_entropy"], "seed": [3, 0]}
    rare = {"steps": [5], "seed": 7, "runs": ["fine-seed-0-batch_size-8", "fine-seed-2-batch_size-64"]}
    return gallery_plan([4], {"scratch": {}, "fine": fine}, {"plain": plain, "rare": rare})


def color(plan: Plan, dream, view: str) -> tuple[int, int, int]:
    """Return a dream's color: red encodes its class, green its epoch and recipe, blue its step, run and view."""
    label, epoch = list(plan.names).index(dream.label), plan.epochs(dream.run).index(dream.epoch)
    recipe, step = list(plan.recipes).index(dream.recipe), plan.recipes[dream.recipe]["steps"].index(dream.step)
    run = list(plan.config["runs"]).index(dream.run)
    return 3 * label % 256, (40 * recipe + 9 * epoch) % 256, 60 * step + 30 * run + 15 * (view == "rescaled")


def number(plan: Plan, dream, view: str) -> float:
    """Return a probability that is unique in the plan."""
    red, green, blue = color(plan, dream, view)
    return round((red * 65536 + green * 256 + blue) / 2**24, 6)


def build_gallery(plan: Plan, root: Path, judged: bool = True, more: Callable[[Dream], dict] = lambda _: {}) -> Path:
    """Write the study below `root`, and return the folder of its gallery; the dataset images are white.

    `more` returns further columns of a dream.
    """
    with chdir(root):
        results = Path("results") / plan.study
        size = {recipe: plan.shape(recipe)[::-1] for recipe in plan.recipes}
        archives = write_images(results / "dreams", plan.dreams, partial(color, plan), lambda dream: size[dream.recipe])
        _write_tables(plan, results, judged, more)
        if excitation.tables(plan):
            write_excitation(plan, results)
        else:
            _write_dataset(plan, results / "dataset")
        write_gallery_of(plan, archives, results, results / "gallery")
    return root / results / "gallery"


def _write_tables(plan: Plan, results: Path, judged: bool, more: Callable[[Dream], dict]) -> None:
    rows = [
        {
            **dream._asdict(),
            "run_group": plan.run_points[dream.run].group,
            "recipe_group": plan.recipe_points[dream.recipe].group,
            "class_name": plan.names[dream.label],
            "dreamer_probability": number(plan, dream, "raw") / 2,
            **(
                {"judge": "judge", "judge_prediction": "class_0", "judge_prediction_rescaled": "heron"}
                if judged
                else {}
            ),
            **({"judge_probability": number(plan, dream, "raw")} if judged else {}),
            **({"judge_probability_rescaled": number(plan, dream, "rescaled")} if judged else {}),
            **more(dream),
        }
        for dream in plan.dreams
    ]
    columns = list(dict.fromkeys([*DREAMS, *more(plan.dreams[0])]))
    pd.DataFrame(rows).reindex(columns=columns).to_csv(results / "dreams.csv", index=False)
    checkpoints = plan.dreaming_checkpoints()
    facts = {"model": "test_resnet", "checkpoint_sha256": "1" * 64}
    groups = {run: point.group for run, point in plan.run_points.items()}
    rows = [{"run": run, "run_group": groups[run], "epoch": epoch, **facts} for run, epoch in checkpoints]
    pd.DataFrame(rows).reindex(columns=RUNS).to_csv(results / "runs.csv", index=False)


def write_excitation(plan: Plan, results: Path, colors: Sequence[str] = COLORS) -> list[Path]:
    """Write the tables of the photographs that excite targets most, and a data set; return the paths of the tables.

    The data set has a white image of each class, and a class of photographs in `colors`. The first photograph of a
    target is the next one for each next target, and for each next checkpoint that dreams.
    """
    folder = results / "dataset"
    _write_dataset(plan, folder, colors)
    paths = []
    for number, (run, epoch) in enumerate(plan.dreaming_checkpoints()):
        rows = []
        for position, label in enumerate(excitation.units(plan)):
            for rank in range(len(colors)):
                file = f"images/{PHOTOGRAPHS}/{(rank + position + number) % len(colors)}.png"
                rows.append([run, epoch, label, rank + 1, file, "train", PHOTOGRAPHS, len(colors) - rank])
        paths.append(results / "excitation" / run / f"{epoch_name(epoch)}.csv")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows, columns=COLUMNS).to_csv(paths[-1], index=False)
    return paths


def _write_dataset(plan: Plan, folder: Path, photographs: Sequence[str] = ()) -> None:
    labels = [*plan.names] if not photographs else [label.label for label in plan.labels]
    files = [(label, "0.png", "white") for label in labels]
    files += [(PHOTOGRAPHS, f"{number}.png", color) for number, color in enumerate(photographs)]
    rows = []
    for label, name, filling in files:
        path = folder / "images" / label / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (SIZE, SIZE), filling).save(path)
        rows.append([str(path.relative_to(folder)), label, "validation", "0" * 64])
    table = pd.DataFrame(rows, columns=["path", "label", "split", "sha256"])
    table.reindex(columns=IMAGE_COLUMNS).to_csv(folder / "images.csv", index=False)
    if photographs:
        classes = [*plan.labels, Label(PHOTOGRAPHS, "Photographs of <birds>")]
        label_table(table, classes).to_csv(folder / "labels.csv", index=False)

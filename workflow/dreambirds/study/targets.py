"""What a study makes when nobody asks for anything in particular."""

from dreambirds.study.paths import VIEWS, epoch_name, step_name
from dreambirds.study.plan import Plan

PLOTS = ("by-epoch", "by-step", "epoch-by-step", "recipes", "classes", "trajectories", "confusion")


def dreams(plan: Plan) -> list[str]:
    """Return the tables of all dream jobs, each of which stands for its pictures, traces and films."""
    return plan.indexes()


def montages(plan: Plan) -> list[str]:
    """Return the montages: class by epoch and class by step for each run and recipe, recipe by class for each run."""
    view, root = plan.config["pictures"]["view"], f"results/{plan.study}/montages"
    files = []
    for (run, recipe), rows in plan.dreams.groupby(["run", "recipe"], sort=False):
        step, epoch = step_name(rows["step"].max()), epoch_name(rows["epoch"].max())
        files += [f"{root}/{run}/{recipe}/class-by-epoch_{step}_{each}.png" for each in VIEWS]
        files.append(f"{root}/{run}/{recipe}/class-by-step_{epoch}_{view}.png")
    last = plan.dreams.groupby("run", sort=False)["epoch"].max()
    return files + [f"{root}/{run}/recipe-by-class_{epoch_name(epoch)}_{view}.png" for run, epoch in last.items()]


def films(plan: Plan) -> list[str]:
    """Return the films of all classes, over epochs and over steps, where there is more than one moment to show."""
    view, files = plan.config["pictures"]["view"], []
    for (run, recipe), rows in plan.dreams.groupby(["run", "recipe"], sort=False):
        folder = f"results/{plan.study}/films/{run}/{recipe}"
        if rows["epoch"].nunique() > 1:
            files.append(f"{folder}/epochs_{step_name(rows['step'].max())}_{view}.gif")
        if rows["step"].nunique() > 1:
            files.append(f"{folder}/steps_{epoch_name(rows['epoch'].max())}_{view}.gif")
    return files


def curves(plan: Plan) -> list[str]:
    """Return the training curves of every run."""
    return [f"results/{plan.study}/runs/{run}/curves.png" for run in plan.dreams["run"].unique()]


def results(plan: Plan) -> list[str]:
    """Return the tables of dreams, judgements, checkpoints and judges, the plots, the comparison and the gallery."""
    root = f"results/{plan.study}"
    tables = [f"{root}/{name}.csv" for name in ("dreams", "judgements", "runs", "judges")]
    return [
        *tables,
        *(f"{root}/plots/{name}.png" for name in PLOTS),
        f"{root}/compare.html",
        f"{root}/gallery/index.html",
        *([f"{root}/finding/index.html"] if plan.comparisons else []),
    ]


def look(plan: Plan) -> list[str]:
    """Return the look at the prepared data: a contact sheet, a plot and a table of its classes."""
    return [f"results/{plan.study}/dataset/{name}" for name in ("classes.png", "sizes.png", "classes.csv")]

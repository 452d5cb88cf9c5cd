"""What a study makes when nobody asks for anything in particular."""

from dreambirds.study.paths import epoch_name, job_folder, picture_name, step_name, trace_name
from dreambirds.study.plan import Plan


def job_files(plan: Plan, run: str, epoch: int | str, recipe: str) -> list[str]:
    """Return every file of one dream job; `run` and `epoch` may be wildcards."""
    folder = job_folder(plan.study, run, epoch, recipe)
    steps = plan.recipes[recipe]["steps"]
    pictures = [
        picture_name(label, step, view) for label in plan.names for step in steps for view in ("raw", "rescaled")
    ]
    return [f"{folder}/{name}" for name in pictures + [trace_name(label) for label in plan.names]]


def dreams(plan: Plan) -> list[str]:
    """Return every picture and trace."""
    jobs = (
        (run, epoch, recipe) for run in plan.config["runs"] for epoch in plan.epochs(run) for recipe in plan.recipes
    )
    return [file for job in jobs for file in job_files(plan, *job)]


def montages(plan: Plan) -> list[str]:
    """Return the montages: class by epoch and class by step for each run and recipe, recipe by class for each run."""
    view = plan.config["pictures"]["view"]
    files = []
    for run in plan.config["runs"]:
        folder, last = f"results/{plan.study}/montages/{run}", epoch_name(plan.epochs(run)[-1])
        for recipe, parameters in plan.recipes.items():
            step = step_name(parameters["steps"][-1])
            files += [f"{folder}/{recipe}/class-by-epoch_{step}_{each}.png" for each in ("raw", "rescaled")]
            files.append(f"{folder}/{recipe}/class-by-step_{last}_{view}.png")
        files.append(f"{folder}/recipe-by-class_{last}_{view}.png")
    return files


def films(plan: Plan) -> list[str]:
    """Return the films of all classes, over epochs and over steps, where there is more than one moment to show."""
    view = plan.config["pictures"]["view"]
    files = []
    for run in plan.config["runs"]:
        epochs = plan.epochs(run)
        for recipe, parameters in plan.recipes.items():
            folder, steps = f"results/{plan.study}/films/{run}/{recipe}", parameters["steps"]
            if len(epochs) > 1:
                files.append(f"{folder}/epochs_{step_name(steps[-1])}_{view}.gif")
            if len(steps) > 1:
                files.append(f"{folder}/steps_{epoch_name(epochs[-1])}_{view}.gif")
    return files


def curves(plan: Plan) -> list[str]:
    """Return the training curves of every run."""
    return [f"results/{plan.study}/runs/{run}/curves.png" for run in plan.config["runs"]]

"""A small config, and plans of one run, with and without measurements."""

from dreambirds.plan.plan import make_plan
from dreambirds.startup.memory_profile import check_models

BIRDS = ["blue_jay", "northern_cardinal", "yellow_warbler"]
STEPS = {"preset": "original", "steps": [3]}


def config(**changes) -> dict:
    """Return a small study; ``dataset__seed=3`` changes a nested key."""
    study = {
        "dataset": {"labels": ["blue_jay", "northern_cardinal"]},
        "runs": {"scratch": {"model": "test_resnet", "epochs": [0, 1, 4]}},
        "dreams": {"recipes": {"study": {"steps": [2, 5]}}},
    }
    for path, value in changes.items():
        *parents, key = path.split("__")
        section = study
        for parent in parents:
            section = section.setdefault(parent, {})
        section[key] = value
    return study


def plan_of(recipes: dict | None = None, size: int = 32, labels: list[str] | None = BIRDS, **more):
    """Return a plan of one run, `a`.

    Other keywords are settings of the config or of that run.
    """
    config = {key: more.pop(key) for key in ("threads", "gpu") if key in more}
    dataset = {"image_size": size, "labels": labels}
    dreams = {"recipes": recipes or {"r": STEPS}, "labels_per_job": more.pop("labels_per_job", None)}
    runs = {"a": {"model": "test_resnet", **more}}
    return make_plan({"gpu": 0, "judges": {}, "dataset": dataset, "runs": runs, "dreams": dreams, **config})


def measured(*arguments, **more):
    """Return a plan whose models and recipes are measured."""
    plan = plan_of(*arguments, **more)
    check_models(plan)
    return plan

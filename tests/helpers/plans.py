"""Plans of one run, measured or not."""

from dreambirds.plan.plan import make_plan
from dreambirds.startup.memory_profile import profile_memory

BIRDS = ["blue_jay", "northern_cardinal", "yellow_warbler"]
STEPS = {"preset": "original", "steps": [3]}


def plan_of(recipes: dict | None = None, size: int = 32, labels: list[str] | None = BIRDS, **more):
    """Return a plan of one run, `a`; what is not of the config's first level belongs to that."""
    config = {key: more.pop(key) for key in ("threads", "gpu") if key in more}
    dataset = {"image_size": size, "labels": labels}
    dreams = {"recipes": recipes or {"r": STEPS}, "labels_per_job": more.pop("labels_per_job", None)}
    runs = {"a": {"model": "test_resnet", **more}}
    return make_plan({"gpu": 0, "judges": {}, "dataset": dataset, "runs": runs, "dreams": dreams, **config})


def measured(*arguments, **more):
    """Return a plan of which all is measured."""
    plan = plan_of(*arguments, **more)
    profile_memory(plan)
    return plan

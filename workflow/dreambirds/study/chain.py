"""Training as a chain: which checkpoint a job goes on from, and what decides its weights."""

from typing import Any

from dreambirds.data.files import expand
from dreambirds.errors import StudyError, nearest
from dreambirds.study.paths import as_epoch, epoch_name
from dreambirds.study.plan import Plan
from dreambirds.study.schema import Section


def link(plan: Plan, run: str, epoch: float | str) -> dict[str, str]:
    """Return the files that the training job of one checkpoint goes on from, by name; none for the first one.

    Raises StudyError if the run does not keep that epoch.
    """
    epoch = as_epoch(epoch)
    if epoch not in plan.epochs(run):
        raise StudyError(f"the run '{run}' keeps no checkpoint of epoch {epoch}; {nearest(epoch, plan.epochs(run))}")
    weights = plan.trained[run]["weights"]
    earlier = [kept for kept in plan.epochs(run) if kept < epoch]
    if earlier:
        stem = f"results/{plan.study}/runs/{run}/{epoch_name(earlier[-1])}"
        return {"before": f"{stem}.safetensors", "before_state": f"{stem}.state.safetensors"}
    return {} if weights in (None, "hub") else {"pretrained": str(expand(weights))}


def card_of(plan: Plan, run: str, epoch: str) -> dict[str, Any]:
    """Return what a checkpoint must say of itself to be that of a run and an epoch, which is as in paths."""
    labels = [label.label for label in plan.labels]
    return {"model": plan.trained[run]["model"], "run": run, "epoch": as_epoch(epoch), "labels": labels}


def histories(plan: Plan, run: str) -> list[str]:
    """Return the tables of a run's epochs, one a kept checkpoint."""
    return [f"results/{plan.study}/runs/{run}/{epoch_name(epoch)}.csv" for epoch in plan.epochs(run)]


def settings(plan: Plan, run: str) -> Section:
    """Return what decides a run's weights: its section without the list of kept epochs, so that it may grow."""
    return {key: value for key, value in plan.trained[run].items() if key != "epochs"}

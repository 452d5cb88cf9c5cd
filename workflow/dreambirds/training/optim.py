"""Optimizers and learning-rate schedules from timm, and their state as tensors."""

import timm.optim
import torch
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from torch import nn

LOWEST_RATE = 0.01
STEP_DECAY = 0.1
LINEAR = 1.0
LAST_PART = 0.2  # fraction of `wsd` and `rsqrt` schedules in which the rate decays
RATES = ("lr", "initial_lr")


def make_optimizer(run: dict, network: nn.Module) -> torch.optim.Optimizer:
    """Return the run's optimizer for the parameters that require a gradient."""
    return timm.optim.create_optimizer_v2(
        network, opt=run["optimizer"], lr=run["learning_rate"], weight_decay=run["weight_decay"]
    )


def make_schedule(run: dict, optimizer: torch.optim.Optimizer, updates_per_epoch: int) -> Scheduler:
    """Return the run's schedule; call ``step_update(n)`` after n updates.

    All schedules begin with a linear warm-up. A step schedule decays every `schedule_epochs`; decaying schedules reach
    a hundredth of the learning rate after `schedule_epochs` and stay there. No schedule depends on the last requested
    epoch.
    """
    name, length = run["schedule"], run["schedule_epochs"] - run["warmup_epochs"]
    decay_share = max(LAST_PART, 1 / max(1, length * updates_per_epoch))  # at least the last update
    # half an update later, because timm evaluates one update ahead
    milestones = [epoch + 0.5 / updates_per_epoch for epoch in run["schedule_milestones"]]
    schedule, _ = create_scheduler_v2(
        optimizer,
        sched=name,
        num_epochs=run["schedule_epochs"],
        decay_epochs=run["schedule_epochs"] if name == "step" else decay_share,
        decay_milestones=milestones,
        decay_rate=run["schedule_decay"] or (LINEAR if name == "poly" else STEP_DECAY),
        stable_timescale=max(1, run["warmup_epochs"]),
        min_lr=LOWEST_RATE * run["learning_rate"],
        warmup_lr=LOWEST_RATE * run["learning_rate"],
        warmup_epochs=run["warmup_epochs"],
        step_on_epochs=False,
        updates_per_epoch=updates_per_epoch,
    )
    return schedule


def pack(optimizer: torch.optim.Optimizer) -> tuple[dict[str, torch.Tensor], dict]:
    """Return the optimizer's state as tensors and JSON values, by name.

    Names are ``<parameter>.<key>`` and ``group<n>.<key>``. The state includes counters of parameter groups, such as the
    steps of lamb and adan, but not learning rates, which the schedule sets.
    """
    owners = {str(parameter): entries for parameter, entries in optimizer.state_dict()["state"].items()}
    owners |= {f"group{number}": group for number, group in enumerate(optimizer.param_groups)}
    tensors, scalars = {}, {}
    for owner, entries in owners.items():
        for key, value in entries.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{owner}.{key}"] = value
            elif isinstance(value, (bool, int, float)) and key not in RATES:
                scalars[f"{owner}.{key}"] = value
    return tensors, scalars


def unpack(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor], scalars: dict) -> None:
    """Load the state that `pack` returned into a new optimizer."""
    fresh = optimizer.state_dict()["param_groups"]
    owners: dict[str, dict] = {f"group{number}": dict(group) for number, group in enumerate(fresh)}
    for name, value in {**tensors, **scalars}.items():
        owner, key = name.split(".", 1)
        owners.setdefault(owner, {})[key] = value
    groups = [owners.pop(f"group{number}") for number in range(len(fresh))]
    state = {int(parameter): entries for parameter, entries in owners.items()}
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    for parameter, entries in optimizer.state.items():
        for key, value in entries.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                # sums follow the memory layout, so it must match for the last bits to be equal
                entries[key] = torch.empty_like(parameter, dtype=value.dtype).detach().copy_(value)

"""Learning rates compared with closed forms, and optimizers after a restart."""

import json
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from dreambirds.config.runs import optimizer_names
from dreambirds.training import optim

TOP, LOW, PER = 0.1, 0.001, 5  # the highest rate, a hundredth of it, and updates per epoch


def rates(run_section, epochs, per=PER) -> list[float]:
    """Return the learning rate before every update."""
    optimizer = optim.make_optimizer(run_section, nn.Linear(2, 2))
    schedule = optim.make_schedule(run_section, optimizer, per)
    result = []
    for number in range(round(epochs * per)):
        schedule.step_update(number)
        result.append(optimizer.param_groups[0]["lr"])
    return result


def cosine(t, length, _warmup):
    return LOW + (TOP - LOW) * (1 + math.cos(math.pi * t / length)) / 2 if t < length else LOW


def tanh(t, length, _warmup):
    return LOW + (TOP - LOW) * (1 - math.tanh(-7 + 10 * t / length)) / 2 if t < length else LOW


def poly(power):
    return lambda t, length, _: LOW + (TOP - LOW) * (1 - t / length) ** power if t < length else LOW


def step(decay):
    return lambda t, length, _: TOP * decay ** math.floor(t / length)


def multistep(decay, *milestones):
    return lambda t, _length, _warmup: TOP * decay ** sum(t >= milestone * PER for milestone in milestones)


def wsd(t, length, warmup):
    share = (length - warmup) / 5  # the rate decays in the last fifth
    since = t - (length - share)
    return TOP if since <= 0 else LOW + (TOP - LOW) * (1 - math.sqrt(min(1, since / share)))


def rsqrt(t, length, warmup):
    share = (length - warmup) / 5
    steady = max(LOW, TOP / math.sqrt(1 + (t - warmup) / max(PER, warmup)))
    return LOW + (steady - LOW) * (1 - min(1, max(0, t - (length - share)) / share))


FORMS = {
    "constant": (lambda *_: TOP, {}),
    "cosine": (cosine, {}),
    "tanh": (tanh, {}),
    "poly": (poly(1), {}),
    "poly square": (poly(2), {"schedule_decay": 2}),
    "step": (step(0.1), {}),
    "step half": (step(0.5), {"schedule_decay": 0.5}),
    "multistep": (multistep(0.1, 3, 6), {"schedule_milestones": [3, 6]}),
    "multistep half": (multistep(0.5, 2), {"schedule_milestones": [2], "schedule_decay": 0.5}),
    "wsd": (wsd, {}),
    "rsqrt": (rsqrt, {}),
}


@pytest.mark.parametrize("warmup", [0, 1, 2])
@pytest.mark.parametrize("name", FORMS)
def test_a_schedule_equals_its_closed_form(run, name, warmup):
    form, more = FORMS[name]
    settings = run(
        learning_rate=TOP, schedule=name.split()[0], schedule_epochs=5, warmup_epochs=warmup, optimizer="sgd", **more
    )
    begins, length = warmup * PER, 5 * PER
    peak = form(begins, length, begins) if name == "tanh" else TOP  # timm's tanh warm-up ends on the curve
    expected = [LOW + t * (peak - LOW) / begins if t < begins else form(t, length, begins) for t in range(9 * PER)]
    assert rates(settings, 9) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["constant", "cosine", "tanh", "poly", "step", "multistep", "wsd", "rsqrt"])
def test_no_schedule_depends_on_the_last_requested_epoch_or_on_restarts(run, name):
    settings = run(learning_rate=TOP, schedule=name, schedule_epochs=4)
    assert rates({**settings, "epochs": [3]}, 3) == rates({**settings, "epochs": [9]}, 9)[: 3 * PER]
    optimizer = optim.make_optimizer(settings, nn.Linear(2, 2))
    schedule = optim.make_schedule(settings, optimizer, PER)
    schedule.step_update(13)
    assert optimizer.param_groups[0]["lr"] == rates(settings, 4)[13]


@pytest.mark.parametrize("per", [1, 2, 3])
@pytest.mark.parametrize("name", ["wsd", "rsqrt"])
def test_decaying_schedules_reach_their_end_also_in_few_updates(run, name, per):
    settings = run(learning_rate=TOP, schedule=name, schedule_epochs=2, warmup_epochs=1)
    assert rates(settings, 4, per)[-1] == pytest.approx(LOW)


def tiny(name, run):
    """Return a small network whose parameters every optimizer changes, its optimizer and its schedule."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(16, 3)]
    network = nn.Sequential(*layers).to(memory_format=torch.channels_last)
    settings = run(optimizer=name, learning_rate=0.01)
    optimizer = optim.make_optimizer(settings, network)
    return network, optimizer, optim.make_schedule(settings, optimizer, 2)


def update(network, optimizer, schedule, number):
    """Do one update on random images."""
    torch.manual_seed(number)
    loss = functional.cross_entropy(network(torch.rand(6, 3, 4, 4)), torch.arange(6) % 3)
    optimizer.zero_grad()
    loss.backward()
    schedule.step_update(number)
    optimizer.step()


@pytest.mark.parametrize("name", sorted(optimizer_names()))
def test_every_optimizer_resumes_exactly(run, name):
    going, began = tiny(name, run), tiny(name, run)
    for number in range(3):
        update(*going, number)
    tensors, facts = optim.pack(going[1])
    again = tiny(name, run)
    again[0].load_state_dict(going[0].state_dict())
    stored = {key: tensor.clone(memory_format=torch.contiguous_format) for key, tensor in tensors.items()}
    optim.unpack(again[1], stored, json.loads(json.dumps(facts)))
    for number in range(3, 6):
        update(*going, number)
        update(*again, number)
    for one, other, first in zip(*(part[0].parameters() for part in (going, again, began)), strict=True):
        assert torch.equal(one, other) and one.isfinite().all() and not torch.equal(one, first)
    assert sorted(optim.pack(again[1])[0]) == sorted(optim.pack(going[1])[0])


def test_only_optimizers_that_cannot_train_here_are_excluded():
    import timm.optim

    excluded = set(timm.optim.list_optimizers()) - optimizer_names()  # nesterov is sgd
    assert all(name.startswith(("kron", "adahessian", "fused", "bnb", "nesterov")) for name in excluded), excluded
    assert optimizer_names() <= set(timm.optim.list_optimizers())

"""The device of a job: what torch sees, what is requested, and what is logged about it."""

import logging

import pytest
import torch

from dreambirds import cli
from dreambirds import device as devices
from dreambirds.device import choose_device, free_memory, has_bfloat16, resolve_precision, to_float64, to_host
from dreambirds.errors import UserError
from dreambirds.evaluation import judge
from dreambirds.plan import memory

CASES = [  # CUDA, MPS, reserved GPUs, requested; the device and the reason
    (False, False, 1, "auto", "cpu", "computing on the CPU with 2 threads: torch sees no GPU"),
    (True, False, 1, "auto", "cuda", "computing on the GPU (CUDA): torch sees it"),
    (False, True, 1, "auto", "mps", "computing on the GPU (Apple, MPS): torch sees it"),
    (True, True, 1, "auto", "cuda", "computing on the GPU (CUDA): torch sees it"),
    (True, False, 0, "auto", "cpu", "computing on the CPU with 2 threads: the job requests none"),
    (False, True, 0, "auto", "cpu", "computing on the CPU with 2 threads: the job requests none"),
    (True, True, 1, "cpu", "cpu", "computing on the CPU with 2 threads: as requested"),
    (True, True, 1, "mps", "mps", "computing on the GPU (Apple, MPS): as requested"),
    (True, True, 0, "cuda", "cuda", "computing on the GPU (CUDA): as requested"),
]


@pytest.fixture
def see(monkeypatch):
    """Return the function that sets which GPUs torch sees."""

    def set_available(cuda: bool, mps: bool) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    monkeypatch.setattr(devices, "cuda_problem", lambda: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda precision: None)
    return set_available


@pytest.mark.parametrize(("cuda", "mps", "gpus", "requested", "expected", "reason"), CASES)
def test_the_device_is_chosen_and_the_reason_logged(see, caplog, cuda, mps, gpus, requested, expected, reason):
    see(cuda, mps)
    with caplog.at_level(logging.INFO):
        assert choose_device(gpus, 2, requested).type == expected
    assert caplog.messages == [reason]


PROBLEM = "The NVIDIA driver on your system is too old (found version 11040)"


@pytest.mark.parametrize(("cuda", "visible"), [(True, None), (False, "0"), (False, "GPU-7a,1"), (False, "driver")])
def test_a_gpu_that_torch_cannot_use_is_one_warning_with_the_reason(see, caplog, monkeypatch, tmp_path, cuda, visible):
    see(cuda, False)
    monkeypatch.setattr(devices, "DRIVER", tmp_path)
    monkeypatch.setattr(devices, "cuda_problem", lambda: PROBLEM)
    if visible not in (None, "driver"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert choose_device(1, 2).type == "cpu"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and f"torch cannot use the job's GPU ({PROBLEM}); " in record.message
    with pytest.raises(UserError, match=r"^device: torch "):
        choose_device(1, 2, "cuda")


@pytest.mark.parametrize("visible", ["", "-1", "NoDevFiles"])
def test_a_hidden_gpu_is_no_problem(see, caplog, monkeypatch, tmp_path, visible):
    see(False, False)
    monkeypatch.setattr(devices, "DRIVER", tmp_path)
    monkeypatch.setattr(devices, "cuda_problem", lambda: pytest.fail("tried"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert choose_device(1, 2).type == "cpu" and not caplog.records


def test_the_reason_is_that_of_torch(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError(f"{PROBLEM}. Please update your GPU driver by downloading ...")

    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    assert devices.cuda_problem().endswith(" is built without CUDA")
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch, "ones", fail)
    assert devices.cuda_problem() == PROBLEM


@pytest.mark.parametrize(
    ("mps", "requested", "message"),
    [
        (False, "mps", r"^device: torch sees no device 'mps' on this machine; set it to auto or cpu$"),
        (True, "cuda", r"^device: torch sees no device 'cuda' on this machine; set it to auto or cpu or mps$"),
        (True, "gpu", r"^device: must be one of auto, cpu, cuda, mps, not 'gpu'$"),
    ],
)
def test_a_device_that_torch_does_not_see_is_refused(see, mps, requested, message):
    see(False, mps)
    with pytest.raises(UserError, match=message):
        choose_device(1, 2, requested)


def test_apple_s_gpus_use_float32_and_the_memory_of_the_cpu():
    mps = torch.device("mps")
    assert not has_bfloat16(mps) and resolve_precision("auto", mps) == "float32"
    assert free_memory(mps) is None is free_memory(torch.device("cpu"))
    for sizes in (memory.AT_ONCE, judge.AT_ONCE):
        assert sizes.keys() == {*devices.NAMES, "cpu"}


def test_an_operation_that_apple_s_gpus_lack_is_explained(monkeypatch):
    problem = "The operator 'aten::x' is not currently implemented for the MPS device. If you want this op, ..."

    def fail(_options):
        raise NotImplementedError(problem)

    monkeypatch.setitem(cli.COMMANDS, "redream", (fail, *cli.COMMANDS["redream"][1:]))
    with pytest.raises(SystemExit, match=r"^Error: torch does not implement an operation on Apple's GPUs .*FALLBACK=1"):
        cli.main(["redream", "x.png"])
    problem = "another method"
    with pytest.raises(NotImplementedError):
        cli.main(["redream", "x.png"])


def test_tensors_are_copied_to_the_cpu_and_summed_in_float64():
    tensor = torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last)
    copy = to_host(tensor)
    assert torch.equal(copy, tensor) and copy.is_contiguous() and copy.data_ptr() != tensor.data_ptr()
    assert to_float64(tensor).dtype == torch.float64
    assert to_float64(torch.empty(2, device="meta")).dtype == torch.float64

"""Choose the device, the number of threads and the floating-point precision."""

import logging
import os
import re
import warnings
from pathlib import Path

import torch

from dreambirds.errors import UserError, counted, first_line, is_out_of_memory

log = logging.getLogger(__name__)
PRECISIONS = ("auto", "float32", "bfloat16")
DEVICES = ("auto", "cpu", "cuda", "mps")
NAMES = {"cuda": "CUDA", "mps": "Apple, MPS"}
DRIVER = Path("/dev/nvidiactl")
VISIBLE = "CUDA_VISIBLE_DEVICES"  # set to a job's GPUs if the driver has any, also if torch cannot use them
REMEDY = "update the driver, or install a build of torch for this GPU and driver (https://pytorch.org)"


def choose_device(gpus: int, threads: int, requested: str = "auto") -> torch.device:
    """Return the device of a job, and log which one it is and why.

    `requested` is one of `DEVICES`. ``auto`` is the GPU that torch sees, of CUDA or else of Apple (MPS), if the job
    reserved any `gpus`, and else the CPU. On the CPU, torch uses `threads` threads. If the machine has a GPU that torch
    cannot use, a warning says why. Raises UserError if the requested device is unknown, or torch cannot use it.
    """
    if requested not in DEVICES:
        raise UserError(f"must be one of {', '.join(DEVICES)}, not '{requested}'", "device")
    torch.set_num_threads(threads)
    seen, cpu = available_gpus(), f"computing on the CPU with {counted(threads, 'thread')}"
    if requested in ("cuda", "mps") and requested not in seen:
        others = " or ".join(["auto", "cpu", *seen])
        raise UserError(f"torch sees no device '{requested}' on this machine; set it to {others}", "device")
    name = requested if requested != "auto" else (seen[0] if gpus and seen else "cpu")
    unseen = gpus > 0 and requested == "auto" and not seen and _has_gpu()
    if (name == "cuda" or unseen) and (problem := cuda_problem()):
        if requested == "cuda":
            raise UserError(f"torch cannot use the GPU ({problem}); {REMEDY}, or set it to cpu", "device")
        log.warning("%s: torch cannot use the job's GPU (%s); %s, or set 'gpu' to 0", cpu, problem, REMEDY)
        return torch.device("cpu")
    if name == "cpu":
        found = "the job requests none" if seen else "torch sees no GPU"
        log.info("%s: %s", cpu, "as requested" if requested == "cpu" else found)
        return torch.device("cpu")
    if name == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32, the default of cuDNN's convolutions
    log.info("computing on the GPU (%s): %s", NAMES[name], "as requested" if requested == name else "torch sees it")
    return torch.device(name)


def _has_gpu() -> bool:
    """Return whether the environment gives this process a GPU, or the machine has a driver of NVIDIA."""
    visible = os.environ.get(VISIBLE)
    return DRIVER.exists() if visible is None else re.match(r"\s*(\d|GPU-|MIG-)", visible) is not None


def cuda_problem() -> str | None:
    """Return why torch cannot compute on a GPU of CUDA, such as an old driver; None if it can.

    A trial finds what `torch.cuda.is_available` does not know, such as a GPU that is too old for this build of torch.
    """
    if not torch.backends.cuda.is_built():
        return f"torch {torch.__version__} is built without CUDA"
    try:
        torch.ones(1, device="cuda").add(1).item()
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        return first_line(error).partition(". ")[0]
    return None


def available_gpus() -> list[str]:
    """Return the types of GPUs that torch sees: ``cuda``, ``mps``, both or none."""
    backends = {"cuda": torch.cuda, "mps": torch.backends.mps}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an old driver, which `cuda_problem` returns
        return [name for name, backend in backends.items() if backend.is_available()]


def has_bfloat16(device: torch.device) -> bool:
    """Return whether a device supports bfloat16 in hardware; False for Apple's GPUs, for which torch cannot tell."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "mps":
        return False
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def resolve_precision(precision: str, device: torch.device) -> str:
    """Return ``float32`` or ``bfloat16``.

    ``auto`` selects bfloat16 if the device supports it in hardware. Raises UserError if `precision` is not one of
    PRECISIONS.
    """
    if precision not in PRECISIONS:
        raise UserError(f"must be one of {', '.join(PRECISIONS)}, not '{precision}'", "precision")
    if precision != "auto":
        return precision
    return "bfloat16" if has_bfloat16(device) else "float32"


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Return the autocast context for a resolved precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def to_host(tensor: torch.Tensor) -> torch.Tensor:
    """Copy a tensor to the CPU; from a GPU of CUDA, asynchronously to pinned memory."""
    if tensor.device.type != "cuda":
        return tensor.to("cpu", copy=True, memory_format=torch.contiguous_format)
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)


def free_memory(device: torch.device) -> int | None:
    """Return the free memory of a GPU of CUDA in bytes; None for a device that shares the memory of the CPU."""
    return torch.cuda.mem_get_info()[0] if device.type == "cuda" else None


def to_float64(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor in float64, or in float32 on Apple's GPUs, which do not have float64."""
    return tensor.float() if tensor.device.type == "mps" else tensor.double()


def to_float32(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor in float32, or unchanged if its type is more precise."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))

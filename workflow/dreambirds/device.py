"""Choose the device, the number of threads and the floating-point precision."""

import logging

import torch

from dreambirds.errors import UserError, counted

log = logging.getLogger(__name__)
PRECISIONS = ("auto", "float32", "bfloat16")


def choose_device(gpus: int, threads: int) -> torch.device:
    """Return the GPU if the job reserved one and CUDA works, else the CPU.

    On the CPU, torch uses `threads` threads.
    """
    torch.set_num_threads(threads)
    if gpus and torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")  # TF32, the default of cuDNN's convolutions
        return torch.device("cuda")
    log.info("computing on the CPU with %s", counted(threads, "thread"))
    return torch.device("cpu")


def has_bfloat16(device: torch.device) -> bool:
    """Return whether a device supports bfloat16 in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
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
    """Copy a tensor to the CPU; from a GPU, asynchronously to pinned memory."""
    if tensor.device.type == "cpu":
        return tensor.clone(memory_format=torch.contiguous_format)
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)


def to_float32(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor in float32, or unchanged if its type is more precise."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))

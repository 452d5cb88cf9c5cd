"""Choose the device, its threads and the floating-point precision."""

import logging

import torch

from dreambirds.errors import UserError

log = logging.getLogger(__name__)
PRECISIONS = ("auto", "float32", "bfloat16")


def choose_device(gpus: int, threads: int) -> torch.device:
    """Return the GPU if the job was given one and there is one, else the processor with `threads` threads."""
    torch.set_num_threads(threads)
    if gpus and torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")  # TF32, as cuDNN's convolutions have it by default
        return torch.device("cuda")
    log.info("computing on the processor with %d thread(s)", threads)
    return torch.device("cpu")


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether a device computes with bfloat16 itself, rather than imitates it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def resolve_precision(wanted: str, device: torch.device) -> str:
    """Return ``float32`` or ``bfloat16``; ``auto`` takes bfloat16 where the processor computes with it itself.

    Raises UserError if `wanted` is none of PRECISIONS.
    """
    if wanted not in PRECISIONS:
        raise UserError(f"precision: must be one of {', '.join(PRECISIONS)}, not '{wanted}'")
    if wanted != "auto":
        return wanted
    return "bfloat16" if has_bfloat16(device) else "float32"


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Return the context in which a model runs at a resolved precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def to_float32(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor in float32, or as it is if it has more digits."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))

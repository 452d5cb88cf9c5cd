"""Where to compute, and in which numbers."""

import logging

import torch

log = logging.getLogger(__name__)


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
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()

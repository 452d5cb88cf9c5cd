"""Where to compute."""

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

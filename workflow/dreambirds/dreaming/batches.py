"""Dream of many in batches that fit into memory."""

import gc
import logging
from collections.abc import Callable, Iterator

import torch

from dreambirds.errors import StudyError
from dreambirds.mishaps import is_out_of_memory

LARGEST = {"cpu": 16, "cuda": 256}
SHARE = 0.8
log = logging.getLogger(__name__)


def batch_size(bytes_an_image: int, bytes_free: int, device: torch.device) -> int:
    """Return how many images to dream of at once: at least 1, and no more than pays on the device."""
    return max(1, min(LARGEST[device.type], int(SHARE * bytes_free / max(1, bytes_an_image))))


def in_batches(dream_of: Callable[[list[int]], object], count: int, size: int) -> Iterator[tuple[list[int], object]]:
    """Yield places and what `dream_of` makes of them, for 0 to `count`, `size` at a time.

    Where memory runs out, the batch is dreamt again at half the size; raises StudyError if a single image is too much.
    """
    waiting = list(range(count))
    while waiting:
        batch = waiting[:size]
        try:
            made = dream_of(batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(batch) == 1:
                raise StudyError("memory ran out on a single picture; set a smaller `size`, or `tile`") from error
            made = None
        if made is None:  # only here, since the error holds on to what the batch had in memory
            size = len(batch) // 2
            log.warning("memory ran out; going on with %d pictures at once", size)
            gc.collect()
            torch.cuda.empty_cache()
            continue
        yield batch, made
        waiting = waiting[len(batch) :]

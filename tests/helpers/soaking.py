"""Run a dream job of many classes, and record its memory after each batch.

It runs in a separate process.
"""

import json
import logging
import os
import sys
from pathlib import Path

SIDE = 32


def soak(folder: Path, dreams: int, leak: int = 0) -> list[int]:
    """Dream of `dreams` classes in a separate process.

    Return its memory in bytes after each batch. With `leak`, it deliberately leaks so many bytes per dream.
    """
    from tests.helpers.forks import run_python  # not at the top, because the separate process runs only this file

    env = {**os.environ, "DREAMBIRDS_STORE": str(folder / "store")}
    result = run_python([__file__, str(folder), str(dreams), str(leak)], folder, env, separate=True)
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout)


class MemoryRecorder(logging.Handler):
    """Record the memory of this process at each log line about a batch."""

    def __init__(self, leak: int):
        """Leak `leak` bytes per dream."""
        import psutil

        super().__init__()
        self.process, self.leak, self.memory, self.leaked = psutil.Process(), leak, [], []

    def emit(self, record: logging.LogRecord) -> None:
        """Record the memory if the log record is about a batch."""
        if "computed %s" in record.msg:
            self.leaked.append(b"\1" * (self.leak * int(record.args[1].split()[0])))
            self.memory.append(self.process.memory_info().rss)


def main(folder: Path, dreams: int, leak: int) -> None:
    """Write a checkpoint of `dreams` classes, and dream of all of them."""
    import torch

    from dreambirds.config.recipes import expand_grid
    from dreambirds.dream_job.context import DreamJob
    from dreambirds.dream_job.run import run_dream_job
    from dreambirds.models import MODEL_FILE
    from dreambirds.models.checkpoint import CheckpointInfo, save_checkpoint
    from dreambirds.models.classifier import build

    torch.set_num_threads(1)
    names = {f"class_{number:04d}": f"Class {number}" for number in range(dreams)}
    (recipe,) = expand_grid("r", {"steps": [2]}).values()
    checkpoint, recorder = folder / "epoch-0001", MemoryRecorder(leak)
    info = CheckpointInfo("test_resnet", {}, list(names), "run", 1, SIDE)
    save_checkpoint(checkpoint, build("test_resnet", dreams, {}).eval(), info)
    log = logging.getLogger("dreambirds")
    log.setLevel(logging.INFO)
    log.addHandler(recorder)
    job = DreamJob(checkpoint / MODEL_FILE, "r", recipe, names, {}, None, 4 * 10**9)
    run_dream_job(job, torch.device("cpu"), folder / "dreams.zip")
    json.dump(recorder.memory, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

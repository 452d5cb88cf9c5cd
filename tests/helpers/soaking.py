"""A dream job of many classes in a process of its own, which tells how much memory it holds batch after batch."""

import json
import logging
import os
import sys
from pathlib import Path

SIDE = 32


def soak(folder: Path, dreams: int, leak: int = 0) -> list[int]:
    """Dream of so many classes in a process apart; return the bytes that it held after each batch.

    With `leak`, it keeps so many bytes a dream on purpose.
    """
    from tests.helpers.forks import run_python  # the process apart runs this file alone

    env = {**os.environ, "DREAMBIRDS_STORE": str(folder / "store")}
    result = run_python([__file__, str(folder), str(dreams), str(leak)], folder, env, apart=True)
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout)


class Watch(logging.Handler):
    """Notes the memory of this process each time that a batch has been dreamt of."""

    def __init__(self, leak: int):
        """Take how many bytes to keep a dream."""
        import psutil

        super().__init__()
        self.process, self.leak, self.held, self.kept = psutil.Process(), leak, [], []

    def emit(self, record: logging.LogRecord) -> None:
        """Look at the memory if the record tells of a batch."""
        if "dreamt of" in record.msg:
            self.kept.append(b"\1" * (self.leak * record.args[1]))
            self.held.append(self.process.memory_info().rss)


def main(folder: Path, dreams: int, leak: int) -> None:
    """Write a checkpoint of so many classes and dream of them all, a step each."""
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
    checkpoint, watch = folder / "epoch-0001", Watch(leak)
    info = CheckpointInfo("test_resnet", {}, list(names), "run", 1, SIDE)
    save_checkpoint(checkpoint, build("test_resnet", dreams, {}).eval(), info)
    log = logging.getLogger("dreambirds")
    log.setLevel(logging.INFO)
    log.addHandler(watch)
    job = DreamJob(checkpoint / MODEL_FILE, "r", recipe, names, {}, None, folder / "out", 4 * 10**9)
    run_dream_job(job, torch.device("cpu"), folder / "out" / "dreams.csv")
    json.dump(watch.held, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

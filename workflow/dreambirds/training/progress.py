"""What a training job keeps of its epochs until it is done, so that one that ends early loses one epoch at most."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from dreambirds.errors import StudyError
from dreambirds.models.checkpoint import load_tensors
from dreambirds.training.files import Files


def identity(facts: dict, inputs: list[Path]) -> str:
    """Return a digest of all that decides a segment's weights: facts, versions, and the contents of its inputs."""
    digest = hashlib.sha256(json.dumps([facts, str(torch.__version__)], sort_keys=True).encode())
    for path in inputs:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


class Progress:
    """The last whole epoch of a segment, in a folder of its own beside the run's checkpoints."""

    def __init__(self, folder: Path, identity: str):
        """Take the folder, and what an epoch in it must be made of to be used."""
        self.folder, self.identity = folder, identity

    def latest(self) -> Files | None:
        """Return the files of the last whole epoch, None if there is none of this identity."""
        kept = Files.inside(self.folder / "kept")
        try:
            return kept if load_tensors(kept.state)[1].get("identity") == self.identity else None
        except StudyError:
            return None

    def keep(self, write: Callable) -> Files:
        """Let ``write(files, facts=...)`` write an epoch with these facts in its state, in place of the last one."""
        new, kept = self.folder / "new", self.folder / "kept"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        write(Files.inside(new), facts={"identity": self.identity})
        shutil.rmtree(kept, ignore_errors=True)
        new.rename(kept)
        return Files.inside(kept)

    def forget(self) -> None:
        """Remove it all: the segment is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

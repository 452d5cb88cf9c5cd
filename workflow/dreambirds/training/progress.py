"""What a training job keeps of its epochs until it is done, so that one that ends early loses one epoch at most."""

import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from dreambirds.data.files import digest_of, sha256_of
from dreambirds.data.tables import read_table
from dreambirds.errors import StudyError
from dreambirds.models.checkpoint import load_tensors
from dreambirds.study.paths import epoch_name
from dreambirds.training.files import Files

LIBRARIES = ("torch", "torchvision", "timm")


def identity(facts: dict, inputs: list[Path]) -> str:
    """Return a digest of all that decides a segment's weights: facts, versions, and the contents of its inputs."""
    told = [facts, *map(version, LIBRARIES), *map(sha256_of, inputs)]
    return digest_of(told)


class Progress:
    """The last whole epoch of a segment, in a folder of its own beside the run's checkpoints."""

    def __init__(self, folder: Path, identity: str):
        """Take the folder, and what an epoch in it must be made of to be used."""
        self.folder, self.identity = folder, identity

    def latest(self) -> Files | None:
        """Return the files of the last whole epoch, None if there is none of this identity that can be read."""
        for folder in sorted(self.folder.glob("epoch-*"), reverse=True):
            if self._is_good(Files.inside(folder)):
                return Files.inside(folder)
        return None

    def _is_good(self, kept: Files) -> bool:
        try:
            load_tensors(kept.weights)
            read_table(kept.history)
            return load_tensors(kept.state)[1].get("identity") == self.identity
        except (StudyError, OSError, ValueError):
            return False

    def keep(self, epoch: float, write: Callable) -> Files:
        """Let ``write(files, epoch, facts)`` write an epoch with these facts in its state, in place of the last one."""
        new, kept = self.folder / "new", self.folder / epoch_name(epoch)
        for folder in (new, kept):
            shutil.rmtree(folder, ignore_errors=True)
        new.mkdir(parents=True)
        write(Files.inside(new), epoch, {"identity": self.identity})
        new.rename(kept)
        for older in self.folder.glob("epoch-*"):
            if older != kept:
                shutil.rmtree(older, ignore_errors=True)
        return Files.inside(kept)

    def forget(self) -> None:
        """Remove it all: the segment is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

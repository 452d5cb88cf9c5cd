"""One photograph of a source, before it is looked at."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dreambirds.data.image_files import open_file
from dreambirds.data.labels import Label, shown
from dreambirds.data.sources.tree import read_member


@dataclass(frozen=True)
class Photograph:
    """Where a photograph lies and what its source says of it.

    `file` is on disk, or the zip that holds `member`. `part` is ``train`` or ``validation`` where the source has a
    split of its own, else empty. `box` is x, y, width, height of the bird in pixels. `problem` says why it is known
    not to be readable, such as a file that a table names and that is not there.
    """

    label: Label
    file: Path
    member: str = ""
    part: str = ""
    box: tuple[float, float, float, float] | None = None
    problem: str = ""


def open_photograph(photograph: Photograph) -> BinaryIO:
    """Return the photograph's bytes as an open file, which the caller closes; many threads may ask at once.

    Raises OSError, with the reason, if the file or the zip's member can't be read.
    """
    if not photograph.member:
        return open_file(photograph.file)
    return io.BytesIO(read_member(photograph.file, photograph.member))


def origin(photograph: Photograph) -> str:
    """Return how tables and logs name a photograph, on one line."""
    return shown(str(photograph.file / photograph.member if photograph.member else photograph.file))

"""One photograph of a source, before it is looked at."""

from dataclasses import dataclass
from pathlib import Path

from dreambirds.data.labels import Label


@dataclass(frozen=True)
class Photograph:
    """Where a photograph lies and what its source says of it.

    `file` is on disk, or the zip that holds `member`. `part` is ``train`` or ``validation`` where the source has a split of
    its own, else empty. `box` is x, y, width, height of the bird in pixels. `problem` says why it is known not to be
    readable, such as a file that a table names and that is not there.
    """

    label: Label
    file: Path
    member: str = ""
    part: str = ""
    box: tuple[float, float, float, float] | None = None
    problem: str = ""

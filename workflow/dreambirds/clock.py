"""A clock that was set back: files from the future would make Snakemake refuse all that is made from them now."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

SECOND = 10**9  # nanoseconds
SKEW = 5 * SECOND  # by which the clocks of a cluster's machines may differ
UNSEEN = ("images", "pictures", "sheets")  # folders whose files Snakemake does not look at one by one
DEEPEST = 4  # folders below a study's; a label's own pictures are not looked at either


def catch_up(folder: Path) -> None:
    """Date files below a study's folder that are from the future to the last second, in their order, and say on
    standard error how many there were. What can't be dated stays as it is.
    """
    now = time.time_ns()
    ahead = {entry.path: when for entry, when in _files(folder, 0) if when > now + SKEW}
    times = sorted(set(ahead.values()))
    dates = {when: now - SECOND * (len(times) - 1 - place) // len(times) for place, when in enumerate(times)}
    for path, when in ahead.items():
        with suppress(OSError):
            os.utime(path, ns=(dates[when], dates[when]), follow_symlinks=False)
    if ahead:
        print(f"The clock was set back: {len(ahead)} files from the future are dated to now.", file=sys.stderr)


def changed(path: Path) -> int:
    """Return when a file, or a link to it, last changed, in nanoseconds: the later of the two, as Snakemake sees it."""
    return max(path.stat().st_mtime_ns, path.lstat().st_mtime_ns)


def _files(folder: Path, depth: int) -> Iterator[tuple[os.DirEntry, int]]:
    """Yield files with the times of their last change, in nanoseconds."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                yield entry, entry.stat(follow_symlinks=False).st_mtime_ns
            elif depth < DEEPEST and folder.name not in UNSEEN:
                yield from _files(Path(entry.path), depth + 1)

"""What this process may use of the machine: CPU cores, memory and shared memory.

A container or a batch system limits a process by control groups (cgroups), of version 1 or 2, and by CPU affinity.
`os.cpu_count` and the total of `psutil` are those of the whole host. Sizes are in bytes.
"""

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import disk_usage
from typing import NamedTuple

import psutil

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
SHARED_MEMORY = Path("/dev", "shm")
MB = 10**6


class Sizes(NamedTuple):
    """A total and what is free of it, in bytes."""

    total: int
    free: int


def cpu_count() -> int:
    """Return how many CPU cores this process may use: those of its affinity, within the quota of its control group.

    A quota of a fraction of a core is rounded up.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *map(math.ceil, _quotas())]))


def memory() -> Sizes:
    """Return the memory that this process and its children may use, and what is free of it.

    It is that of the host, or of a control group that limits it to less. Files that the kernel caches count as free.
    """
    host = psutil.virtual_memory()
    sizes = [Sizes(host.total, host.available), *_limits()]
    total = min(size.total for size in sizes)
    return Sizes(total, min(total, max(0, min(size.free for size in sizes))))


def shared_memory() -> Sizes | None:
    """Return the size of ``/dev/shm``, through which processes exchange images on Linux; None on other systems.

    It is 0 if the folder does not exist or may not be written to.
    """
    if sys.platform != "linux":
        return None
    try:
        usage = disk_usage(SHARED_MEMORY)
    except OSError:
        return Sizes(0, 0)
    return Sizes(usage.total, usage.free if os.access(SHARED_MEMORY, os.W_OK) else 0)


def _quotas() -> Iterator[float]:
    """Yield the quotas of CPU time of this process's control groups, in cores."""
    for group in _groups("cpu"):
        quota, period = [*_words(group / "cpu.max"), "", ""][:2]
        if not quota:
            quota = "".join(_words(group / "cpu.cfs_quota_us"))  # -1 without a limit
            period = "".join(_words(group / "cpu.cfs_period_us"))
        if quota.isdigit() and period.isdigit() and int(period):
            yield int(quota) / int(period)


def _limits() -> Iterator[Sizes]:
    """Yield the limits of this process's control groups, and what is free of them."""
    for group in _groups("memory"):
        limit = "".join(_words(group / "memory.max") or _words(group / "memory.limit_in_bytes"))
        used = "".join(_words(group / "memory.current") or _words(group / "memory.usage_in_bytes"))
        if limit.isdigit():
            words = _words(group / "memory.stat")
            stat = dict(zip(words[::2], words[1::2], strict=False))
            cached = stat.get("total_inactive_file") or stat.get("inactive_file", "0")
            yield Sizes(int(limit), int(limit) - int(used or 0) + int(cached))


def _groups(controller: str) -> Iterator[Path]:
    """Yield the folders of the control groups of this process and of their parents, for a controller.

    A container may see the folder of its group as the root, so the root is always among them.
    """
    try:
        lines = [line.split(":", 2) for line in MEMBERSHIP.read_text(encoding="utf-8").splitlines()]
    except OSError:
        lines = []
    for _, controllers, path in (line for line in lines if len(line) == 3):
        named = controllers.split(",")
        if controllers and controller not in named:
            continue
        roots = [CGROUPS / controllers, CGROUPS / controller] if controllers else [CGROUPS, CGROUPS / "unified"]
        for root in {root for root in roots if root.is_dir()}:
            group = root.joinpath(*Path(path).parts[1:])
            yield from (each for each in (group, *group.parents) if each.is_relative_to(root))


def _words(file: Path) -> list[str]:
    """Return the words of a file of the kernel; none if it does not exist or cannot be read."""
    try:
        return file.read_text(encoding="utf-8").split()
    except OSError:
        return []

"""Fit a run to this machine: its cores, its memory, and its store."""

import sys
from typing import Any

from snakemake.utils import available_cpu_count

from dreambirds.dream_job.store import is_writable
from dreambirds.dream_job.store_gc import PARTS
from dreambirds.io import OWN_STORE, is_forbidden, store_root
from dreambirds.runtime.machine import MB, cpu_count, memory

MEMORY = "mem_mb"  # the resource of the rules
SNAKEMAKE = 500 * MB  # of the main process and the processes of its jobs that only wait, as measured


def limit_to_machine(workflow: Any) -> None:
    """Limit the cores and the memory of a run on this machine to what its processes may use.

    `workflow` is Snakemake's object. Snakemake's ``all`` cores are those of the host, of which a container may have
    only a part; this is printed to standard error. The memory is limited unless ``--resources`` sets it. Nothing is
    done on a cluster.
    """
    if workflow.resource_settings.cores is None or workflow.resource_settings.nodes is not None:
        return
    cores, usable = workflow.resource_settings.cores, cpu_count()
    if usable < cores == available_cpu_count():
        print(
            f"This process may use {usable} of the {cores} CPU cores of the machine, so --cores is {usable}.",
            file=sys.stderr,
        )
        workflow.resource_settings.cores = usable
        workflow.global_resources["_cores"] = usable
    if workflow.global_resources.get(MEMORY).value is None:
        workflow.register_resource(MEMORY, max(1, (memory().free - SNAKEMAKE) // MB))


def announce_store() -> None:
    """Print to standard error that the store is only read in part, if it may not be written to, as another user's."""
    root = store_root()
    parts = [part for part in (*PARTS, "cache") if is_forbidden(root / part / "entry")]
    if not is_writable(root / "dreams"):
        parts = list(dict.fromkeys(["dreams", *parts]))
    if parts and root.absolute() != OWN_STORE.absolute():
        print(
            f"This user may not write everything to the store '{root}' ({', '.join(parts)}): what it has is used, and "
            f"new results are stored in '{OWN_STORE}'.",
            file=sys.stderr,
        )

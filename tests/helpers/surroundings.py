"""The environment in which workflow tests run Snakemake."""

import os


def surroundings() -> dict[str, str]:
    """Return the environment of a run: one thread, no fork server, store in the working directory."""
    kept = {name: value for name, value in os.environ.items() if name != "DREAMBIRDS_STORE"}
    return kept | {"OMP_NUM_THREADS": "1", "DREAMBIRDS_FORK_SERVER": "0"}

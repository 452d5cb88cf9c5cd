"""The environment in which workflow tests run Snakemake."""

import os


def surroundings() -> dict[str, str]:
    """Return the environment of a run: one thread, store in the working directory."""
    return {name: value for name, value in os.environ.items() if name != "DREAMBIRDS_STORE"} | {"OMP_NUM_THREADS": "1"}

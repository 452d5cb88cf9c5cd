"""Where Snakemake's own cache lies, if it is asked for."""

import os
from contextlib import suppress

from dreambirds.data.files import store_root

PLACE = "SNAKEMAKE_OUTPUT_CACHE"


def place_cache() -> None:
    """Let Snakemake's cache lie in the store, unless the environment names another folder: without any, jobs on a
    cluster that were told to use it fail."""
    if PLACE not in os.environ:
        folder = (store_root() / "cache").absolute()
        with suppress(OSError):  # then Snakemake says that there is no cache
            folder.mkdir(parents=True, exist_ok=True)
            os.environ[PLACE] = str(folder)

"""Helpers for killed runs: their results and their processes."""

import contextlib
from io import BytesIO
from pathlib import Path

import pandas as pd

from dreambirds.dream_job.archive import INDEX, Picture, list_files, read_picture
from tests.helpers.studies import Study

TIMES = ["images_per_second", "seconds"]
ENDINGS = (".png", ".gif", ".csv", ".safetensors", ".npy")


def files(study: Study) -> dict[str, bytes]:
    """Return the contents of all results by path.

    Logs, hidden files and columns with times are excluded.
    """
    found = {}
    for path in sorted(study.results.rglob("*")):
        name = str(path.relative_to(study.results))
        if path.is_file() and path.suffix in ENDINGS and not path.name.startswith("."):
            found[name] = path.read_bytes()
            if path.suffix == ".csv" and name.startswith(("runs", "dreams")):
                found[name] = _without_times(path.read_bytes())
        elif path.suffix == ".zip" and name.startswith("dreams"):
            contents = {file: read_picture(Picture(path, file)) for file in list_files(path)}
            contents[INDEX] = _without_times(contents[INDEX])
            found |= {f"{name}/{file}": content for file, content in contents.items()}
    return found


def _without_times(table: bytes) -> bytes:
    return pd.read_csv(BytesIO(table)).drop(columns=TIMES, errors="ignore").to_csv().encode()


def jobs_of(folder: Path) -> list[int]:
    """Return the process ids of the scripts that run in a working directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            if (process / "cwd").readlink() == folder and b".snakemake/scripts/" in b" ".join(arguments[:3]):
                found.append(int(process.name))
    return found

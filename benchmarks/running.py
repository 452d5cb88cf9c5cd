"""Run Snakemake for benchmarks: on the study in a folder, with a separate store."""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def checkout(revision: str, folder: Path) -> Path:
    """Write the files of a git revision of this repository to a new folder, and return the folder."""
    folder.mkdir(parents=True)
    archive = subprocess.run(["git", "-C", ROOT, "archive", revision], check=True, capture_output=True).stdout
    subprocess.run(["tar", "--extract", "--directory", folder], check=True, input=archive)
    return folder


def snakemake(root: Path, folder: Path, cores: int, *arguments: str) -> tuple[float, float]:
    """Run the workflow in `root` on the ``study.yaml`` of a folder.

    Return the seconds and the peak memory in MiB. If Snakemake fails, exit with the end of its output.
    """
    command = [sys.executable, "-m", "snakemake", *arguments, "--cores", cores, "--snakefile", root / "Snakefile"]
    command += ["--directory", folder, "--configfile", folder / "study.yaml"]
    environment = {key: value for key, value in os.environ.items() if key not in ("DREAMBIRDS_STORE", "PYTHONPATH")}
    output, started = folder / "snakemake.log", time.perf_counter()
    with output.open("w", encoding="utf-8") as log:
        arguments = [str(argument) for argument in command]
        process = subprocess.Popen(arguments, cwd=root, env=environment, stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if process.returncode:
        sys.exit(output.read_text(encoding="utf-8")[-4000:])
    return seconds, usage.ru_maxrss / 1024

"""How benchmarks run Snakemake: on the study of a folder, with a store of its own."""

import os
import subprocess
import sys
import time
from pathlib import Path


def snakemake(root: Path, folder: Path, cores: int, *arguments: str) -> tuple[float, float]:
    """Run the workflow in `root` on the ``study.yaml`` of a folder; return its seconds and its largest memory in MiB.

    Exits with what Snakemake said if it fails.
    """
    command = [sys.executable, "-m", "snakemake", *arguments, "--cores", cores, "--snakefile", root / "Snakefile"]
    command += ["--directory", folder, "--configfile", folder / "study.yaml"]
    surroundings = {key: value for key, value in os.environ.items() if key != "DREAMBIRDS_STORE"}
    said, began = folder / "said.log", time.perf_counter()
    with said.open("w") as log:
        words = [str(word) for word in command]
        process = subprocess.Popen(words, cwd=root, env=surroundings, stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if process.returncode:
        sys.exit(said.read_text()[-4000:])
    return seconds, usage.ru_maxrss / 1024

"""Compare the time of a study with the bare passes of its models, and that of a finished study with Snakemake's.

Run it as ``make bench-study``. Runs a study, by default ``config/config.yaml``, in a temporary folder with an empty
store. Before and after it, measures the bare passes of its models (`benchmarks.passes`), with the threads of a job.
Prints the wall time, the sum of the bare passes, and their ratio; then the times of ``snakemake`` on the finished
study and of ``snakemake --version``. With --before, the study is also run with the workflow of an earlier git revision,
in the same run. --json writes the same as JSON.

Jobs run in parallel, so the wall time can be below the sum.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

import yaml

from benchmarks.passes import count, floors
from benchmarks.records import report
from benchmarks.running import ROOT, checkout, snakemake
from dreambirds.data.tables import read_images
from dreambirds.plan.plan import make_plan
from dreambirds.startup.memory_profile import check_models

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
AT_MOST = 1.2  # wall time, relative to the bare passes
NOOP_AT_MOST = 1.0  # seconds of a finished study, in addition to those of `snakemake --version`
REPEATS = 3  # of short commands, of which the fastest counts


def bench(config: dict, cores: int, rounds: int, before: str | None = None) -> dict:
    """Run a study, also with the revision `before` if it is given, and measure the bare passes before and after.

    Print the tables, and return the figures.
    """
    plan = make_plan(config)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["DREAMBIRDS_STORE"] = str(folder / "profiling")  # the store of the study itself starts empty
        check_models(plan)
        roots = {"before": checkout(before, folder / "code")} if before else {}
        first = floors(plan, cores, rounds)
        runs = {key: run_study(root, folder / key, config, cores) for key, root in {**roots, "now": ROOT}.items()}
        second = floors(plan, cores, rounds)
        images = read_images(folder / "now" / "results" / plan.study / "dataset")
    splits = images[images["path"] != ""]["split"].value_counts()
    counts = count(plan, int(splits["train"]), int(splits.get("validation", 0)))
    parts = list_parts(counts, first, second)
    return {"model_seconds": sum(part["seconds"] for part in parts), "cores": cores, "parts": parts, "runs": runs}


def run_study(root: Path, folder: Path, config: dict, cores: int) -> dict[str, float]:
    """Run a study with the workflow in `root`; return the seconds of that, of another run, and of Snakemake alone."""
    folder.mkdir()
    (folder / "study.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    wall, _ = snakemake(root, folder, cores)
    finished = min(snakemake(root, folder, cores)[0] for _ in range(REPEATS))
    version = min(snakemake(root, folder, cores, "--version")[0] for _ in range(REPEATS))
    return {"wall_seconds": wall, "finished_seconds": finished, "version_seconds": version}


def list_parts(counts: dict, before: dict, after: dict) -> list[dict]:
    """Print and return one row per part of the study: its images, their time before and after, and its seconds."""
    lines = []
    for key, images in counts.items():
        part = dict(zip(("stage", "run", "part"), key, strict=True)) | {"images": images}
        times = {"ms_before": 1000 * before[key], "ms_after": 1000 * after[key]}
        lines.append(part | times | {"seconds": images * (before[key] + after[key]) / 2})
    return report(lines, None)


def list_ratios(found: dict) -> list[dict]:
    """Return one row per run of the study: its times, and their ratios to the bare passes and to Snakemake."""
    return [
        {
            "workflow": key,
            "wall_s": run["wall_seconds"],
            "model_s": found["model_seconds"],
            "wall_over_model": run["wall_seconds"] / found["model_seconds"],
            "finished_s": run["finished_seconds"],
            "version_s": run["version_seconds"],
            "finished_minus_version_s": run["finished_seconds"] - run["version_seconds"],
        }
        for key, run in found["runs"].items()
    ]


def main(arguments: list[str] | None = None) -> dict:
    """Run the benchmark and return its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--config", type=Path, default=ROOT / "config/config.yaml", help="config of the study, with absolute paths"
    )
    parser.add_argument("--cores", type=int, default=CORES, help="cores for Snakemake (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the bare passes, of which the best counts")
    parser.add_argument("--before", metavar="REVISION", help="git revision whose workflow is measured as well")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    settings = parser.parse_args(arguments)
    found = bench(
        yaml.safe_load(settings.config.read_text(encoding="utf-8")), settings.cores, settings.rounds, settings.before
    )
    found["ratios"] = report(list_ratios(found), None)
    print(f"targets: wall_over_model at most {AT_MOST}, finished_minus_version_s at most {NOOP_AT_MOST}")
    if settings.json:
        settings.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


if __name__ == "__main__":
    main()

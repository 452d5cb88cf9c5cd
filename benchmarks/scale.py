"""Measure the overhead of 100,000 dreams, apart from the model.

Run it as ``make bench-scale``. Creates a study of 20 checkpoints, 500 classes and 10 recipes on tiny photographs, in a
temporary folder. It uses a copy of the workflow in which dreaming takes no time and returns the start images. Prints
the time and memory of the first ``snakemake -n``, the time of ``-n`` on the finished study, and the overhead per dream:
the wall time of the run that computes all dreams, including starting jobs and writing files, divided by their number.
Each figure is printed with its target. With --before, the workflow of an earlier git revision is measured as well, in
the same run. --json writes the same as JSON.
"""

import argparse
import os
import shutil
import tempfile
from pathlib import Path

import yaml
from PIL import Image

from benchmarks.records import report
from benchmarks.running import ROOT, checkout, snakemake

TARGETS = {"first_dry_run_s": 10, "first_dry_run_mib": 500, "finished_dry_run_s": 6, "overhead_ms_per_dream": 5}
INSTANT = '''

def dream(model, targets, starts, recipe, rngs, **_):  # noqa: F811
    """Return the start images."""
    count, steps = len(starts), recipe.steps
    return DreamResult(
        snapshots=dict.fromkeys(steps, starts),
        metrics=dict.fromkeys(steps, StepMetrics(*torch.zeros(len(METRICS), count))),
        trace=StepMetrics(*torch.zeros(len(METRICS), count, steps[-1] + 1)),
        ended=torch.full((count,), steps[-1]),
        diverged=torch.zeros(count, dtype=torch.long),
    )
'''


def make_study(root: Path, folder: Path, checkpoints: int, labels: int, recipes: int, size: int) -> None:
    """Write a copy of the workflow in `root`, photographs, and a config to a folder.

    The `dream` function of the copy is instant; each photograph has one color.
    """
    for name in ("workflow", "profiles"):
        shutil.copytree(root / name, folder / "code" / name)
    for name in ("Snakefile", "environment.yml", "requirements.txt"):
        shutil.copy(root / name, folder / "code")
    with (folder / "code/workflow/dreambirds/dreaming/dream.py").open("a", encoding="utf-8") as file:
        file.write(INSTANT)
    for label in range(labels):
        birds = folder / "birds" / f"species_{label:04d}"
        birds.mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (8, 8), (label % 256, label // 256, 128 * number)).save(birds / f"{number}.png")
    widths = [round(0.1 * (index + 1), 1) for index in range(recipes)]
    config = {
        "study": "scale",
        "dataset": {"source": "folder", "path": "birds", "image_size": size, "validation_fraction": 0.5},
        "runs": {"scratch": {"model": "test_resnet", "epochs": list(range(checkpoints)), "batch_size": 64}},
        "dreams": {"recipes": {"blurred": {"steps": [1], "blur_sigma": widths}}},
        "montage": {"cell_size": 16},
        "threads": {"train": 1, "dream": 1},
        "gpu": 0,
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def measure(folder: Path, dreams: int, cores: int) -> dict[str, float]:
    """Run the study; return times, memory, and bytes on the disk."""
    code = folder / "code"
    dry_run, memory = snakemake(code, folder, cores, "-n")
    training, _ = snakemake(code, folder, cores, "training_only")
    dreaming, _ = snakemake(code, folder, cores, "dreams_only")
    rest, _ = snakemake(code, folder, cores)
    finished, finished_memory = snakemake(code, folder, cores, "-n")
    return {
        "first_dry_run_s": dry_run,
        "first_dry_run_mib": memory,
        "training_s": training,
        "dreaming_s": dreaming,
        "overhead_ms_per_dream": 1000 * dreaming / dreams,
        "judging_and_figures_s": rest,
        "finished_dry_run_s": finished,
        "finished_dry_run_mib": finished_memory,
        "store_bytes_per_dream": disk_bytes(folder / "results/.store/dreams") / dreams,
        "results_bytes_per_dream": disk_bytes(folder / "results/scale/dreams", folder / "results/.store") / dreams,
    }


def disk_bytes(folder: Path, others: Path | None = None) -> int:
    """Return the bytes of a folder's files, without those that are hard links to files in `others`."""
    known = {path.stat().st_ino for path in others.rglob("*")} if others else set()
    sizes = {path.stat().st_ino: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    return sum(size for inode, size in sizes.items() if inode not in known)


def main() -> None:
    """Run the benchmark and print its figures; with --json, also write them to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=int, default=20)
    parser.add_argument("--labels", type=int, default=500)
    parser.add_argument("--recipes", type=int, default=10)
    parser.add_argument("--size", type=int, default=64, help="size of the images in pixels")
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--before", metavar="REVISION", help="git revision whose workflow is measured as well")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    settings = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # per job, because jobs run in parallel
    dreams = settings.checkpoints * settings.labels * settings.recipes
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        roots = {"before": checkout(settings.before, Path(name, "revision"))} if settings.before else {}
        for key, root in {**roots, "now": ROOT}.items():
            folder = Path(name, key)
            folder.mkdir()
            make_study(root, folder, settings.checkpoints, settings.labels, settings.recipes, settings.size)
            found[key] = measure(folder, dreams, settings.cores)
            shutil.rmtree(folder)
    rows = [{"figure": figure, **{key: found[key][figure] for key in found}} for figure in found["now"]]
    print(f"{dreams} dreams on {settings.cores} cores")
    report([{**row, "target": TARGETS.get(row["figure"], "")} for row in rows], settings.json)


if __name__ == "__main__":
    main()

"""Measure the overhead of 100,000 dreams, apart from the model.

Run it as ``make bench-scale``. Creates a study of 20 checkpoints, 500 classes and 10 recipes on tiny photographs, in a
temporary folder. It uses a copy of the workflow in which dreaming takes no time and returns the start images. Prints
the time and memory of the first ``snakemake -n``, the time of ``-n`` on the finished study, and the overhead per dream:
the wall time of the run that computes all dreams, including starting jobs and writing files, divided by their number.
--json writes the same as JSON.
"""

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path

import yaml
from PIL import Image

from benchmarks.running import snakemake

ROOT = Path(__file__).parents[1]
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


def make_study(folder: Path, checkpoints: int, labels: int, recipes: int, size: int) -> None:
    """Write a copy of the workflow, photographs, and a config to a folder.

    The `dream` function of the copy is instant; each photograph has one color.
    """
    for name in ("workflow", "profiles"):
        shutil.copytree(ROOT / name, folder / "code" / name)
    for name in ("Snakefile", "environment.yml"):
        shutil.copy(ROOT / name, folder / "code")
    with (folder / "code/workflow/dreambirds/dreaming/dream.py").open("a") as file:
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
    (folder / "study.yaml").write_text(yaml.safe_dump(config))


def measure(folder: Path, dreams: int, cores: int) -> dict[str, float]:
    """Run the study; return times, memory, and the size of the store."""
    dry_run, memory = snakemake(folder / "code", folder, cores, "-n")
    print(f"first snakemake -n: {dry_run:.1f} s, {memory:.0f} MiB", flush=True)
    training, _ = snakemake(folder / "code", folder, cores, "training_only")
    print(f"preparation and training: {training:.1f} s", flush=True)
    dreaming, _ = snakemake(folder / "code", folder, cores, "dreams_only")
    print(f"{dreams} instant dreams: {dreaming:.1f} s", flush=True)
    figures, _ = snakemake(folder / "code", folder, cores)
    print(f"montages and animations: {figures:.1f} s", flush=True)
    noop, noop_memory = snakemake(folder / "code", folder, cores, "-n")
    print(f"snakemake -n on the finished study: {noop:.1f} s, {noop_memory:.0f} MiB", flush=True)
    store = sum(path.stat().st_size for path in (folder / "results/.store/dreams").rglob("*") if path.is_file())
    return {
        "dreams": dreams,
        "cores": cores,
        "dry_run_seconds": round(dry_run, 1),
        "noop_seconds": round(noop, 1),
        "dry_run_mib": round(max(memory, noop_memory)),
        "overhead_ms_per_dream": round(1000 * dreaming / dreams, 2),
        "store_bytes_per_dream": round(store / dreams),
    }


def main() -> None:
    """Run the benchmark and print its figures; with --json, also write them to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoints", type=int, default=20)
    parser.add_argument("--labels", type=int, default=500)
    parser.add_argument("--recipes", type=int, default=10)
    parser.add_argument("--size", type=int, default=64, help="size of the images in pixels")
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    settings = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # per job, because jobs run in parallel
    with tempfile.TemporaryDirectory() as folder:
        make_study(Path(folder), settings.checkpoints, settings.labels, settings.recipes, settings.size)
        dreams = settings.checkpoints * settings.labels * settings.recipes
        figures = measure(Path(folder), dreams, settings.cores)
    print(json.dumps(figures, indent=1))
    if settings.json:
        settings.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()

"""The results of the benchmark of recognition: what a judge says of the dreams, as a table and as a montage."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.recognition_jobs import Entry, Job
from dreambirds.data.dataset import decode
from dreambirds.data.tables import example_images, read_images, write_table
from dreambirds.dream_job.image_files import save_png
from dreambirds.evaluation.contrasts import bootstrap_mean
from dreambirds.evaluation.judge import Judge, batches
from dreambirds.evaluation.metrics import classification_metrics
from dreambirds.figures.montage import Grid, montage
from dreambirds.io import atomic_write

PHOTOGRAPHS = "validation photographs"  # the name of their row
MEASURES = {"judge_p": "judge's p", "judge_top1": "top-1", "judge_top5": "top-5"}
COLUMNS = ["name", "uses", "own_passes", "passes", "steps", "images", "seconds_per_dream"]
COLUMNS += [column for measure in MEASURES for column in (measure, f"{measure}_low", f"{measure}_high")]
CELL = 96  # pixels
Read = Callable[[Path], torch.Tensor]
Classify = Callable[[list[Path], list[str]], pd.DataFrame]


def classify(judge: Judge, files: list[Path], labels: list[str], read: Read = decode) -> pd.DataFrame:
    """Return what a judge says of the images of classes that it knows: one row per image.

    The columns are ``label``, ``judge_p``, the probability of the class, and ``judge_top1`` and ``judge_top5``, whether
    the class is the first, or among the first five, of all classes of the judge.
    """
    known = [(file, label) for file, label in zip(files, labels, strict=True) if label in judge.class_indices]
    logits, _ = judge.predict(batches([file for file, _ in known], read))
    targets = torch.tensor([judge.class_indices[label] for _, label in known])
    metrics = classification_metrics(logits, targets, judge.classifier.head)
    return pd.DataFrame(
        {
            "label": [label for _, label in known],
            "judge_p": metrics["probability"].numpy(),
            "judge_top1": (metrics["rank"] <= 1).double().numpy(),
            "judge_top5": (metrics["rank"] <= 5).double().numpy(),
        }
    )


def summarize(judged: pd.DataFrame) -> dict[str, float]:
    """Return the mean of each measure over classes, with the bounds of its 95% interval.

    `judged` has one row per image. Images of a class are averaged first, because they are not independent. The interval
    is that of the bootstrap over classes.
    """
    found: dict[str, float] = {"images": len(judged)}
    for measure in MEASURES:
        means = judged.groupby("label")[measure].mean().to_numpy()
        found |= dict(zip((measure, f"{measure}_low", f"{measure}_high"), bootstrap_mean(means), strict=True))
    return found


def make_table(entries: Iterable[Entry], jobs: Iterable[Job], labels: list[str], judging: Classify) -> pd.DataFrame:
    """Return one row per entry that has results, with the columns `COLUMNS`: the best mean probability comes first.

    `judging` returns what a judge says of image files and their labels, as `classify` does.
    """
    finished: dict[str, list[tuple[Job, dict[str, Any]]]] = {}
    for job in jobs:
        if result := job.result():
            finished.setdefault(job.name, []).append((job, result))
    rows = []
    for entry in entries:
        done = finished.get(entry.name, [])
        if not done:
            continue
        files = [job.folder / f"{label}.png" for job, _ in done for label in labels]
        row = {"name": entry.name, "uses": entry.uses, "own_passes": entry.own_passes}
        row |= {key: done[0][1][key] for key in ("passes", "steps")}
        row["seconds_per_dream"] = float(np.mean([result["seconds"] for _, result in done]))
        rows.append(row | summarize(judging(files, labels * len(done))))
    return pd.DataFrame(rows, columns=COLUMNS).sort_values("judge_p", ascending=False, kind="stable", ignore_index=True)


def photograph_row(dataset: Path, judging: Classify) -> pd.DataFrame:
    """Return the row of the validation photographs of a prepared data set, as a measure for dreams."""
    images = read_images(dataset)
    images = images[(images["path"] != "") & (images["split"] == "validation")]
    judged = judging([dataset / path for path in images["path"]], list(images["label"]))
    return pd.DataFrame([{"name": PHOTOGRAPHS, **summarize(judged)}], columns=COLUMNS)


def to_markdown(table: pd.DataFrame) -> str:
    """Return the table as Markdown. Intervals are in brackets, and times have three significant digits."""
    names = ["recipe or program", "uses", "passes", "its own", *MEASURES.values(), "s per dream"]
    lines = [names, ["---"] * len(names)]
    for _, row in table.iterrows():
        passes = ["" if pd.isna(row[key]) else f"{row[key]:.0f}" for key in ("passes", "own_passes")]
        shares = [
            f"{row[key]:.2f} [{row[f'{key}_low']:.2f}, {row[f'{key}_high']:.2f}]"
            if not pd.isna(row[f"{key}_low"])
            else f"{row[key]:.2f}"
            for key in MEASURES
        ]
        seconds = "" if pd.isna(row["seconds_per_dream"]) else f"{row['seconds_per_dream']:.3g}"
        lines.append([row["name"], "" if pd.isna(row["uses"]) else row["uses"], *passes, *shares, seconds])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def write_results(
    table: pd.DataFrame, jobs: Iterable[Job], seed: int, names: Mapping[str, str], dataset: Path, title: str, to: Path
) -> None:
    """Write the table as ``table.csv`` and ``table.md``, and the dreams of one seed as ``montage.png``.

    The montage has one row per row of the table, and one column per class. Cells without a dream are blank. `names` are
    the display names of the classes, and `title` describes the network.
    """
    to.mkdir(parents=True, exist_ok=True)
    write_table(table, to / "table.csv", "%.6g")
    with atomic_write(to / "table.md") as temporary:
        temporary.write_text(to_markdown(table), encoding="utf-8")
    folders = {job.name: job.folder for job in jobs if job.seed == seed and job.result()}
    examples, cells = example_images(dataset), []
    for name in table["name"]:
        folder = folders.get(name)
        files = examples if name == PHOTOGRAPHS else {label: folder / f"{label}.png" for label in names if folder}
        cells.append([files.get(label) for label in names])
    rows = [f"{name} ({top1:.0%})" for name, top1 in zip(table["name"], table["judge_top1"], strict=True)]
    subtitle = f"{title}, seed {seed}; in brackets, the share of all dreams that the judge recognizes (top-1)"
    page = Grid(cells, rows, list(names.values()), "Recipes and programs by class", subtitle)
    save_png(montage(page, CELL), to / "montage.png", page.title, {"seed": seed, "network": title})

"""Write the files of a dream's kept steps: images with their provenance, traces and animations."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from dreambirds.config import VIEWS
from dreambirds.dream_job.image_files import save_png, views
from dreambirds.dream_job.store import StoredSnapshot
from dreambirds.dreaming.dream import METRICS, DreamResult
from dreambirds.io import atomic_write, link_or_copy, sha256_of
from dreambirds.plan.paths import picture_name, trace_name

TRACE = "trace.csv"


@dataclass(frozen=True)
class Snapshot:
    """What a kept image records: its title, what was requested, and the environment that made it (batch, threads …)."""

    title: str
    request: dict
    environment: dict

    def facts(self, view: str) -> dict:
        """Return all facts of the picture's view."""
        return {**self.request, **self.environment, "view": view}

    def as_facts(self, metrics: dict, seconds: float) -> dict:
        """Return the facts that the store keeps of it; `seconds` is the time that it took."""
        facts = {"title": self.title, "request": self.request, "environment": self.environment}
        return {**facts, "metrics": metrics, "seconds": seconds}


def write_snapshot(folder: Path, image: torch.Tensor, snapshot: Snapshot, trace: Sequence[str]) -> None:
    """Write both views of an image (3, H, W) in [0, 1], and the lines of its trace, into an entry's folder."""
    for view, picture in views(image).items():
        save_png(picture, folder / f"{view}.png", snapshot.title, snapshot.facts(view))
    (folder / TRACE).write_text("\n".join(trace) + "\n")


def link_snapshot(entry: StoredSnapshot, wanted: Snapshot, folder: Path, label: str, step: int) -> dict[str, str]:
    """Put both pictures of a stored moment into a job's folder; return their sha256 by view.

    They are the store's own files unless another study dreamt them and they say other things of themselves there.
    """
    same = (entry.facts["title"], entry.facts["request"]) == (wanted.title, json.loads(json.dumps(wanted.request)))
    digests = {}
    for view in VIEWS:
        source, path = entry.folder / f"{view}.png", folder / picture_name(label, step, view)
        path.parent.mkdir(parents=True, exist_ok=True)
        if same:
            link_or_copy(source, path)
            digests[view] = entry.files[source.name]
        else:
            with Image.open(source) as picture:
                save_png(picture, path, wanted.title, wanted.facts(view))
            digests[view] = sha256_of(path)
    return digests


def trace_lines(dreams: DreamResult, row: int, classes: Sequence[str]) -> list[str]:
    """Return the trace of one dream of a batch as lines of CSV: a header, then a line a step that it has done."""
    ended = int(dreams.ended[row])
    columns = [getattr(dreams.trace, metric)[row, : ended + 1].tolist() for metric in METRICS]
    rows = zip(*columns, strict=True)
    lines = [_line(step, dict(zip(METRICS, row, strict=True)), classes) for step, row in enumerate(rows)]
    return [",".join(["step", *METRICS]), *lines]


def snapshot_metrics(dreams: DreamResult, row: int, step: int, classes: Sequence[str]) -> dict:
    """Return the metrics of a kept image by name: numbers, and the name of the predicted class."""
    metrics = _metrics(dreams, row, step)
    return {**metrics, "prediction": _name(metrics["prediction"], classes)}


def snapshot_trace(lines: Sequence[str], dreams: DreamResult, row: int, step: int, classes: Sequence[str]) -> list[str]:
    """Return the trace up to a kept step: through each step's own view, and at the kept step plainly."""
    done = min(step, int(dreams.ended[row]))
    return [*lines[: done + 1], _line(done, _metrics(dreams, row, step), classes)]


def _metrics(dreams: DreamResult, row: int, step: int) -> dict[str, float]:
    return {metric: getattr(dreams.metrics[step], metric)[row].item() for metric in METRICS}


def _line(step: int, metrics: dict[str, float], classes: Sequence[str]) -> str:
    numbers = {metric: "" if math.isnan(value) else f"{value:.6g}" for metric, value in metrics.items()}
    return ",".join([str(step), *{**numbers, "prediction": _name(metrics["prediction"], classes)}.values()])


def _name(prediction: float, classes: Sequence[str]) -> str:
    return "" if math.isnan(prediction) else classes[int(prediction)]


def read_trace(entry: StoredSnapshot) -> list[str]:
    """Return the lines of a stored moment's trace."""
    return (entry.folder / TRACE).read_text().splitlines()


def write_trace(traces: Sequence[list[str]], folder: Path, label: str) -> None:
    """Write the trace of a dream into a job's folder, put together from those of its moments in the order of steps."""
    lines: list[str] = []
    for trace in traces:
        lines += trace[len(lines) :]
    path = folder / trace_name(label)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")

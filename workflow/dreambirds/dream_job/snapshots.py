"""Write the files of a dream's kept steps: images with metadata, and traces."""

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
    """Metadata of a kept image.

    Its title, the request, and the environment that computed it (batch, threads …).
    """

    title: str
    request: dict
    environment: dict

    def facts(self, view: str) -> dict:
        """Return all metadata of one view of the image."""
        return {**self.request, **self.environment, "view": view}

    def as_facts(self, metrics: dict, seconds: float) -> dict:
        """Return the metadata for the store; `seconds` is the time of the dream."""
        facts = {"title": self.title, "request": self.request, "environment": self.environment}
        return {**facts, "metrics": metrics, "seconds": seconds}


def write_snapshot(folder: Path, image: torch.Tensor, snapshot: Snapshot, trace: Sequence[str]) -> None:
    """Write both views of an image, and its trace, to an entry's folder.

    The image is (3, H, W) in [0, 1]; `trace` is a list of lines.
    """
    for view, rendered in views(image).items():
        save_png(rendered, folder / f"{view}.png", snapshot.title, snapshot.facts(view))
    (folder / TRACE).write_text("\n".join(trace) + "\n")


def link_snapshot(entry: StoredSnapshot, requested: Snapshot, folder: Path, label: str, step: int) -> dict[str, str]:
    """Link both views of a stored snapshot; return their sha256 by view.

    If the stored metadata differs from the requested (another study computed the dream), write new files instead.
    """
    request = json.loads(json.dumps(requested.request))  # as JSON returns it: tuples become lists
    same = (entry.facts["title"], entry.facts["request"]) == (requested.title, request)
    digests = {}
    for view in VIEWS:
        source, path = entry.folder / f"{view}.png", folder / picture_name(label, step, view)
        path.parent.mkdir(parents=True, exist_ok=True)
        if same:
            link_or_copy(source, path)
            digests[view] = entry.files[source.name]
        else:
            with Image.open(source) as image:
                save_png(image, path, requested.title, requested.facts(view))
            digests[view] = sha256_of(path)
    return digests


def trace_lines(dreams: DreamResult, row: int, classes: Sequence[str]) -> list[str]:
    """Return the trace of one dream of a batch as CSV lines.

    The lines are a header, and one line per completed step including step 0.
    """
    ended = int(dreams.ended[row])
    columns = [getattr(dreams.trace, metric)[row, : ended + 1].tolist() for metric in METRICS]
    rows = zip(*columns, strict=True)
    lines = [_line(step, dict(zip(METRICS, row, strict=True)), classes) for step, row in enumerate(rows)]
    return [",".join(["step", *METRICS]), *lines]


def snapshot_metrics(dreams: DreamResult, row: int, step: int, classes: Sequence[str]) -> dict:
    """Return the metrics of a kept image by name.

    They are numbers, except the label of the predicted class.
    """
    metrics = _metrics(dreams, row, step)
    return {**metrics, "prediction": _name(metrics["prediction"], classes)}


def snapshot_trace(lines: Sequence[str], dreams: DreamResult, row: int, step: int, classes: Sequence[str]) -> list[str]:
    """Return the lines of a trace up to a kept step.

    Metrics are measured on transformed images, except in the last line: there, on the plain image.
    """
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
    """Return the trace of a stored snapshot, as lines."""
    return (entry.folder / TRACE).read_text().splitlines()


def write_trace(traces: Sequence[list[str]], folder: Path, label: str) -> None:
    """Join the traces of a dream's snapshots, and write them to a job's folder.

    `traces` are in the order of steps.
    """
    lines: list[str] = []
    for trace in traces:
        lines += trace[len(lines) :]
    path = folder / trace_name(label)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")

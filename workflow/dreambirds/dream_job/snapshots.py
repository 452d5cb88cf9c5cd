"""The files of a dream's kept steps: images with metadata, and traces."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO

import torch
from PIL import Image

from dreambirds.dream_job.context import DreamContext, DreamJob
from dreambirds.dream_job.image_files import encode_png, versions
from dreambirds.dream_job.store import StoredSnapshot
from dreambirds.dream_job.targets import described
from dreambirds.dream_job.views import views
from dreambirds.dreaming.dream import METRICS, DreamResult

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


def shared_request(job: DreamJob, context: DreamContext) -> dict:
    """Return the part of the request that all snapshots of a job share, as JSON: tuples become lists."""
    of_job = ("steps", "film_every")  # not of a single image
    request = {
        "run": context.info.run,
        "epoch": context.info.epoch,
        "model": context.info.model,
        "recipe": job.recipe,
        "parameters": {key: value for key, value in job.parameters.items() if key not in of_job},
        "seed": job.parameters["seed"],
        "precision": context.precision,
        "checkpoint_sha256": context.own.sha256,
        **({"committee": [network.provenance for network in context.committee]} if context.committee else {}),
        "versions": versions(),
        **({"statistics_sha256": context.statistics_sha256} if job.statistics else {}),
    }
    shared: dict = json.loads(json.dumps(request))
    return shared


def inputs_of(job: DreamJob, context: DreamContext, label: str) -> dict:
    """Return the metadata of what the dream of a label depends on: its images, and a target that is not a class."""
    start, dream = job.photographs.get(label), job.start_dreams.get(label)
    inputs: dict = {"target": described(job.targets[label])} if label in job.targets else {}
    if start:
        inputs |= {"start": start.name, "start_sha256": context.starts_sha256[label]}
    if dream:
        inputs |= {"start_dream": dict(dream.origin), "start_sha256": context.starts_sha256[label]}
    if label in context.references_sha256:
        inputs["reference_label"] = context.reference_labels[label]
        inputs["references_sha256"] = context.references_sha256[label]
    return inputs


def environment_of(context: DreamContext, result: DreamResult, row: int, step: int) -> dict:
    """Return the metadata of how a step of the dream in a row of a batch was computed."""
    diverged = int(result.diverged[row])
    return {
        "device": str(context.device),
        "threads": torch.get_num_threads(),
        "batch": len(result.ended),
        "steps_done": min(step, int(result.ended[row])),
        "layers": context.own.layers,
        **({"tf32": True} if context.device.type == "cuda" else {}),
        **({"diverged_at": diverged} if diverged else {}),
        **({"silent": True} if result.silent is not None and bool(result.silent[row]) else {}),
    }


def encode_snapshot(image: torch.Tensor, snapshot: Snapshot, trace: Sequence[str]) -> dict[str, bytes]:
    """Return the files of a store entry by name: both views of an image (3, H, W) in [0, 1], and a trace's lines."""
    files = {
        f"{view}.png": encode_png(rendered, snapshot.title, snapshot.facts(view))
        for view, rendered in views(image).items()
    }
    return {**files, TRACE: as_lines(trace)}


def is_as_requested(entry: StoredSnapshot, requested: Snapshot) -> bool:
    """Return whether the metadata of a stored snapshot is that of the request; another study may have computed it."""
    return (entry.facts["title"], entry.facts["request"]) == (requested.title, requested.request)


def with_metadata(content: bytes, requested: Snapshot, view: str) -> bytes:
    """Return a PNG file of a view of a snapshot with the requested metadata."""
    with Image.open(BytesIO(content)) as image:
        return encode_png(image, requested.title, requested.facts(view))


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


def join_traces(traces: Iterable[bytes]) -> bytes:
    """Return the trace of a dream from the traces of its kept steps, which are in the order of steps."""
    lines: list[str] = []
    for trace in traces:
        lines += trace.decode().splitlines()[len(lines) :]
    return as_lines(lines)


def as_lines(lines: Iterable[str]) -> bytes:
    """Return lines as the content of a text file."""
    return ("\n".join(lines) + "\n").encode()

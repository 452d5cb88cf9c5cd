"""The kept moments of a dream as files: written once, and put into any study's results as what they are there."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from dreambirds.data.files import atomically, link, sha256_of
from dreambirds.dreaming.loop import MEASURES, Dreams
from dreambirds.dreaming.store import Entry
from dreambirds.pictures.provenance import save_png
from dreambirds.pictures.views import views
from dreambirds.study.paths import VIEWS, picture_name, trace_name

TRACE = "trace.csv"


@dataclass(frozen=True)
class Moment:
    """What a kept picture says of itself: its title, what was asked for, and how it was made (batch, threads …)."""

    title: str
    said: dict
    made: dict

    def facts(self, view: str) -> dict:
        """Return all facts of the picture's view."""
        return {**self.said, **self.made, "view": view}

    def as_facts(self, look: dict, seconds: float) -> dict:
        """Return the facts of a stored moment; `look` is what the model makes of it, `seconds` what it took."""
        return {"title": self.title, "said": self.said, "made": self.made, "look": look, "seconds": seconds}


def write_moment(folder: Path, image: torch.Tensor, moment: Moment, trace: Sequence[str]) -> None:
    """Write both views of an image (3, H, W) in [0, 1], and the lines of its trace, into an entry's folder."""
    for view, picture in views(image).items():
        save_png(picture, folder / f"{view}.png", moment.title, moment.facts(view))
    (folder / TRACE).write_text("\n".join(trace) + "\n")


def place_moment(entry: Entry, wanted: Moment, folder: Path, label: str, step: int) -> dict[str, str]:
    """Put both pictures of a stored moment into a job's folder; return their sha256 by view.

    They are the store's own files unless another study dreamt them and they say other things of themselves there.
    """
    same = (entry.facts["title"], entry.facts["said"]) == (wanted.title, json.loads(json.dumps(wanted.said)))
    digests = {}
    for view in VIEWS:
        source, path = entry.folder / f"{view}.png", folder / picture_name(label, step, view)
        path.parent.mkdir(parents=True, exist_ok=True)
        if same:
            link(source, path)
            digests[view] = entry.files[source.name]
        else:
            with Image.open(source) as picture:
                save_png(picture, path, wanted.title, wanted.facts(view))
            digests[view] = sha256_of(path)
    return digests


def trace_lines(dreams: Dreams, row: int, classes: Sequence[str]) -> list[str]:
    """Return the trace of one dream of a batch as lines of CSV: a header, then a line a step that it has done."""
    ended = int(dreams.ended[row])
    columns = [values[row, : ended + 1].tolist() for values in dreams.trace.values()]
    lines = [_line(step, values, classes) for step, values in enumerate(zip(*columns, strict=True))]
    return [",".join(["step", *MEASURES]), *lines]


def look_of(dreams: Dreams, row: int, step: int, classes: Sequence[str]) -> dict:
    """Return what the model makes of a kept picture, by measure: numbers, and the name of the class on top."""
    look = dict(zip(MEASURES, dreams.looks[step][:, row].tolist(), strict=True))
    return {**look, "top1": _name(look["top1"], classes)}


def moment_trace(lines: Sequence[str], dreams: Dreams, row: int, step: int, classes: Sequence[str]) -> list[str]:
    """Return the trace up to a kept step: through each step's own view, and at the kept step plainly."""
    done = min(step, int(dreams.ended[row]))
    return [*lines[: done + 1], _line(done, dreams.looks[step][:, row].tolist(), classes)]


def _line(step: int, values: Sequence[float], classes: Sequence[str]) -> str:
    loss, logit, chance, top1, change = values
    numbers = ["" if math.isnan(value) else f"{value:.6g}" for value in (loss, logit, chance, change)]
    return ",".join([str(step), *numbers[:3], _name(top1, classes), numbers[3]])


def _name(top1: float, classes: Sequence[str]) -> str:
    return "" if math.isnan(top1) else classes[int(top1)]


def read_trace(entry: Entry) -> list[str]:
    """Return the lines of a stored moment's trace."""
    return (entry.folder / TRACE).read_text().splitlines()


def place_trace(traces: Sequence[list[str]], folder: Path, label: str) -> None:
    """Write the trace of a dream into a job's folder, put together from those of its moments in the order of steps."""
    lines: list[str] = []
    for trace in traces:
        lines += trace[len(lines) :]
    path = folder / trace_name(label)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomically(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")

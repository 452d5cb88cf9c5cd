"""The kept moments of a dream as files: written once, and put into any study's results as what they are there."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from PIL import Image

from dreambirds.data.files import atomically, link, sha256_of
from dreambirds.dreaming.loop import MEASURES, Dreams
from dreambirds.dreaming.store import Entry
from dreambirds.pictures.provenance import save_png
from dreambirds.pictures.views import views
from dreambirds.study.paths import picture_name, trace_name

TRACE = "trace.csv"
MADE = ("device", "threads", "batch", "steps_done", "failed_at")


@dataclass(frozen=True)
class Moment:
    """What a kept picture says of itself: its title, what was asked for, and how it was made (the keys of MADE)."""

    title: str
    said: dict
    made: dict

    def facts(self, view: str) -> dict:
        """Return all facts of the picture's view."""
        return {**self.said, **self.made, "view": view}

    def as_facts(self, look: dict) -> dict:
        """Return the facts of a stored moment; `look` is what the model makes of it."""
        return {"title": self.title, "said": self.said, "made": self.made, "look": look}


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
    for view in ("raw", "rescaled"):
        source, path = entry.folder / f"{view}.png", folder / picture_name(label, step, view)
        path.parent.mkdir(parents=True, exist_ok=True)
        if same:
            link(source, path)
            digests[view] = entry.files[source.name]
        else:
            own = Moment(wanted.title, wanted.said, entry.facts["made"])
            with Image.open(source) as picture, atomically(path) as temporary:
                save_png(picture, temporary, own.title, own.facts(view))
            digests[view] = sha256_of(path)
    return digests


def trace_lines(dreams: Dreams, row: int, classes: Sequence[str]) -> list[str]:
    """Return the trace of one dream of a batch as lines of CSV: a header, then a line a step that it has done."""
    ended = int(dreams.ended[row])
    return _lines({measure: values[row, : ended + 1].numpy() for measure, values in dreams.trace.items()}, classes)


def look_of(dreams: Dreams, row: int, step: int, classes: Sequence[str]) -> dict:
    """Return what the model makes of a kept picture, by measure: numbers, and the name of the class on top."""
    look = dict(zip(MEASURES, dreams.looks[step][:, row].tolist(), strict=True))
    return {**look, "top1": classes[int(look["top1"])] if look["top1"] == look["top1"] else ""}


def moment_trace(lines: Sequence[str], dreams: Dreams, row: int, step: int, classes: Sequence[str]) -> list[str]:
    """Return the trace up to a kept step: through each step's own view, and at the kept step plainly."""
    done = min(step, int(dreams.ended[row]))
    look = {measure: [value] for measure, value in zip(MEASURES, dreams.looks[step][:, row].tolist(), strict=True)}
    return [*lines[: done + 1], _lines(look, classes, done)[1]]


def _lines(columns: dict, classes: Sequence[str], first: int = 0) -> list[str]:
    table = pd.DataFrame(columns)
    table["top1"] = [classes[int(index)] if index == index else "" for index in table["top1"]]
    table.index += first
    return table.to_csv(index_label="step", float_format="%.6g").splitlines()


def place_trace(moments: Sequence[Entry], folder: Path, label: str) -> None:
    """Write the trace of a dream into a job's folder, put together from its kept moments in the order of steps."""
    lines = []
    for entry in moments:
        lines += (entry.folder / TRACE).read_text().splitlines()[len(lines) :]
    path = folder / trace_name(label)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomically(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")

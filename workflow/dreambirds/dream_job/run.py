"""One dream job: from a checkpoint and a recipe to the pictures, traces and films of its labels.

What the store has is taken from it; the rest is dreamt, batch after batch, and each batch is stored as soon as it is
whole.
"""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import torch

from dreambirds.data.tables import write_table
from dreambirds.dream_job import snapshots
from dreambirds.dream_job.context import DreamContext, DreamJob, in_batches
from dreambirds.dream_job.snapshots import Snapshot, as_text, rescale_together, save_gif, to_picture, versions
from dreambirds.dream_job.store import DreamStore, StoredSnapshot, Transaction, dream_key, dream_store
from dreambirds.dreaming.dream import DreamResult
from dreambirds.dreaming.recipe import value_at
from dreambirds.errors import UserError
from dreambirds.io import link_or_copy
from dreambirds.plan.paths import film_name, step_name

FILM, SECONDS_PER_FRAME = "film.gif", 0.08
INDEX = [
    "label",
    "step",
    "steps_done",
    "diverged_at",
    "loss",
    "logit",
    "probability",
    "top1",
    "mean_abs_change",
    "raw_sha256",
]
INDEX += ["rescaled_sha256", "seconds"]
log = logging.getLogger(__name__)


def run_dream_job(job: DreamJob, device: torch.device, index: Path | None = None) -> None:
    """Let a checkpoint dream of every label under one recipe; put pictures, traces and films into the job's folder.

    With `index`, a table of the pictures is written last, one row each. A dream that runs to infinity is named in the
    log and leaves its last good picture, which says so in its facts; the store does not keep it. Raises StudyError if
    the checkpoint is damaged, the recipe does not fit the model, no dream succeeds, or a file can't be written.
    """
    dreamer = _Dreamer(job, device, dream_store())
    dreamer.take()
    dreamer.dream()
    dreamer.end(index)


class _Dreamer:
    """The labels of a job, from the store or dreamt, and the rows of its index."""

    def __init__(self, job: DreamJob, device: torch.device, store: DreamStore):
        self.job, self.ready, self.store = job, DreamContext(job, device), store
        self.keys = {label: dream_key(self.ready.decides(label)) for label in job.names}
        self.said = _said(job, self.ready)
        self.missing: dict[tuple, list[str]] = {}
        self.rows: dict[tuple[str, int], dict] = {}
        self.traces: dict[tuple[str, int], list[str]] = {}
        self.failed: dict[str, int] = {}
        self.found = 0
        self.problem: OSError | None = None

    def take(self) -> None:
        """Put into the job's folder what the store has of each label, and note what it lacks."""
        for label, key in self.keys.items():
            lacking = self.job.steps
            # a film's frames are needed from the first step on
            if not self.job.film or self._place_film(label, self.store.get(key, self._film(label))):
                lacking = tuple(
                    step for step in lacking if not self._place(label, step, self.store.get(key, step_name(step)))
                )
            self.found += len(self.job.steps) - len(lacking)
            if lacking:
                self.missing.setdefault(lacking, []).append(label)
            else:
                self._place_trace(label)
        self._check()

    def dream(self) -> None:
        """Dream of what the store lacks."""
        for steps, labels in self.missing.items():
            for places, dreams in in_batches(self._dream_of(labels, steps), len(labels), self.ready.batch):
                with self.store.stage() as stage:
                    for row, place in enumerate(places):
                        self._keep(stage, dreams, row, labels[place])
                self._check()

    def _dream_of(self, labels: list[str], steps: tuple[int, ...]):
        film = self.job.film and steps == self.job.steps
        return lambda places: self.ready.dream_of([labels[place] for place in places], steps, film)

    def _keep(self, stage: Transaction, dreams: DreamResult, row: int, label: str) -> None:
        """Write the moments of one dream of a batch into a stage, and put all that was asked for into the folder."""
        failed, key, classes = int(dreams.failed[row]), self.keys[label], self.ready.card.labels
        if failed:
            self.failed[label] = failed
        lines = snapshots.trace_lines(dreams, row, classes)
        for step, images in dreams.snapshots.items():
            moment = self._moment(label, step, made=self._made(dreams, row, step))
            look = snapshots.snapshot_metrics(dreams, row, step, classes)
            facts = moment.as_facts(look, self._seconds(dreams, row, step))
            with stage.entry(key, step_name(step), facts, keep=not failed) as folder:
                own = snapshots.snapshot_trace(lines, dreams, row, step, classes)
                snapshots.write_snapshot(folder, images[row], moment, own)
            self._place(label, step, stage.last())
        if dreams.frames:
            self._shoot(stage, dreams, row, label)
            self._place_film(label, stage.last())
        self._place_trace(label)

    def _shoot(self, stage: Transaction, dreams: DreamResult, row: int, label: str) -> None:
        ended, every = int(dreams.ended[row]), self.job.parameters["film_every"]
        frames = [*dreams.frames[: math.ceil(ended / every)], dreams.frames[-1]]
        pictures = [to_picture(image) for image in rescale_together(torch.stack([each[row] for each in frames]))]
        moment = self._moment(label, self.job.steps[-1], self._made(dreams, row, ended))
        facts = {**moment.said, **moment.made, "title": moment.title}
        with stage.entry(self.keys[label], self._film(label), facts, keep=not dreams.failed[row]) as folder:
            save_gif(pictures, folder / FILM, SECONDS_PER_FRAME, as_text(facts))

    def _film(self, label: str) -> str:
        """Return the name of a label's film in the store: a GIF can't be told anew what it is of, so words count."""
        moment, parameters = self._moment(label, self.job.steps[-1], {}), self.job.parameters
        words = [moment.title, moment.said, parameters["film_every"], parameters["steps"][-1]]
        return f"film-{dream_key(words)[:8]}"

    def _seconds(self, dreams: DreamResult, row: int, step: int) -> float:
        """Return a moment's share of the time that its batch took."""
        return self.ready.seconds_a_step * min(step, int(dreams.ended[row]))

    def _made(self, dreams: DreamResult, row: int, step: int) -> dict:
        failed = int(dreams.failed[row])
        return {
            "device": str(self.ready.device),
            "threads": torch.get_num_threads(),
            "batch": len(dreams.ended),
            "steps_done": min(step, int(dreams.ended[row])),
            "layers": self.ready.layers,
            **({"tf32": True} if self.ready.device.type == "cuda" else {}),
            **({"diverged_at": failed} if failed else {}),
        }

    def _moment(self, label: str, step: int, made: dict) -> Snapshot:
        start = self.job.photographs.get(label)
        begun = {"start": start.name, "start_sha256": self.ready.starts_sha256[label]} if start else {}
        title = f"{self.job.names[label]}, dreamt at epoch {self.ready.card.epoch}, step {step}"
        return Snapshot(title, {**self.said, "label": label, "step": step, **begun}, made)

    def _place(self, label: str, step: int, entry: StoredSnapshot | None) -> bool:
        """Put a moment into the job's folder; tell whether it was there to be put."""
        if entry is None:
            return False
        made, look = entry.facts["environment"], entry.facts["metrics"]
        with self._placing() as there:
            digests = snapshots.link_snapshot(entry, self._moment(label, step, made), self.job.folder, label, step)
            self.traces[label, step] = snapshots.read_trace(entry)
            own = {
                "label": label,
                "step": step,
                "steps_done": made["steps_done"],
                "diverged_at": made.get("diverged_at"),
            }
            self.rows[label, step] = {**own, **look, **{f"{view}_sha256": sha for view, sha in digests.items()}}
            self.rows[label, step]["seconds"] = entry.facts["seconds"]
        return bool(there)

    def _place_film(self, label: str, entry: StoredSnapshot | None) -> bool:
        if entry is None:
            return False
        with self._placing() as there:
            path = self.job.folder / film_name(label)
            path.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(entry.folder / FILM, path)
        return bool(there)

    def _place_trace(self, label: str) -> None:
        """Write a label's trace, unless this job stops before the recipe's last step: then it is not the whole."""
        if not self.problem and self.job.steps[-1] == self.job.parameters["steps"][-1]:
            with self._placing():
                snapshots.write_trace([self.traces[label, step] for step in self.job.steps], self.job.folder, label)

    @contextmanager
    def _placing(self) -> Iterator[list[bool]]:
        """Give a list that is filled if all went well. What the store has lost is dreamt anew; that the results can't
        be written to is told when the batch is safe."""
        there: list[bool] = []
        try:
            yield there
            there.append(True)
        except FileNotFoundError:
            log.info("a dream went out of the store while it was looked at")
        except OSError as error:
            self.problem = self.problem or error

    def _check(self) -> None:
        if self.problem:
            reason = self.problem.strerror or str(self.problem)
            raise UserError(f"'{self.job.folder}' can't be written to ({reason})") from self.problem

    def end(self, index: Path | None) -> None:
        """Say how the job went, and write its index."""
        if self.failed and len(self.failed) == len(self.job.names):
            raise UserError(_failure(self.job, *next(iter(self.failed.items()))))
        for label, step in self.failed.items():
            log.error("Error: %s; its pictures are those from before", _failure(self.job, label, step))
        log.info("%s: %d dreams, %d of them from the store", self.ready.said, len(self.rows), self.found)
        if index:
            rows = [self.rows[label, step] for label in self.job.names for step in self.job.steps]
            table = pd.DataFrame(rows, columns=INDEX).astype({"diverged_at": "Int64"})
            write_table(table, index, float_format="%.6g")


def _said(job: DreamJob, ready: DreamContext) -> dict:
    """Return what all pictures of a job say of themselves."""
    concerns_all = ("steps", "film_every")  # and no picture alone
    return {
        "run": ready.card.run,
        "epoch": ready.card.epoch,
        "model": ready.card.model,
        "recipe": job.recipe,
        "parameters": {key: value for key, value in job.parameters.items() if key not in concerns_all},
        "seed": job.parameters["seed"],
        "precision": ready.precision,
        "checkpoint_sha256": ready.checkpoint_sha256,
        "versions": versions(),
        **({"statistics_sha256": ready.statistics_sha256} if job.statistics else {}),
    }


def _failure(job: DreamJob, label: str, step: int) -> str:
    where = f"dreams.recipes.{job.recipe}, {label}"
    if step == 1:  # nothing has moved yet
        return (
            f"{where}: what the model '{job.checkpoint}' makes of the start image, or its slope, is infinite or no "
            "number, which no step_size mends; name another objective or start, or train with a lower learning_rate"
        )
    size = value_at(job.parameters["step_size"], step - 1)
    return (
        f"{where}: values ran to infinity in step {step} at step_size {size:g}; lower step_size, or set "
        "gradient_normalization to std"
    )

"""Run a dream job: images, traces and animations of the labels of a recipe, packed into an archive.

Dreams that are in the store are packed from there. The rest is computed in batches, and each batch is stored as soon as
it is complete.
"""

import hashlib
import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import torch

from dreambirds.config import VIEWS
from dreambirds.dream_job import snapshots
from dreambirds.dream_job.archive import INDEX, lay_files, write_archive
from dreambirds.dream_job.batches import in_batches
from dreambirds.dream_job.context import DreamContext, DreamJob
from dreambirds.dream_job.image_files import as_text, encode_gif
from dreambirds.dream_job.snapshots import Snapshot
from dreambirds.dream_job.store import DreamStore, StoredSnapshot, Transaction, dream_key, dream_store
from dreambirds.dream_job.targets import by_kind
from dreambirds.dream_job.views import rescale_together, to_image
from dreambirds.dreaming.dream import METRICS, DreamResult
from dreambirds.dreaming.recipe import value_at
from dreambirds.errors import AGAIN, UserError, counted, reason_of
from dreambirds.plan.dream_table import DREAM
from dreambirds.plan.paths import film_name, picture_name, step_name, trace_name
from dreambirds.runtime.timings import dream_work, record

FILM, FRAME_DURATION = "film.gif", 0.08
LISTED = 20  # dreams that one line of the log names
COLUMNS = [*DREAM, "reference_label", "steps_done", "diverged_at", *METRICS, "raw_sha256", "rescaled_sha256", "seconds"]
log = logging.getLogger(__name__)


def run_dream_job(job: DreamJob, device: torch.device, archive: Path, lay: bool = True) -> None:
    """Dream of every label with one checkpoint and recipe, and write the archive of images, traces and animations.

    With `lay`, the same files are then put into the folder of the archive. A dream that becomes NaN or infinite is
    reported in the log. Its last good image is packed, with ``diverged_at`` in its metadata, but is not kept in the
    store. Raises UserError if the checkpoint is corrupt, the recipe does not fit the model, all dreams become NaN or
    infinite, or a file cannot be written.
    """
    runner, packed = _Runner(job, device, dream_store()), False
    while not packed:
        runner.load_cached()
        runner.compute_missing()
        packed = runner.pack(archive)
    if lay:
        with _writing_to(archive.parent):
            lay_files(archive, runner.stored)
    runner.report()


class _EvictedError(Exception):
    """An entry of the store can no longer be read."""


@contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    """Raise UserError for a folder that cannot be written to."""
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write to '{folder}' ({reason_of(error)}); fix that and {AGAIN}") from error


class _Runner:
    """The dreams of a job, from the store or computed."""

    def __init__(self, job: DreamJob, device: torch.device, store: DreamStore):
        self.job, self.context, self.store = job, DreamContext(job, device), store
        self.keys = {label: self.context.cache_key(label) for label in job.names}
        self.request = snapshots.shared_request(job, self.context)
        self.missing: dict[tuple[int, ...], list[str]] = {}  # labels by their missing steps
        self.entries: dict[tuple[str, int], StoredSnapshot] = {}
        self.films: dict[str, StoredSnapshot] = {}
        self.stored: dict[str, Path] = {}  # the files of the store that equal those of the archive, by name
        self.computed: set[tuple[str, int]] = set()
        self.diverged: dict[str, int] = {}

    def load_cached(self) -> None:
        """Find the dreams that are in the store, and record the missing ones."""
        self.missing = {}
        for label, key in self.keys.items():
            if label in self.diverged:  # it is in memory
                continue
            film = self.store.get(key, self._film_key(label)) if self.job.film else None
            if film:
                self.films[label] = film
            missing = []
            for step in self.job.steps:
                # without a stored animation, all steps are recomputed: its frames begin at the first step
                entry = self.store.get(key, step_name(step)) if film or not self.job.film else None
                if entry:
                    self.entries[label, step] = entry
                else:
                    missing.append(step)
            if missing:
                self.missing.setdefault(tuple(missing), []).append(label)

    def compute_missing(self) -> None:
        """Compute the dreams that are not in the store. Raises UserError if all become NaN or infinite."""
        committee = [network.info.model for network in self.context.committee]
        work = dream_work(self.context.info.model, self.job.parameters, self.context.shape, committee)
        groups = [(steps, each) for steps, found in self.missing.items() for each in by_kind(found, self.job.targets)]
        for steps, labels in groups:
            began = time.perf_counter()
            film = self.job.film and steps == self.job.steps

            def dream_batch(indices: Sequence[int], labels=labels, steps=steps, film=film) -> DreamResult:
                return self.dream([labels[index] for index in indices], steps, film)

            for indices, result in in_batches(dream_batch, len(labels), self.context.batch, self.context.where):
                with self.store.stage() as transaction:
                    for row, index in enumerate(indices):
                        self._store(transaction, result, row, labels[index])
            self.computed |= {(label, step) for label in labels for step in steps}
            record(work, time.perf_counter() - began, len(labels) * self.context.recipe.variants * steps[-1])
        if self.diverged and len(self.diverged) == len(self.job.names):
            raise UserError("; ".join(failure(self.job, *next(iter(self.diverged.items())))), self.context.where)

    def dream(self, labels: Sequence[str], steps: Sequence[int], film: bool) -> DreamResult:
        """Dream of `labels` as one batch, and keep the images at `steps`.

        With `film`, the frames of an animation are kept too.
        """
        started = time.perf_counter()
        result = self.context.dream(labels, steps, self.job.parameters["film_every"] if film else None)
        done = result.trace.loss.shape[1] - 1
        self.seconds_per_step = (time.perf_counter() - started) / len(labels) / done
        log.info(
            "%s: computed %s, %.1f ms per dream and step",
            self.context.name,
            counted(len(labels), "dream"),
            1000 * self.seconds_per_step,
        )
        return result

    def pack(self, archive: Path) -> bool:
        """Write the archive; return False if a dream was removed from the store in the meantime."""
        try:
            with _writing_to(archive.parent):
                write_archive(archive, self._files())
        except _EvictedError:
            log.info("a dream was removed from the store while it was being packed; recomputing it")
            return False
        return True

    def _files(self) -> Iterator[tuple[str, bytes]]:
        """Yield the files of the archive, by name: those of each label, then the table with one row per dream."""
        rows = []
        for label in self.job.names:
            for step in self.job.steps:
                entry = self.entries[label, step]
                row = self._row(label, step, entry.facts)
                snapshot = self._snapshot(label, step, entry.facts["environment"])
                as_stored = snapshots.is_as_requested(entry, snapshot)
                for view in VIEWS:
                    name, file = picture_name(label, step, view), f"{view}.png"
                    content = _read(entry, file)
                    if not as_stored:
                        content = snapshots.with_metadata(content, snapshot, view)
                    elif entry.contents is None:
                        self.stored[name] = entry.folder / file
                    row[f"{view}_sha256"] = hashlib.sha256(content).hexdigest()
                    yield name, content
                rows.append(row)
            traces = [_read(self.entries[label, step], snapshots.TRACE) for step in self.job.steps]
            trace = snapshots.join_traces(traces)
            if trace == traces[-1] and entry.contents is None:
                self.stored[trace_name(label)] = entry.folder / snapshots.TRACE
            yield trace_name(label), trace
            if self.job.film:
                yield film_name(label), _read(self.films[label], FILM)
                if self.films[label].contents is None:
                    self.stored[film_name(label)] = self.films[label].folder / FILM
        table = pd.DataFrame(rows, columns=COLUMNS).astype({"diverged_at": "Int64"})
        yield INDEX, table.to_csv(index=False, float_format="%.6g").encode()

    def _row(self, label: str, step: int, facts: dict) -> dict:
        epoch, environment = f"{self.context.info.epoch:.9g}", facts["environment"]
        dream = {"run": self.context.info.run, "epoch": epoch, "recipe": self.job.recipe, "label": label, "step": step}
        dream["reference_label"] = self.context.reference_labels.get(label)
        done = {"steps_done": environment["steps_done"], "diverged_at": environment.get("diverged_at")}
        return {**dream, **done, **facts["metrics"], "seconds": facts["seconds"]}

    def report(self) -> None:
        """Log a summary of the job."""
        for label, step in self.diverged.items():
            log.warning(
                "%s: %s; its images are those of the last good step; %s",
                self.context.where,
                *failure(self.job, label, step),
                extra={"others": "… the column 'diverged_at' of the job's table lists the others"},
            )
        last = {label: self.entries[label, self.job.steps[-1]].facts["environment"] for label in self.job.names}
        if silent := [label for label, environment in last.items() if environment.get("silent")]:
            log.warning("%s: %s", self.context.where, silence(silent))
        found = len(self.entries) - len(self.computed)
        log.info("%s: %s, %d of them from the store", self.context.name, counted(len(self.entries), "dream"), found)

    def _store(self, transaction: Transaction, result: DreamResult, row: int, label: str) -> None:
        """Store the snapshots and the animation of one dream of a batch."""
        diverged, key, classes = int(result.diverged[row]), self.keys[label], self.context.info.labels
        if diverged:
            self.diverged[label] = diverged
        lines = snapshots.trace_lines(result, row, classes)
        for step, images in result.snapshots.items():
            snapshot = self._snapshot(label, step, self._environment(result, row, step))
            seconds = self.seconds_per_step * min(step, int(result.ended[row]))
            facts = snapshot.as_facts(snapshots.snapshot_metrics(result, row, step, classes), seconds)
            trace = snapshots.snapshot_trace(lines, result, row, step, classes)
            files = snapshots.encode_snapshot(images[row], snapshot, trace)
            self.entries[label, step] = transaction.add(key, step_name(step), facts, files, keep=not diverged)
        if result.frames:
            self.films[label] = self._add_animation(transaction, result, row, label)

    def _add_animation(self, transaction: Transaction, result: DreamResult, row: int, label: str) -> StoredSnapshot:
        ended, every = int(result.ended[row]), self.job.parameters["film_every"]
        frames = [*result.frames[: math.ceil(ended / every)], result.frames[-1]]
        images = [to_image(image) for image in rescale_together(torch.stack([each[row] for each in frames]))]
        snapshot = self._snapshot(label, self.job.steps[-1], self._environment(result, row, ended))
        facts = {**snapshot.request, **snapshot.environment, "title": snapshot.title}
        files = {FILM: encode_gif(images, FRAME_DURATION, as_text(facts))}
        return transaction.add(self.keys[label], self._film_key(label), facts, files, keep=not result.diverged[row])

    def _film_key(self, label: str) -> str:
        """Return the name of a label's animation in the store.

        It contains a digest of the metadata, which cannot be changed in a stored GIF.
        """
        snapshot, parameters = self._snapshot(label, self.job.steps[-1], {}), self.job.parameters
        facts = [snapshot.title, snapshot.request, parameters["film_every"], parameters["steps"][-1]]
        return f"film-{dream_key(facts)[:8]}"

    def _environment(self, result: DreamResult, row: int, step: int) -> dict:
        return snapshots.environment_of(self.context, result, row, step)

    def _snapshot(self, label: str, step: int, environment: dict) -> Snapshot:
        inputs = snapshots.inputs_of(self.job, self.context, label)
        title = f"{self.job.names[label]}, dreamt at epoch {self.context.info.epoch}, step {step}"
        return Snapshot(title, {**self.request, "label": label, "step": step, **inputs}, environment)


def _read(entry: StoredSnapshot, file: str) -> bytes:
    try:
        return entry.read(file)
    except OSError as error:
        raise _EvictedError from error


def failure(job: DreamJob, label: str, step: int) -> tuple[str, str]:
    """Return what failed in the dream of a label, and what to do."""
    if step == 1:  # before the first update
        return (
            f"the dream of '{label}' cannot begin, whatever the step size, because the output of the model "
            f"'{job.checkpoint}' for the start image, or its gradient, is NaN or infinite",
            "set another 'objective' or 'start', or train with a lower 'learning_rate'",
        )
    size = value_at(job.parameters["step_size"], step - 1)
    return (
        f"the dream of '{label}' became NaN or infinite in step {step} at step size {size:g}",
        "lower 'step_size', or set 'gradient_normalization' to std",
    )


def silence(labels: Sequence[str]) -> str:
    """Return the line on the dreams of labels whose objective had no gradient in any step, and what to do."""
    listed = ", ".join(f"'{label}'" for label in labels[:LISTED]) + (", …" if len(labels) > LISTED else "")
    return (
        f"{counted(len(labels), 'dream')} did not move towards the target ({listed}), because the gradient is zero in "
        "every step, as behind a ReLU that stays silent; set another 'start', such as spectral_noise or a photograph, "
        "or another target"
    )

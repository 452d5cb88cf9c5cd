"""Run a dream job: images, traces and animations of the labels of a recipe.

Dreams that are in the store are linked into the results. The rest is computed in batches, and each batch is stored as
soon as it is complete.
"""

import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from dreambirds.data.tables import write_table
from dreambirds.dream_job import snapshots
from dreambirds.dream_job.context import DreamContext, DreamJob, in_batches
from dreambirds.dream_job.image_files import as_text, rescale_together, save_gif, to_image, versions
from dreambirds.dream_job.snapshots import Snapshot
from dreambirds.dream_job.store import DreamStore, StoredSnapshot, Transaction, dream_key, dream_store
from dreambirds.dreaming.dream import METRICS, DreamResult, dream
from dreambirds.dreaming.recipe import value_at
from dreambirds.errors import AGAIN, UserError, counted, reason_of
from dreambirds.io import link_or_copy
from dreambirds.plan.paths import film_name, step_name
from dreambirds.runtime.timings import dream_work, record
from dreambirds.seeding import generator

FILM, FRAME_DURATION = "film.gif", 0.08
INDEX = ["label", "step", "steps_done", "diverged_at", *METRICS, "raw_sha256", "rescaled_sha256", "seconds"]
log = logging.getLogger(__name__)


def run_dream_job(job: DreamJob, device: torch.device, index: Path | None = None) -> None:
    """Dream of every label with one checkpoint and recipe.

    Images, traces and animations are written to the job's folder. With `index`, a table with one row per image is
    written last. A dream that becomes NaN or infinite is reported in the log. Its last good image is written, with
    ``diverged_at`` in its metadata, but is not kept in the store. Raises UserError if the checkpoint is corrupt, the
    recipe does not fit the model, all dreams become NaN or infinite, or a file cannot be written.
    """
    runner = _Runner(job, device, dream_store())
    runner.load_cached()
    runner.compute_missing()
    runner.finish(index)


class _Runner:
    """The dreams of a job, from the store or computed, and the rows of its index."""

    def __init__(self, job: DreamJob, device: torch.device, store: DreamStore):
        self.job, self.context, self.store = job, DreamContext(job, device), store
        self.keys = {label: self.context.cache_key(label) for label in job.names}
        self.request = _request(job, self.context)
        self.missing: dict[tuple[int, ...], list[str]] = {}  # labels by their missing steps
        self.rows: dict[tuple[str, int], dict] = {}
        self.traces: dict[tuple[str, int], list[str]] = {}
        self.diverged: dict[str, int] = {}
        self.found = 0
        self.write_error: OSError | None = None

    def load_cached(self) -> None:
        """Link the dreams that are in the store, and record the missing ones."""
        for label, key in self.keys.items():
            missing = self.job.steps
            # without a stored animation, all steps are recomputed: its frames begin at the first step
            if not self.job.film or self._link_film(label, self.store.get(key, self._film_key(label))):
                missing = tuple(
                    step for step in missing if not self._link_result(label, step, self.store.get(key, step_name(step)))
                )
            self.found += len(self.job.steps) - len(missing)
            if missing:
                self.missing.setdefault(missing, []).append(label)
            else:
                self._write_trace(label)
        self._check_writable()

    def compute_missing(self) -> None:
        """Compute the dreams that are not in the store."""
        work = dream_work(self.context.info.model, self.job.parameters, self.context.shape)
        for steps, labels in self.missing.items():
            began = time.perf_counter()
            film = self.job.film and steps == self.job.steps

            def dream_batch(indices: Sequence[int], labels=labels, steps=steps, film=film) -> DreamResult:
                return self.dream([labels[index] for index in indices], steps, film)

            for indices, result in in_batches(dream_batch, len(labels), self.context.batch, self.context.where):
                with self.store.stage() as transaction:
                    for row, index in enumerate(indices):
                        self._store(transaction, result, row, labels[index])
                self._check_writable()
            record(work, time.perf_counter() - began, len(labels) * steps[-1])

    def dream(self, labels: Sequence[str], steps: Sequence[int], film: bool) -> DreamResult:
        """Dream of `labels` as one batch, and keep the images at `steps`.

        With `film`, the frames of an animation are kept too.
        """
        context, parameters, started = self.context, self.job.parameters, time.perf_counter()
        rngs = [generator(parameters["seed"], label) for label in labels]
        result = dream(
            context.model,
            targets=torch.tensor([context.info.labels.index(label) for label in labels], device=context.device),
            starts=context.starts(labels, rngs),
            recipe=replace(context.recipe, steps=tuple(steps)),
            rngs=rngs,
            spectrum=context.statistics[0],
            references=context.references(labels),
            precision=context.precision,
            film_every=parameters["film_every"] if film else None,
        )
        done = result.trace.loss.shape[1] - 1
        self.seconds_per_step = (time.perf_counter() - started) / len(labels) / done
        log.info(
            "%s: computed %s, %.1f ms per dream and step",
            context.name,
            counted(len(labels), "dream"),
            1000 * self.seconds_per_step,
        )
        return result

    def finish(self, index: Path | None) -> None:
        """Log a summary of the job, and write its index.

        Raises UserError if all dreams became NaN or infinite.
        """
        if self.diverged and len(self.diverged) == len(self.job.names):
            raise UserError("; ".join(_failure(self.job, *next(iter(self.diverged.items())))), self.context.where)
        for label, step in self.diverged.items():
            log.warning(
                "%s: %s; its images are those of the last good step; %s",
                self.context.where,
                *_failure(self.job, label, step),
                extra={"others": "… the column 'diverged_at' of the job's table lists the others"},
            )
        dreams = counted(len(self.rows), "dream")
        log.info("%s: %s, %d of them from the store", self.context.name, dreams, self.found)
        if index:
            rows = [self.rows[label, step] for label in self.job.names for step in self.job.steps]
            table = pd.DataFrame(rows, columns=INDEX).astype({"diverged_at": "Int64"})
            write_table(table, index, float_format="%.6g")

    def _store(self, transaction: Transaction, result: DreamResult, row: int, label: str) -> None:
        """Store the snapshots of one dream of a batch, and link them."""
        diverged, key, classes = int(result.diverged[row]), self.keys[label], self.context.info.labels
        if diverged:
            self.diverged[label] = diverged
        lines = snapshots.trace_lines(result, row, classes)
        for step, images in result.snapshots.items():
            snapshot = self._snapshot(label, step, self._environment(result, row, step))
            seconds = self.seconds_per_step * min(step, int(result.ended[row]))
            facts = snapshot.as_facts(snapshots.snapshot_metrics(result, row, step, classes), seconds)
            with transaction.entry(key, step_name(step), facts, keep=not diverged) as folder:
                trace = snapshots.snapshot_trace(lines, result, row, step, classes)
                snapshots.write_snapshot(folder, images[row], snapshot, trace)
            self._link_result(label, step, transaction.last())
        if result.frames:
            self._write_animation(transaction, result, row, label)
            self._link_film(label, transaction.last())
        self._write_trace(label)

    def _write_animation(self, transaction: Transaction, result: DreamResult, row: int, label: str) -> None:
        ended, every = int(result.ended[row]), self.job.parameters["film_every"]
        frames = [*result.frames[: math.ceil(ended / every)], result.frames[-1]]
        images = [to_image(image) for image in rescale_together(torch.stack([each[row] for each in frames]))]
        snapshot = self._snapshot(label, self.job.steps[-1], self._environment(result, row, ended))
        facts = {**snapshot.request, **snapshot.environment, "title": snapshot.title}
        with transaction.entry(self.keys[label], self._film_key(label), facts, keep=not result.diverged[row]) as folder:
            save_gif(images, folder / FILM, FRAME_DURATION, as_text(facts))

    def _film_key(self, label: str) -> str:
        """Return the name of a label's animation in the store.

        It contains a digest of the metadata, which cannot be changed in a stored GIF.
        """
        snapshot, parameters = self._snapshot(label, self.job.steps[-1], {}), self.job.parameters
        facts = [snapshot.title, snapshot.request, parameters["film_every"], parameters["steps"][-1]]
        return f"film-{dream_key(facts)[:8]}"

    def _environment(self, result: DreamResult, row: int, step: int) -> dict:
        diverged = int(result.diverged[row])
        return {
            "device": str(self.context.device),
            "threads": torch.get_num_threads(),
            "batch": len(result.ended),
            "steps_done": min(step, int(result.ended[row])),
            "layers": self.context.layers,
            **({"tf32": True} if self.context.device.type == "cuda" else {}),
            **({"diverged_at": diverged} if diverged else {}),
        }

    def _snapshot(self, label: str, step: int, environment: dict) -> Snapshot:
        start = self.job.photographs.get(label)
        inputs = {"start": start.name, "start_sha256": self.context.starts_sha256[label]} if start else {}
        if label in self.context.references_sha256:
            inputs["references_sha256"] = self.context.references_sha256[label]
        title = f"{self.job.names[label]}, dreamt at epoch {self.context.info.epoch}, step {step}"
        return Snapshot(title, {**self.request, "label": label, "step": step, **inputs}, environment)

    def _link_result(self, label: str, step: int, entry: StoredSnapshot | None) -> bool:
        """Link a snapshot into the job's folder; return whether the store had it."""
        if entry is None:
            return False
        environment, metrics = entry.facts["environment"], entry.facts["metrics"]
        done = {"steps_done": environment["steps_done"], "diverged_at": environment.get("diverged_at")}
        with self._linking() as linked:
            snapshot = self._snapshot(label, step, environment)
            digests = snapshots.link_snapshot(entry, snapshot, self.job.folder, label, step)
            self.traces[label, step] = snapshots.read_trace(entry)
            self.rows[label, step] = {"label": label, "step": step, **done, **metrics}
            self.rows[label, step] |= {f"{view}_sha256": digest for view, digest in digests.items()}
            self.rows[label, step]["seconds"] = entry.facts["seconds"]
        return bool(linked)

    def _link_film(self, label: str, entry: StoredSnapshot | None) -> bool:
        if entry is None:
            return False
        with self._linking() as linked:
            path = self.job.folder / film_name(label)
            path.parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(entry.folder / FILM, path)
        return bool(linked)

    def _write_trace(self, label: str) -> None:
        """Write a label's trace, unless the job keeps only some of the recipe's steps."""
        if not self.write_error and self.job.steps == tuple(self.job.parameters["steps"]):
            with self._linking():
                snapshots.write_trace([self.traces[label, step] for step in self.job.steps], self.job.folder, label)

    @contextmanager
    def _linking(self) -> Iterator[list[bool]]:
        """Yield a list that is not empty afterwards if linking succeeded.

        If the entry has been removed from the store, the list stays empty and the dream is recomputed. If the results
        cannot be written to, `_check_writable` raises the error after the batch has been stored.
        """
        linked: list[bool] = []
        try:
            yield linked
            linked.append(True)
        except FileNotFoundError:
            log.info("a dream was removed from the store while it was being linked; recomputing it")
        except OSError as error:
            self.write_error = self.write_error or error

    def _check_writable(self) -> None:
        if self.write_error:
            folder, reason = self.job.folder, reason_of(self.write_error)
            raise UserError(f"cannot write to '{folder}' ({reason}); fix that and {AGAIN}") from self.write_error


def _request(job: DreamJob, context: DreamContext) -> dict:
    """Return the part of the request that all snapshots of a job share."""
    of_job = ("steps", "film_every")  # not of a single image
    return {
        "run": context.info.run,
        "epoch": context.info.epoch,
        "model": context.info.model,
        "recipe": job.recipe,
        "parameters": {key: value for key, value in job.parameters.items() if key not in of_job},
        "seed": job.parameters["seed"],
        "precision": context.precision,
        "checkpoint_sha256": context.checkpoint_sha256,
        "versions": versions(),
        **({"statistics_sha256": context.statistics_sha256} if job.statistics else {}),
    }


def _failure(job: DreamJob, label: str, step: int) -> tuple[str, str]:
    """Return what failed in the dream of a label, and what to do."""
    if step == 1:  # before the first update
        return (
            f"the dream of the class '{label}' cannot begin, whatever the step size, because the output of the model "
            f"'{job.checkpoint}' for the start image, or its gradient, is NaN or infinite",
            "set another 'objective' or 'start', or train with a lower 'learning_rate'",
        )
    size = value_at(job.parameters["step_size"], step - 1)
    return (
        f"the dream of the class '{label}' became NaN or infinite in step {step} at step size {size:g}",
        "lower 'step_size', or set 'gradient_normalization' to std",
    )

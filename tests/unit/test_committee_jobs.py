"""Dream jobs of several checkpoints: the key of the store, the metadata, the table and the trace."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from dreambirds.dream_job.batches import estimate_activation_memory
from dreambirds.dream_job.context import DreamContext
from dreambirds.dream_job.image_files import read_facts
from dreambirds.dreaming import dream as dreaming
from dreambirds.io import sha256_of
from dreambirds.models import MODEL_FILE
from dreambirds.models.checkpoint import CheckpointInfo, save_checkpoint
from dreambirds.models.classifier import build
from tests.helpers.bench import Bench
from tests.helpers.dream_bench import CPU, NAMES, DreamBench, checkpoint, parameters

MATCHED = {"objective": {"logit": 1.0, "feature_match:50%": 1.0}, "match_photographs": 3}


@pytest.fixture
def bench(tmp_path, caplog, monkeypatch) -> DreamBench:
    monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path / "store"))
    return DreamBench(tmp_path, caplog)


@pytest.fixture
def members(tmp_path):
    """Return two checkpoints, the second of another model with another order of classes."""
    torch.manual_seed(3)
    info = CheckpointInfo("test_efficientnet", {}, list(NAMES)[::-1], "second", 1, 32)
    save_checkpoint(tmp_path / "second", build("test_efficientnet", 3, {}).eval(), info)
    return checkpoint(tmp_path / "first", seed=1), tmp_path / "second" / MODEL_FILE


def key(bench: DreamBench, **changes) -> str:
    """Return the cache key of a dream of the job with changes."""
    return DreamContext(replace(bench.job, **changes), CPU).cache_key("a")


def test_the_key_depends_on_the_checkpoints_and_their_order_but_not_on_names_of_runs(bench, members):
    first, second = members
    keys = [key(bench, committee=each) for each in ((), (first,), (second,), (first, second), (second, first))]
    assert len(set(keys)) == 5
    named = parameters(committee=["renamed"])
    assert key(bench, committee=(first,), parameters=named) == keys[1]
    copied = first.parent.with_name("copy")
    first.parent.rename(copied)
    assert key(bench, committee=(copied / MODEL_FILE,)) == keys[1]


def test_every_checkpoint_is_recorded_and_metrics_are_the_dreamers(bench, members):
    photographs = Bench(bench.folder / "photographs", NAMES).prepare(image_size=32)
    job = {"parameters": parameters(**MATCHED, committee=["run", "second"]), "references": photographs}
    assert bench.dreamt(**job, committee=members) == 6 and bench.dreamt(**job, committee=members) == 0
    assert bench.dreamt(**job, folder="alone") == 6, "another dream"
    facts = read_facts(bench.folder / "out/b/step-0003.png")
    assert facts["checkpoint_sha256"] == sha256_of(bench.job.checkpoint)
    assert facts["committee"] == [
        {"run": run, "epoch": 1, "model": model, "checkpoint_sha256": sha256_of(path)}
        for run, model, path in zip(("run", "second"), ("test_resnet", "test_efficientnet"), members, strict=True)
    ]
    assert "committee" not in read_facts(bench.folder / "alone/b/step-0003.png")
    table, trace = bench.table(), pd.read_csv(bench.folder / "out/b/trace.csv")
    assert trace["loss"].notna().tolist() == [True, True, False, True], "the kept steps 1 and 3 are evaluated"
    assert trace["distance"].notna().tolist() == [False, True, False, True]
    assert (table["distance"] > 0).all() and table["probability"].notna().all()
    pixels = [np.asarray(Image.open(bench.folder / folder / "b/step-0003.png")) for folder in ("out", "alone")]
    assert not np.array_equal(*pixels)


def test_targets_and_references_are_those_of_each_network(bench, members, monkeypatch):
    seen, dream = [], dreaming.dream
    monkeypatch.setattr(
        "dreambirds.dream_job.context.dream", lambda *given, **more: (seen.append(more), dream(*given, **more))[1]
    )
    photographs = Bench(bench.folder / "photographs", NAMES).prepare(image_size=32)
    bench.dreamt(parameters=parameters(**MATCHED), references=photographs, committee=members)
    own, committee = seen[0], seen[0]["committee"]
    assert own["targets"].indices[:, 0].tolist() == [0, 1, 2] == committee[0].targets.indices[:, 0].tolist()
    assert committee[1].targets.indices[:, 0].tolist() == [2, 1, 0], "its classes have another order"
    means = [each["whole"]["50%"] for each in (own["references"], *(member.references for member in committee[:1]))]
    assert means[0].shape == means[1].shape and not torch.allclose(*means)


def test_the_batch_is_sized_for_the_network_that_needs_the_most_memory(bench, members):
    def batch(*committee, **more):
        return DreamContext(replace(bench.job, bytes_free=more.get("free", 10**7), committee=committee), CPU)

    alone, together = batch(), batch(*members)
    networks = (together.own, *together.committee)
    needed = [estimate_activation_memory(each.model, together.recipe, together.shape) for each in networks]
    largest = [batch(*members, free=int(free / 0.8) + 1).batch for free in (2 * max(needed), 3 * max(needed))]
    assert largest == [2, 3] and max(needed) > needed[0] and together.batch < alone.batch

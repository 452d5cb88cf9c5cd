"""The store of dreams, with corrupt entries, and with killed or failing jobs."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from dreambirds.dream_job import archive, networks, run, store
from dreambirds.dream_job.image_files import read_facts
from dreambirds.dream_job.store import DreamStore, dream_store
from dreambirds.errors import UserError
from tests.helpers.dream_bench import entries

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("damage", ["bytes", "truncated", "missing", "metadata", "pickled"])
def test_a_damaged_entry_is_logged_and_dreamt_again(dreamer, damage, caplog, tmp_path):
    dreamer.dreamt()
    good = dreamer.files()
    entry = next(each for each in entries(dreamer.folder / "store") if each.name == "step-0003")
    shutil.copy(entry / "raw.png", tmp_path / "raw.png")  # the results are hard links to the store's files
    (tmp_path / "raw.png").replace(entry / "raw.png")
    if damage == "bytes":
        (entry / "raw.png").write_bytes((entry / "raw.png").read_bytes()[:-1] + b"\0")
    elif damage == "truncated":
        (entry / "rescaled.png").write_bytes(b"")
    elif damage == "missing":
        (entry / "trace.csv").unlink()
    else:
        (entry / "entry.json").write_text({"metadata": "{", "pickled": "[]"}[damage])
    assert dreamer.dreamt() == 1
    assert any(f"the stored dream '{entry}' is corrupt" in record.getMessage() for record in caplog.records)
    again = dreamer.files()
    assert set(again) == set(good)
    assert [name for name in good if "trace" in name and again[name] != good[name]] == []
    assert dreamer.dreamt() == 0


def test_an_overwritten_image_of_the_results_is_detected(dreamer):
    dreamer.dreamt()
    overwritten = dreamer.folder / "out/b/step-0003.png"
    with overwritten.open("r+b") as file:
        file.write(b"overwritten")
    assert dreamer.dreamt() == 1 and read_facts(overwritten)["label"] == "b"


def test_a_failed_dream_is_not_stored(dreamer, monkeypatch):
    prepare = networks.prepare_for_inference

    def diverging(*arguments):
        frozen = prepare(*arguments)
        forward = frozen.forward
        factor = torch.tensor([1.0, torch.nan, 1.0])[:, None]
        frozen.forward = lambda images: forward(images) * (factor if images.shape[0] == 3 else 1.0)
        return frozen

    monkeypatch.setattr(networks, "prepare_for_inference", diverging)
    assert dreamer.dreamt() == 6
    assert dreamer.table().set_index("label").loc["b", "diverged_at"].tolist() == [1, 1]
    assert read_facts(dreamer.folder / "out/b/step-0003.png")["diverged_at"] == 1
    monkeypatch.setattr(networks, "prepare_for_inference", prepare)
    assert dreamer.dreamt() == 2, "only the dream that failed"
    assert dreamer.table()["diverged_at"].isna().all()


def test_an_entry_that_cannot_be_read_is_not_deleted(dreamer, monkeypatch):
    dreamer.dreamt()
    found = entries(dreamer.folder / "store")
    monkeypatch.setattr(store, "sha256_of", lambda _: (_ for _ in ()).throw(OSError(24, "Too many open files")))
    assert dream_store().get(found[0].parent.name, found[0].name) is None
    assert "cannot read the stored dream" in dreamer.caplog.text and entries(dreamer.folder / "store") == found


def test_edited_metadata_is_detected(dreamer):
    dreamer.dreamt()
    path = entries(dreamer.folder / "store")[0] / "entry.json"
    record = json.loads(path.read_text())
    record["facts"]["metrics"]["probability"] = 0.5
    path.write_text(json.dumps(record))
    assert dreamer.dreamt() == 1


def test_dreams_that_cannot_be_added_are_kept_for_the_next_job(dreamer, monkeypatch):
    rename = Path.rename

    def refused(path, target):
        if store.READY in str(path.parent):
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refused)
    assert dreamer.dreamt() == 6 and entries(dreamer.folder / "store") == []
    assert "cannot add the dream " in dreamer.caplog.text
    monkeypatch.setattr(Path, "rename", rename)
    assert dreamer.dreamt() == 0 and len(entries(dreamer.folder / "store")) == 6


def test_results_that_cannot_be_written_are_reported_and_the_batch_is_stored(dreamer, monkeypatch):
    for module, name in ((run, "write_archive"), (archive, "link_or_copy")):
        written = getattr(module, name)

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(module, name, full)
        with pytest.raises(UserError, match=r"cannot write to '.*out' \(No space left on device\); fix that and "):
            dreamer.dreamt()
        monkeypatch.setattr(module, name, written)
        assert dreamer.archive().exists() == (name == "link_or_copy"), "the folder is laid when the archive is complete"
    assert dreamer.dreamt() == 0, "the dreams are in the store"


def test_a_dream_that_is_evicted_while_a_job_reads_it_is_dreamt_again(dreamer, monkeypatch):
    dreamer.dreamt()
    write_archive, evicted = run.write_archive, []

    def evict_first(path, files):
        if not evicted:
            evicted.append(entries(dreamer.folder / "store")[0])
            store.discard(evicted[0])
        write_archive(path, files)

    monkeypatch.setattr(run, "write_archive", evict_first)
    good = dreamer.files()
    assert dreamer.dreamt() == 1 and set(dreamer.files()) == set(good) and dreamer.dreamt() == 0


def test_a_batch_is_complete_if_its_job_is_killed_while_adding_it(tmp_path):
    folder, complete = tmp_path / "dreams", DreamStore(tmp_path / "complete")
    with complete.stage() as stage:
        for label in "abc":
            stage.add(label * 40, "step-0001", {"label": label}, {"raw.png": label.encode()})
    for moved in range(4):
        killed = folder / f"{store.READY}killed{moved}"
        for index, label in enumerate("abc"):
            target = folder / (label * 2) / (label * 40) if index < moved else killed / (label * 40)
            target.mkdir(parents=True, exist_ok=True)
            shutil.copytree(tmp_path / "complete" / (label * 2) / (label * 40) / "step-0001", target / "step-0001")
        found = DreamStore(folder)
        assert [found.get(label * 40, "step-0001").facts["label"] for label in "abc"] == list("abc")
        assert not list(folder.glob(f"{store.READY}*"))
        shutil.rmtree(folder)


def test_unfinished_entries_are_not_found_and_are_removed_after_a_day(tmp_path):
    found = DreamStore(tmp_path)
    with pytest.raises(KeyboardInterrupt), found.stage() as stage:
        stage.add("k" * 40, "step-0001", {}, {"raw.png": b"complete"})
        raise KeyboardInterrupt
    assert found.get("k" * 40, "step-0001") is None and list(tmp_path.rglob("*.png")) == []
    for name, age in ((f"{store.STAGED}old", 2), (f"{store.STAGED}new", 0.5)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age * 86400,) * 2)
    store.sweep(tmp_path)
    assert [path.name for path in tmp_path.glob(f"{store.STAGED}*")] == [f"{store.STAGED}new"]


def test_concurrent_writers_of_the_same_dreams_leave_a_consistent_store(tmp_path):
    code = """
import sys
from pathlib import Path
from dreambirds.dream_job.store import DreamStore
store = DreamStore(Path(sys.argv[1]))
for round in range(40):
    with store.stage() as stage:
        for key in range(5):
            content = (sys.argv[2] * 1000).encode()
            stage.add(f"{key:02d}" * 20, f"step-{round:04d}", {"writer": sys.argv[2]}, {"raw.png": content})
    for key in range(5):
        assert store.get(f"{key:02d}" * 20, f"step-{round:04d}") is not None
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    writers = [subprocess.Popen([*command, str(number)], stderr=subprocess.PIPE) for number in range(4)]
    assert [writer.communicate()[1] for writer in writers] == [b""] * 4
    found = sorted(path.parent for path in tmp_path.rglob("entry.json"))
    assert len(found) == 200 and not list(tmp_path.glob(".*"))
    for entry in found:
        writer = json.loads((entry / "entry.json").read_text())["facts"]["writer"]
        assert (entry / "raw.png").read_text() == writer * 1000


def test_a_store_that_cannot_be_written_is_reported(dreamer):
    (dreamer.folder / "store").write_text("a file")
    with pytest.raises(UserError, match=r"cannot write to the store of dreams '.*dreams' \(.*DREAMBIRDS_STORE"):
        dreamer.dreamt()


def test_an_environment_variable_sets_the_store(monkeypatch, tmp_path):
    monkeypatch.delenv("DREAMBIRDS_STORE")
    assert dream_store().folder == Path("results/.store/dreams")
    monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path))
    assert dream_store().folder == tmp_path / "dreams"

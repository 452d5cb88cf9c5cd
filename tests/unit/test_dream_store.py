"""The store of dreams: what decides a dream is in its key, what is damaged goes, what a killed job left is right."""

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from dreambirds.dreaming import eviction, store
from dreambirds.dreaming.store import Store, dream_store
from dreambirds.errors import StudyError
from dreambirds.models.build import build
from dreambirds.models.checkpoint import Card, save_checkpoint, save_tensors
from dreambirds.pictures import moments, provenance, ready
from dreambirds.pictures.dreams import dream_all
from dreambirds.pictures.provenance import read_facts
from dreambirds.pictures.ready import Job
from dreambirds.study.recipes import spread

NAMES = {"a": "Ash", "b": "Birch", "c": "Cedar"}
CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]


def checkpoint(path: Path, seed: int = 0, epoch: int = 1) -> Path:
    """Write a checkpoint of a tiny network."""
    torch.manual_seed(seed)
    save_checkpoint(path, build("test_resnet", 3, {}).eval(), Card("test_resnet", {}, list(NAMES), "run", epoch, 32))
    return path


def parameters(**recipe) -> dict:
    """Return a recipe's values."""
    (values,) = spread("r", {"steps": [1, 3], **recipe}).values()
    return values


class Bench:
    """A store, a job, and how many labels each run of it dreams of."""

    def __init__(self, folder: Path, caplog):
        """Take a folder."""
        self.folder, self.caplog = folder, caplog
        path = checkpoint(folder / "epoch-0001.safetensors")
        self.job = Job(path, "r", parameters(), NAMES, {}, None, folder / "out", 4 * 10**9, code="code 1")

    def dreamt(self, **changes) -> int:
        """Run the job with changes; return how many of its dreams were not in the store."""
        job = replace(self.job, **changes)
        self.caplog.clear()
        with self.caplog.at_level(logging.INFO):
            dream_all(job, CPU, job.folder / "dreams.csv")
        total, found = self.caplog.records[-1].args[1:]
        assert total == len(job.names) * len(job.steps)
        return total - found

    def files(self, folder: str = "out") -> dict[str, bytes]:
        """Return the contents of a job's files."""
        root = self.folder / folder
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def bench(tmp_path, monkeypatch, caplog) -> Bench:
    """Return a bench whose store is empty."""
    monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path / "store"))
    return Bench(tmp_path, caplog)


def entries(folder: Path) -> list[Path]:
    """Return the folders of all entries of dreams below a store."""
    return sorted(card.parent for card in folder.glob("dreams/??/*/*/entry.json"))


DECIDES = {
    "objective": "probability",
    "start": "noise",
    "start_noise": 0.3,
    "start_colour": "#ff0000",
    "start_blur_sigma": 1.0,
    "step_size": 0.02,
    "total_variation": 0.1,
    "l2": 0.1,
    "batch_norm_prior": 0.1,
    "image": "fourier",
    "stop_confidence": 0.9,
    "stop_plateau": 2,
    "optimizer": "adam",
    "momentum": 0.5,
    "beta1": 0.5,
    "beta2": 0.5,
    "weight_decay": 0.1,
    "gradient_normalisation": "l2",
    "gradient_clip": 1.0,
    "gradient_blur_sigma": 1.0,
    "blur_sigma": 1.0,
    "jitter": 1,
    "roll": 1,
    "flip": 0.1,
    "pad": 1,
    "scale": 1.1,
    "scale_width": 1.1,
    "rotate": 5.0,
    "crops": 2,
    "crop_size": 0.5,
    "crop_view": 16,
    "noise": 0.1,
    "octaves": 2,
    "octave_scale": 1.5,
    "octave_steps": 2,
    "octave_manner": "detail",
    "zoom": 1.1,
    "zoom_every": 2,
    "tile": 16,
    "size": 48,
    "lengths_at": 64,
    "seed": 1,
}


def test_every_parameter_that_decides_pixels_is_in_the_key(bench):
    known = {*DECIDES, *ready.DECIDES_NO_PIXEL}
    assert known == set(parameters()), "a new parameter must be put on one of the lists"
    keys = {key: _key(bench, parameters=parameters() | {key: value}) for key, value in DECIDES.items()}
    assert len({*keys.values(), _key(bench)}) == len(DECIDES) + 1
    for values in ({"steps": [1, 2]}, {"film_every": 2}, {"preset": "bird"}, {"start_path": "elsewhere"}):
        assert _key(bench, parameters=parameters() | values) == _key(bench), values


def _key(bench, label: str = "a", **changes) -> str:
    return store.dream_key(ready.Ready(replace(bench.job, **changes), CPU).decides(label))


def test_what_else_decides_pixels_gives_a_new_dream(bench, monkeypatch, tmp_path):
    assert bench.dreamt() == 6 and bench.dreamt() == 0
    assert bench.dreamt(checkpoint=checkpoint(tmp_path / "other.safetensors", seed=1)) == 6, "the weights"
    assert bench.dreamt(parameters=parameters(seed=1)) == 6
    assert bench.dreamt(code="code 2") == 6, "the code"
    assert bench.dreamt(names={"a": "Ash"}) == 0
    monkeypatch.setattr(ready, "resolve_precision", lambda *_: "bfloat16")
    assert bench.dreamt() == 6, "the precision"
    monkeypatch.undo()
    monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path / "store"))
    for library in ("torch", "torchvision", "timm", "pillow"):
        changed = provenance.versions() | {library: "0"}
        monkeypatch.setattr(ready, "versions", lambda changed=changed: changed)
        assert bench.dreamt() == 6, library


def test_photographs_and_statistics_decide_by_their_contents(bench, tmp_path):
    photograph, other = tmp_path / "one.png", tmp_path / "two.png"
    for path, grey in ((photograph, 90), (other, 91)):
        Image.new("RGB", (32, 32), (grey, grey, grey)).save(path)
    begun = {"parameters": parameters(start="photograph"), "photographs": dict.fromkeys(NAMES, photograph)}
    assert bench.dreamt(**begun) == 6 and bench.dreamt(**begun) == 0
    moved = photograph.rename(tmp_path / "renamed.png")
    assert bench.dreamt(**begun | {"photographs": dict.fromkeys(NAMES, moved)}) == 0, "not by its name"
    assert bench.dreamt(**begun | {"photographs": {**dict.fromkeys(NAMES, moved), "b": other}}) == 2, "only that label"
    means = {f"mean/{label}": torch.full((3, 32, 32), 0.4) for label in NAMES}
    for value in (0.1, 0.2):
        path = tmp_path / f"{value}.safetensors"
        save_tensors(path, {"spectrum": torch.full((3, 32, 17), value), **means}, {})
        assert bench.dreamt(parameters=parameters(start="class_mean"), statistics=path) == 6


def test_what_does_not_decide_pixels_leaves_the_dream(bench, tmp_path):
    assert bench.dreamt() == 6
    whole = bench.files()
    for changes in (
        {"bytes_free": 10**9},
        {"names": {"c": "Cedar", "a": "Ash"}},
        {"names": NAMES | {"a": "Another name"}},
        {"recipe": "renamed"},
        {"folder": tmp_path / "elsewhere"},
        {"only": (3,)},
        {"parameters": parameters(preset="original", steps=[3])},
    ):
        assert bench.dreamt(**changes) == 0, changes
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    assert bench.dreamt() == 0
    torch.set_num_threads(threads)
    assert bench.files() == whole


def test_another_study_s_pictures_say_what_they_are_there(bench):
    bench.dreamt()
    assert bench.dreamt(recipe="renamed", folder=bench.folder / "two", names=NAMES | {"a": "Oak"}) == 0
    ours, theirs = (bench.folder / folder / "a" / "step-0003.png" for folder in ("out", "two"))
    assert np.array_equal(np.asarray(Image.open(ours)), np.asarray(Image.open(theirs)))
    facts, others = read_facts(ours), read_facts(theirs)
    assert others == facts | {"recipe": "renamed"}
    with Image.open(theirs) as picture:
        assert picture.text["Title"].startswith("Oak, dreamt at epoch 1")
    assert (bench.folder / "out/b/step-0003.png").stat().st_nlink == 2
    assert read_facts(entries(bench.folder / "store")[0] / "raw.png")["recipe"] == "r", "the store's own stays"


def test_a_missing_moment_alone_is_dreamt_and_the_trace_is_that_of_one_go(bench, monkeypatch, tmp_path):
    bench.dreamt(only=(3,))
    bench.dreamt(only=(1, 3))
    assert bench.dreamt(parameters=parameters(steps=[1, 2, 3, 5])) == 6
    monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path / "fresh"))
    bench.dreamt(parameters=parameters(steps=[1, 2, 3, 5]), folder=tmp_path / "one_go")
    ours, fresh = bench.files(), bench.files("one_go")
    assert set(ours) == set(fresh)
    assert [name for name in fresh if name.endswith((".csv",)) and "trace" in name and ours[name] != fresh[name]] == []
    for name in (name for name in fresh if name.endswith(".png")):
        pixels = [np.asarray(Image.open(bench.folder / folder / name)) for folder in ("out", "one_go")]
        assert np.array_equal(*pixels), name


def test_the_table_says_of_each_picture_what_the_model_makes_of_it(bench):
    bench.dreamt()
    table = pd.read_csv(bench.folder / "out/dreams.csv")
    assert table[["label", "step"]].to_numpy().tolist() == [[label, step] for label in NAMES for step in (1, 3)]
    for label, rows in table.groupby("label"):
        trace = pd.read_csv(bench.folder / "out" / label / "trace.csv").set_index("step")
        for row in rows.itertuples():
            told = trace.loc[row.step, ["loss", "logit", "probability", "top1", "change"]].tolist()
            assert told == [row.loss, row.logit, row.probability, row.top1, row.change]
            path = bench.folder / "out" / label / f"step-{row.step:04d}.png"
            assert row.raw_sha256 == store.sha256_of(path) and row.steps_done == row.step


@pytest.mark.parametrize("damage", ["bytes", "truncated", "gone", "card", "pickled"])
def test_a_damaged_entry_is_dreamt_again_with_a_line_in_the_log(bench, damage, caplog, tmp_path):
    bench.dreamt()
    good = bench.files()
    entry = next(each for each in entries(bench.folder / "store") if each.name == "step-0003")
    shutil.copy(entry / "raw.png", tmp_path / "raw.png")  # results share the store's own
    (tmp_path / "raw.png").replace(entry / "raw.png")
    if damage == "bytes":
        (entry / "raw.png").write_bytes((entry / "raw.png").read_bytes()[:-1] + b"\0")
    elif damage == "truncated":
        (entry / "rescaled.png").write_bytes(b"")
    elif damage == "gone":
        (entry / "trace.csv").unlink()
    else:
        (entry / "entry.json").write_text({"card": "{", "pickled": "[]"}[damage])
    assert bench.dreamt() == 1
    assert any(f"the stored dream '{entry}' is damaged" in record.getMessage() for record in caplog.records)
    again = bench.files()
    assert set(again) == set(good)
    assert [name for name in good if "trace" in name and again[name] != good[name]] == []
    assert bench.dreamt() == 0


def test_a_picture_of_the_results_that_was_painted_over_is_noticed(bench):
    bench.dreamt()
    painted = bench.folder / "out/b/step-0003.png"
    with painted.open("r+b") as file:
        file.write(b"painted over")
    assert bench.dreamt() == 1 and read_facts(painted)["label"] == "b"


def test_a_dream_that_fails_is_not_kept(bench, monkeypatch):
    whole = ready.freeze

    def broken(*arguments):
        frozen = whole(*arguments)
        forward = frozen.forward
        spoil = torch.tensor([1.0, torch.nan, 1.0])[:, None]
        frozen.forward = lambda images: forward(images) * (spoil if images.shape[0] == 3 else 1.0)
        return frozen

    monkeypatch.setattr(ready, "freeze", broken)
    assert bench.dreamt() == 6
    assert pd.read_csv(bench.folder / "out/dreams.csv").set_index("label").loc["b", "failed_at"].tolist() == [1, 1]
    monkeypatch.setattr(ready, "freeze", whole)
    assert bench.dreamt() == 2, "only the one that failed"
    assert pd.read_csv(bench.folder / "out/dreams.csv")["failed_at"].isna().all()


def test_one_picture_leaves_the_trace_alone(bench):
    bench.dreamt()
    trace = bench.folder / "out/a/trace.csv"
    before = trace.read_bytes()
    assert bench.dreamt(only=(1,)) == 0 and trace.read_bytes() == before
    assert bench.dreamt(only=(1,), folder=bench.folder / "alone") == 0
    assert not (bench.folder / "alone/a/trace.csv").exists()


def test_an_entry_that_cannot_be_read_now_is_not_thrown_away(bench, monkeypatch):
    bench.dreamt()
    found = entries(bench.folder / "store")
    monkeypatch.setattr(store, "sha256_of", lambda _: (_ for _ in ()).throw(OSError(24, "Too many open files")))
    assert dream_store().get(found[0].parent.name, found[0].name) is None
    assert "can't be read" in bench.caplog.text and entries(bench.folder / "store") == found


def test_a_card_that_was_edited_is_noticed(bench):
    bench.dreamt()
    card = entries(bench.folder / "store")[0] / "entry.json"
    told = json.loads(card.read_text())
    told["facts"]["look"]["probability"] = 0.5
    card.write_text(json.dumps(told))
    assert bench.dreamt() == 1


def test_what_cannot_join_the_store_yet_stays_aside_for_the_next_job(bench, monkeypatch):
    whole = Path.rename

    def refused(path, target):
        if path.name.startswith("step-"):
            raise OSError(28, "No space left on device")
        return whole(path, target)

    monkeypatch.setattr(Path, "rename", refused)
    assert bench.dreamt() == 6 and entries(bench.folder / "store") == []
    assert "can't be added to the store yet" in bench.caplog.text
    monkeypatch.setattr(Path, "rename", whole)
    assert bench.dreamt() == 0 and len(entries(bench.folder / "store")) == 6


def test_results_that_cannot_be_written_to_are_named_and_the_batch_is_kept(bench, monkeypatch):
    whole = moments.link

    def full(source, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(moments, "link", full)
    with pytest.raises(StudyError, match=r"'.*out' can't be written to \(No space left on device\)"):
        bench.dreamt()
    monkeypatch.setattr(moments, "link", whole)
    assert bench.dreamt() == 0, "what was dreamt is in the store"


def test_a_dream_that_is_evicted_while_a_job_looks_at_it_is_dreamt_again(bench, monkeypatch):
    bench.dreamt()
    whole, seen = moments.place_moment, []

    def late(entry, *arguments):
        if not seen:
            seen.append(entry)
            store.discard(entry.folder)
        return whole(entry, *arguments)

    monkeypatch.setattr(moments, "place_moment", late)
    good = bench.files()
    assert bench.dreamt() == 1 and set(bench.files()) == set(good) and bench.dreamt() == 0


def test_films_are_kept_too(bench, monkeypatch):
    filmed = parameters(film_every=1)
    assert bench.dreamt() == 6 and bench.dreamt(parameters=filmed) == 6, "its frames are needed"
    film = (bench.folder / "out/a/film.gif").read_bytes()
    (bench.folder / "out/a/film.gif").unlink()
    assert bench.dreamt(parameters=filmed) == 0 and (bench.folder / "out/a/film.gif").read_bytes() == film


def test_a_batch_is_kept_whole_where_a_job_is_killed_while_it_is_added(tmp_path):
    folder, whole = tmp_path / "dreams", Store(tmp_path / "whole")
    with whole.stage() as stage:
        for label in "abc":
            with stage.entry(label * 40, "step-0001", {"label": label}) as entry:
                (entry / "raw.png").write_text(label)
    for moved in range(4):
        killed = folder / f"{store.READY}killed{moved}"
        for place, label in enumerate("abc"):
            target = folder / (label * 2) / (label * 40) if place < moved else killed / (label * 40)
            target.mkdir(parents=True, exist_ok=True)
            shutil.copytree(tmp_path / "whole" / (label * 2) / (label * 40) / "step-0001", target / "step-0001")
        found = Store(folder)
        assert [found.get(label * 40, "step-0001").facts["label"] for label in "abc"] == list("abc")
        assert not list(folder.glob(f"{store.READY}*"))
        shutil.rmtree(folder)


def test_what_a_job_has_not_finished_is_not_there_and_is_swept_after_a_day(tmp_path):
    found = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt), found.stage() as stage, stage.entry("k" * 40, "step-0001", {}) as entry:
        (entry / "raw.png").write_text("half")
        raise KeyboardInterrupt
    assert found.get("k" * 40, "step-0001") is None and list(tmp_path.rglob("*.png")) == []
    for name, age in ((f"{store.STAGED}old", 2), (f"{store.STAGED}new", 0.5)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age * 86400,) * 2)
    store.sweep(tmp_path)
    assert [path.name for path in tmp_path.glob(f"{store.STAGED}*")] == [f"{store.STAGED}new"]


def test_many_writers_of_the_same_dreams_leave_one_whole_store(tmp_path):
    code = """
import sys; sys.path.insert(0, sys.argv[1])
from pathlib import Path
from dreambirds.dreaming.store import Store
store = Store(Path(sys.argv[2]))
for round in range(40):
    with store.stage() as stage:
        for key in range(5):
            with stage.entry(f"{key:02d}" * 20, f"step-{round:04d}", {"writer": sys.argv[3]}) as folder:
                (folder / "raw.png").write_text(sys.argv[3] * 1000)
    for key in range(5):
        assert store.get(f"{key:02d}" * 20, f"step-{round:04d}") is not None
"""
    command = [sys.executable, "-c", code, str(ROOT / "workflow"), str(tmp_path)]
    writers = [subprocess.Popen([*command, str(number)], stderr=subprocess.PIPE) for number in range(4)]
    assert [writer.communicate()[1] for writer in writers] == [b""] * 4
    found = sorted(path.parent for path in tmp_path.rglob("entry.json"))
    assert len(found) == 200 and not list(tmp_path.glob(".*"))
    for entry in found:
        writer = json.loads((entry / "entry.json").read_text())["facts"]["writer"]
        assert (entry / "raw.png").read_text() == writer * 1000


def test_a_store_that_cannot_be_written_to_is_named(bench):
    (bench.folder / "store").write_text("a file")
    with pytest.raises(StudyError, match=r"the store of dreams '.*dreams' can't be written to .*DREAMBIRDS_STORE"):
        bench.dreamt()


def test_eviction_takes_what_was_used_least_recently(bench):
    for seed in range(3):
        bench.dreamt(parameters=parameters(seed=seed))
    found = entries(bench.folder / "store")
    assert len(found) == 18
    for number, entry in enumerate(found):
        os.utime(entry / "entry.json", (1000 + number, 1000 + number))
    bench.dreamt(parameters=parameters(seed=1))  # uses six of them
    used = {entry for entry in found if (entry / "entry.json").stat().st_mtime > 2000}
    assert len(used) == 6
    sizes = {entry: sum(path.stat().st_size for path in entry.iterdir()) for entry in found}
    limit = sum(sizes[entry] for entry in used) + 1
    removed, freed, left = eviction.evict(bench.folder / "store", limit)
    assert set(entries(bench.folder / "store")) == used and removed == 12
    assert (freed, left) == (sum(sizes.values()) - limit + 1, limit - 1)
    assert eviction.evict(bench.folder / "store", 0)[0] == 6 and not list((bench.folder / "store/dreams").iterdir())
    assert (bench.folder / "out/a/step-0003.png").exists(), "results keep theirs"


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("500MB", 5e8), ("1.5 gb", 1.5e9), ("2TB", 2e12)])
def test_sizes_are_read_as_people_write_them(text, size):
    assert eviction.as_bytes(text) == size


def test_a_size_that_is_none_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["eviction", "--limit", "much"])
    with pytest.raises(SystemExit, match="--limit: must be a size such as 500MB or 20GB, not 'much'"):
        eviction.main()


def test_the_environment_moves_the_store_of_dreams(monkeypatch, tmp_path):
    monkeypatch.delenv("DREAMBIRDS_STORE")
    assert dream_store().folder == Path("results/.store/dreams")
    monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path))
    assert dream_store().folder == tmp_path / "dreams"

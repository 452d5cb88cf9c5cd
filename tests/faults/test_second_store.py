"""A store that belongs to another user is read, and what may not be written there goes to the user's second store."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dreambirds.data.image_cache import ImageCache
from dreambirds.dream_job.store import DreamStore
from dreambirds.dream_job.store_gc import evict_to
from dreambirds.io import OWN_STORE, is_forbidden, store_entry, store_roots, store_target
from dreambirds.plan import measurements
from dreambirds.runtime.timings import judge_work, record, seconds_per_unit
from dreambirds.startup.machine import announce_store

KEY, OTHER = "ab" * 20, "cd" * 20
PIXELS = {"raw.png": b"pixels"}


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """Return a store, and a function that takes the right to write to it; the working directory is another folder."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("DREAMBIRDS_STORE", str(tmp_path / "shared"))
    access, store = os.access, tmp_path / "shared"

    def refuse() -> None:
        others = lambda path, mode: not Path(path).is_relative_to(store) and access(path, mode)  # noqa: E731
        monkeypatch.setattr(os, "access", others)

    return store, refuse


def add(store: DreamStore, key: str) -> None:
    """Add an entry to a store of dreams."""
    with store.stage() as stage:
        stage.add(key, "blue_jay", {"seed": 1}, PIXELS)


def test_dreams_of_another_user_are_read_and_new_ones_go_to_the_second_store(shared, counted):
    store, refuse = shared
    add(DreamStore(store / "dreams"), KEY)
    refuse()
    mine = DreamStore(store / "dreams")
    add(mine, OTHER)
    assert [mine.get(key, "blue_jay").read("raw.png") for key in (KEY, OTHER)] == [b"pixels"] * 2
    assert [path.name for path in (store / "dreams").iterdir()] == ["ab"]
    assert [path.name for path in (OWN_STORE / "dreams").iterdir()] == ["cd"]
    counted("machine failures survived")


def test_a_folder_of_another_user_in_a_shared_store_is_enough(shared, monkeypatch):
    store, _ = shared
    add(DreamStore(store / "dreams"), KEY)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "ab" and access(path, mode))
    add(DreamStore(store / "dreams"), OTHER)
    assert DreamStore(store / "dreams").get(OTHER, "blue_jay") and (OWN_STORE / "dreams" / "cd").is_dir()


def test_prepared_images_measurements_and_times_have_a_second_store(shared, monkeypatch):
    store, refuse = shared
    monkeypatch.setattr(measurements, "_known", {})
    image = Image.fromarray(np.zeros((4, 4, 3), np.uint8))
    cache, work = ImageCache(store / "prepared"), judge_work("judge")
    cache.put(KEY, image, {})
    record(work, 10)
    refuse()
    cache.put(OTHER, image, {})
    assert cache.get(KEY, (4, 4)).path.is_relative_to(store) and cache.get(OTHER, (4, 4)).path.is_relative_to(OWN_STORE)
    assert seconds_per_unit(work) == 10
    record(work, 20)
    assert seconds_per_unit(work) == 20
    assert store_target("memory", "a") == OWN_STORE / "memory" / "a" == store_entry("memory", "a")


def test_one_line_names_the_store_and_its_parts(shared, capsys):
    store, refuse = shared
    announce_store()
    (store / "dreams").mkdir(parents=True)
    announce_store()
    assert capsys.readouterr().err == ""
    refuse()
    announce_store()
    assert f"This user may not write everything to the store '{store}' (dreams, " in capsys.readouterr().err


def test_the_second_store_is_limited_only_if_it_is_in_use(shared):
    store, refuse = shared
    (OWN_STORE / "dreams").mkdir(parents=True)
    store.mkdir()
    assert store_roots() == [store]
    refuse()
    assert store_roots() == [store, OWN_STORE] and evict_to("0", "limit").count(" from '") == 2


def test_a_file_in_place_of_a_folder_is_an_error_and_no_missing_right(tmp_path):
    (tmp_path / "file").touch()
    assert not is_forbidden(tmp_path / "file" / "x") and not is_forbidden(tmp_path / "a" / "b" / ("x" * 300))
    assert not is_forbidden(Path("x"))

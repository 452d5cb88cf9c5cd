"""Limiting the size of the store: the least recently used entries are removed."""

import os
import re

import pytest
import torch

from dreambirds import cli
from dreambirds.dream_job import store_gc
from dreambirds.dream_job.references import ReferenceStore
from tests.helpers.dream_bench import entries, parameters


@pytest.mark.slow
def test_eviction_removes_the_least_recently_used_entries(dreamer):
    for seed in range(3):
        dreamer.dreamt(parameters=parameters(seed=seed))
    found = entries(dreamer.folder / "store")
    assert len(found) == 18
    for number, entry in enumerate(found):
        os.utime(entry / "entry.json", (1000 + number, 1000 + number))
    dreamer.dreamt(parameters=parameters(seed=1))  # uses six of them
    used = {entry for entry in found if (entry / "entry.json").stat().st_mtime > 2000}
    assert len(used) == 6
    sizes = {entry: sum(path.stat().st_size for path in entry.iterdir()) for entry in found}
    limit = sum(sizes[entry] for entry in used) + 1
    removed, freed, left = store_gc.evict(dreamer.folder / "store", limit)
    assert set(entries(dreamer.folder / "store")) == used and removed == 12
    assert (freed, left) == (sum(sizes.values()) - limit + 1, limit - 1)
    assert store_gc.evict(dreamer.folder / "store", 0)[0] == 6 and not list((dreamer.folder / "store/dreams").iterdir())
    assert (dreamer.folder / "out/a/step-0003.png").exists(), "the results remain"


def test_statistics_and_images_are_evicted_together_by_their_last_use(tmp_path):
    (tmp_path / "prepared/ab").mkdir(parents=True)
    image, keys = tmp_path / "prepared/ab/image.png", ["aa1", "bb2", "cc3"]
    image.write_bytes(bytes(100))
    store = ReferenceStore(tmp_path / "references")
    for key in keys:
        store.get(key, lambda: {"whole": {"layer1": torch.zeros(3, 5)}})
    files = [tmp_path / "references" / key[:2] / f"{key}.safetensors" for key in keys]
    for time, path in enumerate([*files, image]):
        os.utime(path, (1000 + time, 1000 + time))
    store.get("aa1", pytest.fail)  # used again
    size = files[0].stat().st_size
    assert store_gc.evict(tmp_path, 2 * size + 100) == (1, size, 2 * size + 100)
    assert [path.exists() for path in (*files, image)] == [True, False, True, True]
    assert not files[1].parent.exists(), "its empty folder is removed too"
    assert store_gc.evict(tmp_path, size) == (2, size + 100, size) and files[0].exists()
    assert store_gc.evict(tmp_path, 0) == (1, size, 0)


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("500MB", 5e8), ("1.5 gb", 1.5e9), ("2TB", 2e12)])
def test_sizes_are_parsed(text, size):
    assert store_gc.as_bytes(text, "--limit") == size


def test_the_command_prints_what_it_removed_and_the_size_that_is_left(dreamer, capsys):
    dreamer.dreamt()
    found = store_gc.evict(dreamer.folder / "store", 10**15)
    cli.main(["store-gc", "--limit", str(found[2] - 1)])
    assert re.fullmatch(
        rf"Removed 1 entry \(\d\.\d MB\) from '{dreamer.folder}/store'; the store now takes \d\.\d MB\.\n",
        capsys.readouterr().out,
    )


@pytest.mark.parametrize("text", ["much", "9" * 400, f"{'9' * 308}TB"])
def test_an_invalid_size_is_refused(text):
    with pytest.raises(SystemExit, match=f"--limit: must be a size such as 500MB or 20GB, not '{text[:4]}"):
        cli.main(["store-gc", "--limit", text])

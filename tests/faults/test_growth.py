"""Growth is bounded: of memory, logs, repeated runs, and the store."""

import logging
import os
import re
import shutil
import time
from pathlib import Path

import pytest

from dreambirds.dream_job import store_gc
from dreambirds.log import MOST_MESSAGES, MOST_WARNINGS, log_to
from tests.helpers.killing import files
from tests.helpers.soaking import soak
from tests.helpers.studies import Study, tiny

DREAMS, MIB = 2000, 1 << 20
LEAK = 32 * 32 * 3 * 4  # bytes of one image in float32
FLAT = 8 * MIB  # a leak of one image per dream adds 18 MiB between the ends of the first and last quarter
LINES = 100_000
ENTRIES = 10**15  # bytes, more than any store contains
REMOVED = r"removed \d+ entr(y|ies) \(\d+\.\d MB\) from 'results/\.store'; the store now takes \d+\.\d MB"


def growth(memory: list[int]) -> int:
    """Return the last quarter's maximum minus the first quarter's, in bytes."""
    quarter = len(memory) // 4
    assert quarter >= 20, "there must be many batches"
    return max(memory[-quarter:]) - max(memory[:quarter])


def test_the_memory_of_a_dream_job_does_not_grow_with_its_dreams(tmp_path, counted):
    memory = soak(tmp_path, DREAMS)
    assert growth(memory) < min(FLAT, memory[0] // 10), [used // MIB for used in memory]
    assert len(list((tmp_path / "store" / "dreams").glob("*/*/*/entry.json"))) == DREAMS
    counted("dreams computed with constant memory", DREAMS)


@pytest.mark.exhaustive
def test_a_leak_of_one_image_per_dream_is_detected(tmp_path):
    assert growth(soak(tmp_path, DREAMS, LEAK)) > FLAT


@pytest.mark.parametrize(("level", "most"), [(logging.INFO, MOST_MESSAGES), (logging.WARNING, MOST_WARNINGS)])
def test_a_hundred_thousand_similar_messages_give_a_short_log(level, most, own_log, terminal, counted):
    log = logging.getLogger("dreambirds.anything")
    for number in range(LINES):
        log.log(level, "image %d is logged", number)
    for number in range(3):
        log.error("%d", number)
    log.info("another message")
    lines = own_log.read_text().splitlines()
    assert len(lines) == most + 5 and own_log.stat().st_size < 100_000
    assert lines[most - 1].endswith(f" image {most - 1} is logged")
    assert lines[most].endswith(" … further messages like these are not logged")
    assert [line[-8:] for line in lines[-4:-1]] == ["Error: 0", "Error: 1", "Error: 2"]
    on_terminal = terminal.getvalue().splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == on_terminal, "the terminal has the same lines"
    counted("repeated log lines kept in a short file", LINES)


def test_a_message_is_one_line_for_any_name(own_log):
    for name in ("two\nlines", "\x1b[2J", "a\rb", "\u2028", "tab\t"):
        logging.getLogger("dreambirds.names").warning("'%s' is skipped", name)
    text = own_log.read_text()
    assert text.count("\n") == 5 == len(text.splitlines()) and "\\x1b[2J" in text
    assert all(character.isprintable() for line in text.splitlines() for character in line)


def test_a_job_overwrites_its_previous_log(own_log):
    own_log.write_text("a line of an earlier run\n" * 1000)
    log_to(own_log)
    logging.getLogger("dreambirds").info("now")
    assert len(own_log.read_text().splitlines()) == 1


def sizes(folder: Path) -> dict[str, int]:
    """Return the size of each file below a folder."""
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def stored(folder: Path) -> int:
    """Return the bytes in a study's store, as counted by eviction."""
    return store_gc.evict(folder / "results/.store", ENTRIES)[2]


@pytest.fixture(scope="module")
def finished(finished_study, tmp_path_factory) -> Study:
    """Return a study that was run without a limit."""
    return finished_study.copy(tmp_path_factory.mktemp("growth") / "study")


def test_rerunning_a_finished_study_adds_only_snakemakes_log(finished, counted):
    results, own = finished.folder / "results", finished.folder / ".snakemake"
    before, own_before = sizes(results), sizes(own)
    for _ in range(3):
        assert "Nothing to be done" in finished.run()
    new = {name: size for name, size in sizes(own).items() if own_before.get(name) != size}
    assert sizes(results) == before
    logs = {name: size for name, size in new.items() if name.startswith("log/")}
    assert len(logs) == 3 and max(logs.values()) < 1000, logs
    assert len(sizes(own)) == len(own_before) + 3, "all other changed files replace existing ones"
    counted("runs of a finished study that add only a log", 3)


def test_the_store_stays_within_the_limit_set_in_the_environment(finished, monkeypatch, counted):
    good, size = files(finished), stored(finished.folder)
    limit = size // 2
    monkeypatch.setenv(store_gc.LIMIT, str(limit))
    finished.run("-n")
    assert stored(finished.folder) == size, "a dry run removes nothing"
    (finished.results / "compare.html").unlink()
    assert len(re.findall(rf"^{store_gc.LIMIT}: {REMOVED}$", finished.run(), re.MULTILINE)) == 1
    assert 0 < stored(finished.folder) <= limit
    assert "Nothing to be done" in finished.run() and files(finished) == good
    other = Study(finished.folder, {**tiny(), "study": "other"})
    other.run("dreams_only")
    assert stored(finished.folder) <= limit and files(finished) == good
    images = [name for name in good if "step-" in name and name.startswith("dreams")]
    assert images and set(images) <= files(other).keys()
    assert "Nothing to be done" in other.run("dreams_only")
    counted("store limits kept", 2)


def test_the_store_stays_within_its_limit_after_a_failed_run(finished, monkeypatch, counted):
    broken = Study(finished.folder, {**tiny(), "study": "broken"})
    broken.run("training_only")
    results = broken.results / "runs/scratch"
    shutil.copyfile(results / "epoch-0000/model.safetensors", results / "epoch-0001/model.safetensors")
    monkeypatch.setenv(store_gc.LIMIT, "0")
    result = broken.snakemake("dreams_only")
    assert result.returncode != 0 and "has the epoch 0, not 1" in result.stdout
    assert re.search(rf"^{store_gc.LIMIT}: {REMOVED}$", result.stdout, re.MULTILINE) and stored(finished.folder) == 0
    counted("store limits kept")


MORE = [pytest.param(limit, marks=pytest.mark.exhaustive) for limit in ("20 XB", "1e9", "GB")]


@pytest.mark.parametrize("limit", ["much", "-1GB", *MORE])
def test_a_limit_that_is_not_a_size_is_refused_before_any_job(fresh, monkeypatch, limit, counted):
    monkeypatch.setenv(store_gc.LIMIT, limit)
    result = fresh.snakemake()
    assert result.returncode != 0 and "Traceback" not in result.stdout
    assert f"Error: {store_gc.LIMIT}: must be a size such as 500MB or 20GB, not '{limit}'" in result.stdout.splitlines()
    assert not (fresh.folder / "results").exists()
    counted("store limits refused")


def test_an_error_while_limiting_the_store_is_reported_and_not_raised(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(store_gc, "evict", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    store_gc.enforce_limit(0)
    output = capsys.readouterr().err
    assert output == f"{store_gc.LIMIT}: cannot reduce the size of the store ([Errno 5] Input/output error)\n"
    store_gc.enforce_limit(None)
    assert capsys.readouterr().err == ""


def test_partial_files_of_killed_jobs_are_removed_after_a_day(tmp_path, counted):
    partial, day = f".{'0a' * 16}", 24 * 3600
    old, kept = [], []
    for part in ("dreams/ab", "prepared/cd", "memory", "photographs", "judged"):
        (tmp_path / part).mkdir(parents=True)
        ages = {f"{partial}.png": 2 * day, partial: 2 * day, f"{partial[:-1]}f.png": day / 2, "complete.json": 2 * day}
        ages[".hidden.png"] = 2 * day
        for name, age in ages.items():
            path = tmp_path / part / name
            path.write_text("partial")
            os.utime(path, (time.time() - age,) * 2)
            (old if name.startswith(partial) and age > day else kept).append(path)
    store_gc.evict(tmp_path, ENTRIES)
    assert [path for path in old if path.exists()] == [] and all(path.exists() for path in kept)
    counted("temporary files of killed jobs removed", len(old))

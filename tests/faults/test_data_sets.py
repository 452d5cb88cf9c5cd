"""Data sets that cannot be used for training are rejected with one error before any job; all others are used."""

import logging
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dreambirds.data.prepare import prepare
from dreambirds.data.sources.catalog import left_out, list_labels
from dreambirds.data.tables import read_images
from dreambirds.log import MOST_WARNINGS
from tests.helpers.forks import run_python
from tests.helpers.hostile import assert_plain, encoded, prepare_separately, problems, scene
from tests.helpers.layouts import class_names, refused, settings
from tests.helpers.surroundings import surroundings

ROW = "bad photographs handled or listed"
STRANGE = [b"two\nlines", b"\x1b[31mred", b"caf\xe9", b"it's <b>&amp;", b"$(touch owned)", b"-rf", b"a{b}%s"]


def put(folder: Path, count: int, first: int = 0) -> Path:
    """Write `count` different images into the folder of a class, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        (folder / f"{number}.png").write_bytes(encoded(scene() + number, "PNG"))
    return folder


@pytest.fixture
def root(tmp_path) -> Path:
    """Return a folder of two classes with two images each."""
    for number, name in enumerate(("auk", "crane")):
        put(tmp_path / "in" / name, 2, 10 * number)
    (tmp_path / "out").mkdir()
    return tmp_path


def test_a_class_with_too_few_photographs_is_left_out(root, counted):
    put(root / "in" / "lonely", 1)
    put(root / "in" / "none", 0)
    put(root / "in" / "nested" / "deeper", 5)
    dataset = settings("folder", root / "in")
    assert [folder for _, _, folder in class_names(dataset)] == ["auk", "crane"]
    assert left_out(dataset) == [
        "left out 1 class with 1 photograph: 'lonely', fewer than dataset.min_photographs (2); add some, or set that "
        "to 1",
        "left out 2 classes with no photograph: 'nested', 'none', whose photographs are in folders such as "
        "'nested/deeper'; move these up to use them",
    ]
    for name, count in (("lonely", "1 photograph"), ("none", "no photograph"), ("nested", "no photograph")):
        error = refused({**dataset, "labels": ["auk", "crane", name]})
        assert error.startswith(f"dataset.labels: class '{name}' has {count} in '{root / 'in'}'")
        assert error.endswith(", or remove it here")
    assert len(class_names({**dataset, "labels": ["auk", "crane"]})) == 2
    insisting = {**dataset, "min_photographs": 1}
    labels = list_labels(insisting)
    prepare(insisting, labels, root / "out", root / "store")
    images = read_images(root / "out")
    assert len(images) == 5 and set(images.loc[images["label"] == "lonely", "split"]) == {"train"}
    counted("data sets refused", 3)


@pytest.mark.parametrize("name", ["file", "pipe", "loop", "device", "nowhere", "empty"])
def test_a_path_that_is_not_a_folder_of_classes_is_rejected(tmp_path, name, counted):
    (tmp_path / "file").write_bytes(b"PK\x03\x04")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "empty").mkdir()
    for source in ("folder", "kaggle", "cub"):
        error = refused(settings(source, tmp_path / name))
        assert error.startswith(("dataset.path: '", "dataset.path: cannot read '")) and str(tmp_path / name) in error
    counted("data sets refused", 3)


def test_a_class_without_readable_images_is_rejected_with_the_first_reason(root, counted):
    for path in (root / "in" / "crane").iterdir():
        path.write_bytes(path.read_bytes()[:50])
    result = prepare_separately(settings("folder", root / "in"), root / "out")
    assert_plain(result.output)
    error = result.output.splitlines()[-1]
    assert error.startswith(f"dataset.path: class 'crane' has no readable photograph for training in '{root / 'in'}' (")
    assert f"(the first skipped one is '{root / 'in'}/crane/10.png': image file is truncated" in error
    assert not (root / "out" / "images.csv").exists()
    counted("data sets refused")


def test_the_same_image_in_two_classes_is_listed_with_a_warning(root, caplog, counted):
    caplog.set_level(logging.INFO, "dreambirds")
    (root / "in" / "crane" / "0.png").hardlink_to(root / "in" / "auk" / "0.png")
    (root / "in" / "crane" / "1.png").symlink_to(root / "in" / "auk" / "1.png")
    dataset = settings("folder", root / "in")
    prepare(dataset, list_labels(dataset), root / "out", root / "store")
    images = read_images(root / "out").set_index("path")
    same = images[images["duplicate_of"] != ""]
    assert list(same["label"]) == ["crane"] * 2 and set(images.loc[same["duplicate_of"], "label"]) == {"auk"}
    assert "2 images are in more than one class, so no model can tell these classes apart" in caplog.text
    counted(ROW, 2)


def test_the_log_contains_only_a_few_repeated_messages(root, own_log, counted):
    for number in range(300):
        (root / "in" / "auk" / f"broken {number:03d}.jpg").write_bytes(b"\xff\xd8")
    dataset = settings("folder", root / "in")
    prepare(dataset, list_labels(dataset), root / "out", root / "store", threads=2)
    lines = own_log.read_text()
    assert lines.count(" skipped ") == MOST_WARNINGS
    assert lines.count("further images are skipped; images.csv lists all of them with the reasons") == 1
    assert "; 300 skipped" in lines and len(problems(root / "out")) == 300
    counted(ROW, 300)


@pytest.fixture
def unprivileged() -> tuple[str, ...]:
    """Return a command that runs another without root's capability to ignore file permissions."""
    if os.getuid() != 0:
        return ()
    command = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    if shutil.which("setpriv") is None or subprocess.run([*command, "true"], check=False).returncode != 0:
        pytest.skip("root ignores permissions, and setpriv cannot change that here")
    return command


def test_photographs_without_read_permission_are_listed(tmp_path, unprivileged, counted):
    root, out = tmp_path / "in", tmp_path / "out"
    out.mkdir()
    put(root / "auk", 4)
    put(root / "crane", 4, 10)
    put(root / "locked", 2, 20)
    (root / "auk" / "3.png").chmod(0)
    (root / "auk" / "4.png").symlink_to(root / "locked" / "20.png")
    (root / "locked").chmod(0)
    dataset = settings("folder", root, labels=["auk", "crane"])
    result = prepare_separately(dataset, out, by=unprivileged)
    assert problems(out) == dict.fromkeys(["3.png", "4.png"], "no permission to read the file")
    assert_plain(result.output)
    output = prepare_separately({**dataset, "labels": None}, out, by=unprivileged).output
    problem = f"cannot read '{root}/locked' (Permission denied)"
    assert output == f"dataset.path: {problem}; fix its permissions, or set another path\n"
    (root / "locked").chmod(0o400)  # the folder can be listed, but its files cannot be opened
    output = prepare_separately({**dataset, "labels": None}, out, by=unprivileged).output
    assert output.count("no permission to read the file") == 5 and "class 'locked' has" in output.splitlines()[-1]
    (root / "locked").chmod(0o700)
    counted(ROW, 4)
    counted("data sets refused", 2)


def test_the_workflow_handles_unusual_class_names_and_endless_files(fresh, counted):
    root = fresh.folder / "in"
    for number, name in enumerate(STRANGE):
        put(root / os.fsdecode(name), 2, 10 * number)
    first = root / os.fsdecode(STRANGE[0])
    os.mkfifo(first / "pipe\n.jpg")
    (first / "endless\x1b[2J.jpg").symlink_to("/dev/zero")
    (first / "loop.jpg").symlink_to("loop.jpg")
    fresh.config["dataset"] = {"source": "folder", "path": str(root), "image_size": 16}
    result = run_python(fresh.command("dataset_only")[1:], fresh.root, surroundings(), separate=True, timeout=900)
    assert result.returncode == 0, result.stderr[-3000:]
    assert_plain(result.stdout + result.stderr + (fresh.folder / "results/logs/tiny/dataset.log").read_text())
    assert len(problems(fresh.results / "dataset")) == 3 and not list(fresh.folder.rglob("owned"))
    assert "Nothing to be done" in fresh.run("dataset_only")
    put(root / "lonely", 1)
    announced = fresh.snakemake("-n", "dataset_only")
    assert announced.returncode == 0 and "left out 1 class with 1 photograph: 'lonely'" in announced.stdout
    counted(ROW, 3 + 2 * len(STRANGE))


def test_a_study_of_one_class_with_enough_photographs_is_refused_in_one_line(fresh, counted):
    put(fresh.folder / "in" / "many", 2)
    put(fresh.folder / "in" / "lonely", 1, 10)
    fresh.config["dataset"] = {"source": "folder", "path": str(fresh.folder / "in"), "image_size": 16}
    result = fresh.snakemake("-n")
    (line,) = (line for line in result.stdout.splitlines() if "profile" not in line)
    assert result.returncode != 0 and line.startswith("Error: dataset.path: '")
    assert "contains 1 class with at least 2 photographs" in line and "('lonely' has 1 photograph" in line
    counted("data sets refused")

"""A study of published photographs downloads them first and is planned afterwards."""

import functools
import hashlib
import http.server
import io
import os
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.studies import count_jobs

ROOT = Path(__file__).parents[2]


def jpeg(seed: int) -> bytes:
    """Return a JPEG file of colored noise."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (40, 50, 3), np.uint8)).save(file, "JPEG")
    return file.getvalue()


def small_cub(path: Path) -> None:
    """Write an archive like CUB-200-2011: 3 classes of 4 images, one for testing."""
    classes = ["001.Blue_Jay", "002.White_Pelican", "003.Great_Auk"]
    files = [(number, f"{name}/{name[4:]}_{i}.jpg", i) for number, name in enumerate(classes, 1) for i in range(4)]
    tables = {
        "classes.txt": [f"{number} {name}" for number, name in enumerate(classes, 1)],
        "images.txt": [f"{row} {file}" for row, (_, file, _) in enumerate(files, 1)],
        "image_class_labels.txt": [f"{row} {number}" for row, (number, _, _) in enumerate(files, 1)],
        "train_test_split.txt": [f"{row} {int(i > 0)}" for row, (_, _, i) in enumerate(files, 1)],
        "bounding_boxes.txt": [f"{row} 5.0 5.0 30.0 20.0" for row in range(1, len(files) + 1)],
    }
    contents = {name: "".join(f"{line}\n" for line in lines).encode() for name, lines in tables.items()}
    contents |= {f"images/{file}": jpeg(row) for row, (_, file, _) in enumerate(files)}
    with tarfile.open(path, "w:gz") as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(f"CUB_200_2011/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


@pytest.fixture
def served(tmp_path_factory, monkeypatch):
    """Serve a small CUB locally instead of the real one; return its file."""
    folder = tmp_path_factory.mktemp("served")
    small_cub(folder / "cub.tgz")
    handler = functools.partial(type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": print_nothing}))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("DREAMBIRDS_CUB_URL", f"http://127.0.0.1:{server.server_port}/cub.tgz")
    monkeypatch.setenv("DREAMBIRDS_CUB_CHECKSUM", f"md5:{hashlib.md5((folder / 'cub.tgz').read_bytes()).hexdigest()}")
    yield folder / "cub.tgz"
    server.shutdown()
    server.server_close()


def print_nothing(*_):
    """Print nothing."""


def test_the_same_command_downloads_and_then_continues(fresh, served):
    fresh.config["dataset"] = {"source": "cub", "image_size": 32}
    shown = fresh.run("-n")
    assert shown.count("this run downloads CUB-200-2011") == 1
    assert set(count_jobs(shown)) == {"download_cub", "study"}
    hidden = served.rename(served.with_suffix(".elsewhere"))
    failed = fresh.snakemake()
    assert failed.returncode != 0 and "cub.tgz' (the server responded 404 " in failed.stdout
    assert "Traceback" not in failed.stdout and not (fresh.folder / "resources/cub/CUB_200_2011").exists()
    hidden.rename(served)
    assert "Run the same command again to train and dream" in fresh.run()
    assert (fresh.folder / "resources/cub/CUB_200_2011/images/001.Blue_Jay/Blue_Jay_3.jpg").is_file()
    assert not fresh.results.exists()
    served.unlink()
    planned = fresh.run("-n")
    assert "dreams requested" in planned and "download_cub" not in planned and "same command" not in planned
    fresh.run("dataset_only")
    labels = (fresh.results / "dataset/labels.csv").read_text()
    assert "White Pelican" in labels and labels.count(",3,1") == 3, (
        "the split into train and test is that of the archive"
    )
    assert "Nothing to be done" in fresh.run("dataset_only")


def test_existing_data_is_not_downloaded_again_when_requested_by_name(fresh, served):
    fresh.run("download_cub")
    assert not fresh.results.exists(), "the config of any study works"
    served.unlink()
    before = (fresh.folder / "resources/cub/CUB_200_2011/images.txt").stat()
    assert "already exists" in fresh.run("download_cub", "--forceall")
    after = (fresh.folder / "resources/cub/CUB_200_2011/images.txt").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        ("dataset", {"sauce": "cub"}, "unknown key 'sauce'; did you mean 'source'?"),
        ("runs", {"a": {"model": "resnet10tt"}}, "runs.a.model: timm has no model 'resnet10tt'"),
        ("dreams", {"recipes": {"a": {"stepz": [1]}}}, "unknown key 'stepz'; did you mean 'steps'?"),
    ],
)
def test_a_typo_is_refused_before_any_download(fresh, section, change, message):
    fresh.config["dataset"] = {"source": "cub"}
    fresh.config[section] = {**(fresh.config[section] if section == "dataset" else {}), **change}
    result = fresh.snakemake()
    assert result.returncode != 0 and message in result.stdout and "Download" not in result.stdout


def test_kaggle_without_a_token_explains_how_to_get_one(fresh, monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("KAGGLE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fresh.config["dataset"] = {"source": "kaggle"}
    result = fresh.snakemake()
    assert result.returncode != 0 and "Error: Kaggle requires a valid API token" in result.stdout
    assert "Traceback" not in result.stdout and not list(fresh.folder.glob("resources/**/*.zip"))


@pytest.mark.parametrize(("dataset", "calls"), [("{source: cub}", 2), ("{source: cub, path: here}", 1), ("{}", 1)])
def test_make_calls_snakemake_twice_only_if_data_is_missing(tmp_path, dataset, calls):
    (tmp_path / "study.yaml").write_text(f"study: mine\ndataset: {dataset}\n")
    (tmp_path / "bin").mkdir()
    command = Path(sys.executable).with_name("dreambirds")
    for name, line in {"dreambirds": f'exec {command} "$@"', "snakemake": 'echo "called: $*"'}.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    command = ["make", "-s", "-f", ROOT / "Makefile", "-o", ".venv/installed", "CONFIG=study.yaml", "BIN=bin", "study"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.count("called: --cores all --configfile study.yaml") == calls and result.stderr == ""
    assert result.stdout.splitlines()[-1].startswith("Open results/mine/gallery/index.html in a browser")

"""Download CUB from a server on the loopback interface, and unpack it."""

import io
import logging
import os
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dreambirds import cli
from dreambirds.data.download import http
from dreambirds.data.download.cub import fetch_cub, unpack
from dreambirds.data.download.http import RetryPolicy, download_lock
from dreambirds.data.sources.catalog import RESOURCES, locate, missing
from dreambirds.errors import UserError
from tests.helpers.serving import md5

HASTY = RetryPolicy(timeout=0.4, tries=2, pause=0.01)


def archive(path: Path, *members: tuple[str, bytes], link: str | None = None) -> Path:
    """Write a gzipped tar of these files, and of a symbolic link CUB_200_2011/link to `link`."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        if link:
            info = tarfile.TarInfo("CUB_200_2011/link")
            info.type, info.linkname = tarfile.SYMTYPE, link
            tar.addfile(info)
    return path


GOOD = ("CUB_200_2011/images.txt", b"1 a/b.jpg\n")


@pytest.mark.parametrize(
    ("member", "link"),
    [("../evil", None), ("/{outside}/evil", None), ("CUB_200_2011/../../../evil", None), (None, "../../../evil")],
)
def test_an_unsafe_archive_is_refused_and_nothing_is_written(tmp_path, place, member, link):
    place.parent.mkdir(parents=True)
    members = [GOOD] + ([(member.replace("{outside}", str(tmp_path)), b"evil")] if member else [])
    file = archive(place.with_suffix(".tgz"), *members, link=link)
    with pytest.raises(UserError, match=r"is unsafe to unpack \("):
        unpack(file, place)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file() or path.is_symlink()] == [file.name]


def test_a_damaged_archive_and_one_of_other_files_are_reported(place):
    place.parent.mkdir(parents=True)
    file = archive(place.with_suffix(".tgz"), ("CUB_200_2011/images.txt", os.urandom(9000).hex().encode()))
    complete = file.read_bytes()
    for content in (b"no archive", complete[:5000]):
        file.write_bytes(content)
        with pytest.raises(
            UserError,
            match=r"CUB_200_2011\.tgz' is corrupt \(.*\); delete it and run the same command again to download it$",
        ):
            unpack(file, place)
    with pytest.raises(UserError, match="contains no folder 'CUB_200_2011'; delete it and"):
        unpack(archive(file, ("other/images.txt", b"")), place)
    assert list(place.parent.iterdir()) == [file]


def test_cub_is_downloaded_and_unpacked_once(server, place, monkeypatch, tmp_path):
    server.body = archive(tmp_path / "a.tgz", GOOD, ("attributes.txt", b"")).read_bytes()
    monkeypatch.setenv("DREAMBIRDS_CUB_URL", server.address)
    monkeypatch.setenv("DREAMBIRDS_CUB_CHECKSUM", md5(server.body))
    config = {"dataset": {"source": "cub", "path": None}}
    assert missing(config) is RESOURCES["cub"] and locate(config)["dataset"]["path"] is None
    fetch_cub(HASTY)
    assert (place / "images.txt").read_bytes() == GOOD[1] and missing(config) is None
    assert locate(config)["dataset"]["path"] == "resources/cub/CUB_200_2011" and config["dataset"]["path"] is None
    assert {path.name for path in place.parent.iterdir()} <= {place.name, f"{place.name}.tgz", f"{place.name}.tgz.lock"}
    fetch_cub(HASTY)
    assert len(server.requests) == 1


def test_an_archive_put_there_by_hand_is_verified_and_not_downloaded(server, place, monkeypatch):
    place.parent.mkdir(parents=True)
    file = archive(place.with_suffix(".tgz"), GOOD)
    monkeypatch.setenv("DREAMBIRDS_CUB_URL", server.address)
    with pytest.raises(
        UserError, match=f"{md5(file.read_bytes())}, not md5:97eceeb196236b17998738112f37df78; delete it"
    ):
        fetch_cub(HASTY)
    assert file.exists(), "the user's file is kept"
    monkeypatch.setenv("DREAMBIRDS_CUB_CHECKSUM", md5(file.read_bytes()))
    fetch_cub(HASTY)
    assert (place / "images.txt").exists() and server.requests == []


def test_two_processes_download_the_same_file_once(server, place, monkeypatch, tmp_path, caplog):
    server.body = archive(tmp_path / "a.tgz", GOOD).read_bytes()
    monkeypatch.setenv("DREAMBIRDS_CUB_URL", server.address)
    monkeypatch.setenv("DREAMBIRDS_CUB_CHECKSUM", md5(server.body))
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(http, "REMINDER", 0.05)
    with ThreadPoolExecutor(2) as pool:
        with download_lock(place.with_name(f"{place.name}.tgz")):
            both = [pool.submit(fetch_cub, HASTY) for _ in range(2)]
            time.sleep(0.3)
            assert server.requests == [], "they wait for the lock"
        assert [each.result(timeout=300) for each in both] == [None, None]
    assert len(server.requests) == 1 and caplog.text.count("waiting for it") > 2, "each says so again"


def test_only_studies_that_need_a_download_are_missing_a_resource(place, tmp_path):
    assert missing({}) is None and missing({"dataset": {"source": "drawn"}}) is None
    assert missing({"dataset": {"source": "kaggle", "path": "my/birds"}}) is None
    study = tmp_path / "study.yaml"
    study.write_text("dataset: {source: kaggle}\nruns: {a: {}}\ndreams: {recipes: {a: {}}}")
    with pytest.raises(SystemExit) as end:
        cli.main(["check", "--study", str(study)])
    assert end.value.code == 3
    Path("resources/cse455/birds/train").mkdir(parents=True)
    cli.main(["check", "--study", str(study)])
    assert locate({"dataset": {"source": "kaggle", "path": None}})["dataset"]["path"] == "resources/cse455/birds"
    assert locate({"dataset": {"source": "kaggle", "path": "my"}})["dataset"]["path"] == "my"
    assert locate({"dataset": {"source": "drawn", "path": None}})["dataset"]["path"] is None

"""Downloads from a real server on the loopback interface, which can simulate failures."""

import gzip
import hashlib
import resource
from pathlib import Path

import pytest

from dreambirds.data.download.http import CHUNK, RemoteFile, RetryPolicy, download
from dreambirds.errors import UserError
from tests.helpers.serving import BODY, Server, md5

HASTY = RetryPolicy(timeout=0.4, tries=2, pause=0.01)


def fetch(server: Server, to: Path, checksum: str = md5(BODY)) -> None:
    download(RemoteFile(server.address, checksum), to, HASTY)


def test_a_good_download_is_complete_and_leaves_no_other_file(server, tmp_path):
    fetch(server, tmp_path / "new/file.tgz", f"sha256:{hashlib.sha256(BODY).hexdigest()}")
    assert (tmp_path / "new/file.tgz").read_bytes() == BODY
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file.tgz"] and server.requests == [None]


def test_a_lost_connection_is_resumed_and_only_the_rest_is_sent(server, tmp_path):
    server.failures = ["cut"]
    fetch(server, tmp_path / "file.tgz")
    first, second = server.sent
    have = int(server.requests[1].removeprefix("bytes=").removesuffix("-"))
    assert first - CHUNK < have <= first and second == len(BODY) - have < 0.6 * len(BODY)
    assert (tmp_path / "file.tgz").read_bytes() == BODY


def test_retries_continue_as_long_as_each_gets_new_data(server, tmp_path):
    server.failures = ["cut"] * 3  # more than the two tries without new data of HASTY
    fetch(server, tmp_path / "file.tgz")
    assert len(server.requests) == 4 and (tmp_path / "file.tgz").read_bytes() == BODY


def test_a_stalled_download_is_retried_and_the_partial_file_is_kept(server, tmp_path):
    server.failures = ["stall", "503", "503"]
    to, part = tmp_path / "file.tgz", tmp_path / "file.tgz.part"
    with pytest.raises(UserError) as error:
        fetch(server, to)
    resume = "run the same command again to resume from "
    for text in (server.address, "503", resume, " kB, ", f"or copy the file to '{to}'"):
        assert text in str(error.value)
    have = part.stat().st_size
    assert 0 < have <= len(BODY) // 2 and BODY.startswith(part.read_bytes()) and not to.exists()
    fetch(server, to)
    assert server.requests[-1] == f"bytes={have}-" and to.read_bytes() == BODY


@pytest.mark.slow
def test_a_server_that_sends_no_data_gives_one_error(server, tmp_path, caplog):
    server.failures = ["stall"] * 30
    server.supports_ranges = False  # each try starts from the beginning and gets no further
    with pytest.raises(UserError, match=r"cannot download 'http.*' \(no data for 0.4 s\); .*to resume from "):
        fetch(server, tmp_path / "file.tgz")
    assert len(server.requests) == 3 and caplog.text.count("; retrying from ") == 2


def test_a_server_without_range_support_starts_from_the_beginning(server, tmp_path):
    server.supports_ranges, server.failures = False, ["cut"]
    fetch(server, tmp_path / "file.tgz")
    assert server.requests[1] is not None and server.sent[1] == len(BODY)
    assert (tmp_path / "file.tgz").read_bytes() == BODY


def test_a_complete_partial_file_is_verified_and_not_requested(server, tmp_path):
    (tmp_path / "file.tgz.part").write_bytes(BODY)
    fetch(server, tmp_path / "file.tgz")
    assert server.requests == [] and (tmp_path / "file.tgz").read_bytes() == BODY


@pytest.mark.parametrize("part", [b"x" * len(BODY), b"x" * (len(BODY) + 9)])
def test_a_partial_file_of_another_file_is_discarded(server, tmp_path, part):
    (tmp_path / "file.tgz.part").write_bytes(part)
    if len(part) == len(BODY):
        with pytest.raises(UserError, match="was deleted"):
            fetch(server, tmp_path / "file.tgz")
    fetch(server, tmp_path / "file.tgz")
    assert (tmp_path / "file.tgz").read_bytes() == BODY


def test_a_wrong_checksum_is_reported_with_both_checksums_and_the_file_is_deleted(server, tmp_path):
    wrong = md5(b"another file")
    with pytest.raises(UserError) as error:
        fetch(server, tmp_path / "file.tgz", wrong)
    assert wrong in str(error.value) and md5(BODY) in str(error.value) and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", ["404", "403", "410"])
def test_a_missing_file_is_reported_without_a_retry(server, tmp_path, code):
    server.failures = [code] * 9
    with pytest.raises(UserError, match=f"cannot download '.*file.tgz' .the server responded {code} .*; copy "):
        fetch(server, tmp_path / "file.tgz")
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", ["500", "503", "429"])
def test_a_request_that_fails_once_is_retried(server, tmp_path, code):
    server.failures = [code]
    fetch(server, tmp_path / "file.tgz")
    assert len(server.requests) == 2 and (tmp_path / "file.tgz").read_bytes() == BODY


def test_redirects_are_followed_also_when_resuming(server, tmp_path):
    server.failures = ["redirect", "cut", "redirect"]
    fetch(server, tmp_path / "file.tgz")
    assert len(server.requests) == 4 and server.requests[2] == server.requests[3] is not None
    assert (tmp_path / "file.tgz").read_bytes() == BODY


def test_a_content_encoding_header_for_the_archive_itself_is_ignored(server, tmp_path):
    server.body, server.failures = gzip.compress(BODY), ["packed"]
    fetch(server, tmp_path / "file.tgz", md5(server.body))
    assert (tmp_path / "file.tgz").read_bytes() == server.body and server.encodings == ["identity"]


def test_an_unreachable_server_and_an_invalid_address_are_reported(tmp_path):
    with pytest.raises(UserError, match=r"cannot download 'http://127.0.0.1:1/x' \(no connection\); "):
        download(RemoteFile("http://127.0.0.1:1/x", md5(b"")), tmp_path / "x", HASTY)
    with pytest.raises(UserError, match=r"'data/cub.tgz' is not a valid address \(.*\); copy the file to '.*/x'$"):
        download(RemoteFile("data/cub.tgz", md5(b"")), tmp_path / "x", HASTY)
    with pytest.raises(UserError, match=r"the checksum of 'a': must be 'md5:' and 32.*not 'md5:12'"):
        RemoteFile("a", "md5:12")


def test_a_full_disk_is_reported_and_the_next_call_resumes(server, tmp_path):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limit[1]))
    try:
        with pytest.raises(
            UserError, match=r"the disk is full \(cannot write to '.*file\.tgz\.part'\); free .*to resume from 300 kB"
        ):
            fetch(server, tmp_path / "file.tgz")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    fetch(server, tmp_path / "file.tgz")
    assert server.requests == [None, "bytes=300000-"] and (tmp_path / "file.tgz").read_bytes() == BODY


def test_a_path_that_cannot_be_written_is_reported(server, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match=r"cannot write .*"):
        fetch(server, tmp_path / "file" / "file.tgz")

"""Downloads against a real server on the loopback, which can be told to misbehave."""

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


def test_a_good_download_is_whole_and_leaves_nothing_beside_it(server, tmp_path):
    fetch(server, tmp_path / "new/file.tgz", f"sha256:{hashlib.sha256(BODY).hexdigest()}")
    assert (tmp_path / "new/file.tgz").read_bytes() == BODY
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file.tgz"] and server.asked == [None]


def test_a_connection_that_breaks_is_resumed_and_only_the_rest_is_sent_again(server, tmp_path):
    server.moods = ["cut"]
    fetch(server, tmp_path / "file.tgz")
    first, second = server.sent
    have = int(server.asked[1].removeprefix("bytes=").removesuffix("-"))
    assert first - CHUNK < have <= first and second == len(BODY) - have < 0.6 * len(BODY)
    assert (tmp_path / "file.tgz").read_bytes() == BODY


def test_tries_go_on_for_as_long_as_each_brings_more(server, tmp_path):
    server.moods = ["cut"] * 3  # more than HASTY's two fruitless ones
    fetch(server, tmp_path / "file.tgz")
    assert len(server.asked) == 4 and (tmp_path / "file.tgz").read_bytes() == BODY


def test_a_stalled_server_is_tried_again_and_what_came_is_kept_for_the_next_call(server, tmp_path):
    server.moods = ["stall", "503", "503"]
    to, part = tmp_path / "file.tgz", tmp_path / "file.tgz.part"
    with pytest.raises(UserError) as error:
        fetch(server, to)
    resume = "run the same command again to resume at "
    for part in (server.address, "503", resume, " kB, ", f"or copy the file to {to}"):
        assert part in str(error.value)
    have = part.stat().st_size
    assert 0 < have <= len(BODY) // 2 and BODY.startswith(part.read_bytes()) and not to.exists()
    fetch(server, to)
    assert server.asked[-1] == f"bytes={have}-" and to.read_bytes() == BODY


@pytest.mark.slow
def test_a_server_that_says_nothing_is_given_up_in_one_sentence(server, tmp_path, caplog):
    server.moods = ["stall"] * 30
    server.ranges = False  # each try begins anew and gets no further
    with pytest.raises(UserError, match=r"cannot download http.*: no data for 0.4 s; .*to resume at "):
        fetch(server, tmp_path / "file.tgz")
    assert len(server.asked) == 3 and caplog.text.count("; retrying at ") == 2


def test_a_server_without_range_begins_anew(server, tmp_path):
    server.ranges, server.moods = False, ["cut"]
    fetch(server, tmp_path / "file.tgz")
    assert server.asked[1] is not None and server.sent[1] == len(BODY)
    assert (tmp_path / "file.tgz").read_bytes() == BODY


def test_a_finished_part_is_checked_and_not_asked_for(server, tmp_path):
    (tmp_path / "file.tgz.part").write_bytes(BODY)
    fetch(server, tmp_path / "file.tgz")
    assert server.asked == [] and (tmp_path / "file.tgz").read_bytes() == BODY


@pytest.mark.parametrize("part", [b"x" * len(BODY), b"x" * (len(BODY) + 9)])
def test_a_part_of_another_file_does_not_get_through(server, tmp_path, part):
    (tmp_path / "file.tgz.part").write_bytes(part)
    if len(part) == len(BODY):
        with pytest.raises(UserError, match="was deleted"):
            fetch(server, tmp_path / "file.tgz")
    fetch(server, tmp_path / "file.tgz")
    assert (tmp_path / "file.tgz").read_bytes() == BODY


def test_a_wrong_sum_is_told_with_both_sums_and_the_file_is_put_away(server, tmp_path):
    wrong = md5(b"another file")
    with pytest.raises(UserError) as error:
        fetch(server, tmp_path / "file.tgz", wrong)
    assert wrong in str(error.value) and md5(BODY) in str(error.value) and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", ["404", "403", "410"])
def test_a_file_that_is_not_there_is_told_at_once(server, tmp_path, code):
    server.moods = [code] * 9
    with pytest.raises(UserError, match=f"cannot download .*file.tgz: the server responded {code} "):
        fetch(server, tmp_path / "file.tgz")
    assert len(server.asked) == 1


@pytest.mark.parametrize("code", ["500", "503", "429"])
def test_a_server_that_fails_once_is_asked_again(server, tmp_path, code):
    server.moods = [code]
    fetch(server, tmp_path / "file.tgz")
    assert len(server.asked) == 2 and (tmp_path / "file.tgz").read_bytes() == BODY


def test_redirects_are_followed_also_when_going_on(server, tmp_path):
    server.moods = ["redirect", "cut", "redirect"]
    fetch(server, tmp_path / "file.tgz")
    assert len(server.asked) == 4 and server.asked[2] == server.asked[3] is not None
    assert (tmp_path / "file.tgz").read_bytes() == BODY


def test_a_server_that_calls_the_archive_itself_an_encoding_is_not_believed(server, tmp_path):
    server.body, server.moods = gzip.compress(BODY), ["packed"]
    fetch(server, tmp_path / "file.tgz", md5(server.body))
    assert (tmp_path / "file.tgz").read_bytes() == server.body and server.packings == ["identity"]


def test_a_server_that_is_not_there_and_a_wrong_address_are_told(tmp_path):
    with pytest.raises(UserError, match=r"cannot download http://127.0.0.1:1/x: no connection"):
        download(RemoteFile("http://127.0.0.1:1/x", md5(b"")), tmp_path / "x", HASTY)
    with pytest.raises(UserError, match=r"'data/cub.tgz' is not a valid address"):
        download(RemoteFile("data/cub.tgz", md5(b"")), tmp_path / "x", HASTY)
    with pytest.raises(UserError, match=r"the checksum of a must be 'md5:' and 32.*not 'md5:12'"):
        RemoteFile("a", "md5:12")


def test_a_full_disk_is_told_and_the_next_call_goes_on(server, tmp_path):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limit[1]))
    try:
        with pytest.raises(
            UserError, match=r"the disk is full \(cannot write .*file\.tgz\.part\); free .*to resume at 300 kB"
        ):
            fetch(server, tmp_path / "file.tgz")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    fetch(server, tmp_path / "file.tgz")
    assert server.asked == [None, "bytes=300000-"] and (tmp_path / "file.tgz").read_bytes() == BODY


def test_a_place_that_cannot_be_written_is_told(server, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match=r"cannot write .*"):
        fetch(server, tmp_path / "file" / "file.tgz")

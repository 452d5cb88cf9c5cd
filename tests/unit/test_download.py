"""Downloads against a real server on the loopback, which can be told to misbehave."""

import gzip
import hashlib
import http.server
import io
import json
import logging
import os
import re
import resource
import tarfile
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dreambirds.data import fetch_kaggle
from dreambirds.data.download import CHUNK, Patience, Remote, alone, download
from dreambirds.data.fetch import RESOURCES, _main, locate, missing
from dreambirds.data.fetch_cub import fetch_cub, unpack
from dreambirds.data.fetch_kaggle import COMPETITION, fetch_cse455
from dreambirds.errors import StudyError

BODY = bytes(range(251)) * 4000  # about 1 MB
HASTY = Patience(timeout=0.4, tries=2, pause=0.01)


class Server(http.server.ThreadingHTTPServer):
    """Serves one body; each request takes the next word of `moods`, or is served well when there is none.

    `asked` lists each request's Range header, `packings` its Accept-Encoding, `sent` the bytes of body that it got.
    """

    daemon_threads = True

    def __init__(self, body: bytes):
        """Listen on a free port of the loopback."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.moods, self.ranges = body, [], True
        self.asked, self.packings, self.sent = [], [], []
        self.address = f"http://127.0.0.1:{self.server_port}/file.tgz"

    def handle_error(self, request, client_address):
        """Say nothing of clients that left."""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        mood = self.server.moods.pop(0) if self.server.moods else ""
        given = re.match(r"bytes=(\d+)-", self.headers.get("Range", "")) if self.server.ranges else None
        begin = int(given[1]) if given else 0
        self.server.asked.append(self.headers.get("Range"))
        self.server.packings.append(self.headers.get("Accept-Encoding"))
        if mood.isdigit():
            return self.send_error(int(mood))
        if mood == "redirect":
            self.send_response(302)
            self.send_header("Location", "/elsewhere.tgz")
            return self.end_headers()
        if given and begin >= len(self.server.body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(self.server.body)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        return self._serve(self.server.body[begin:], begin if given else None, mood)

    def _serve(self, body: bytes, begin: int | None, mood: str):
        self.send_response(200 if begin is None else 206)
        self.send_header("Content-Length", str(len(body)))
        if begin is not None:
            self.send_header("Content-Range", f"bytes {begin}-{begin + len(body) - 1}/{begin + len(body)}")
        if mood == "packed":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        part = body[: len(body) // 2] if mood in ("cut", "stall") else body
        self.server.sent.append(len(part))
        self.wfile.write(part)
        if mood == "stall":
            self.wfile.flush()
            time.sleep(2)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def server():
    server = Server(BODY)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def md5(body: bytes) -> str:
    return f"md5:{hashlib.md5(body).hexdigest()}"


def fetch(server: Server, to: Path, checksum: str = md5(BODY)) -> None:
    download(Remote(server.address, checksum), to, HASTY)


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
    with pytest.raises(StudyError) as told:
        fetch(server, to)
    for word in (server.address, "503", "kB is there", "same command goes on", f"put the file at {to} by hand"):
        assert word in str(told.value)
    have = part.stat().st_size
    assert 0 < have <= len(BODY) // 2 and BODY.startswith(part.read_bytes()) and not to.exists()
    fetch(server, to)
    assert server.asked[-1] == f"bytes={have}-" and to.read_bytes() == BODY


def test_a_server_that_says_nothing_is_given_up_in_one_sentence(server, tmp_path, caplog):
    server.moods = ["stall"] * 30
    server.ranges = False  # each try begins anew and gets no further
    with pytest.raises(StudyError, match=r"could not fetch http.*: no byte came for 0.4 s; .*is there"):
        fetch(server, tmp_path / "file.tgz")
    assert len(server.asked) == 3 and caplog.text.count("trying again") == 2


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
        with pytest.raises(StudyError, match="was deleted"):
            fetch(server, tmp_path / "file.tgz")
    fetch(server, tmp_path / "file.tgz")
    assert (tmp_path / "file.tgz").read_bytes() == BODY


def test_a_wrong_sum_is_told_with_both_sums_and_the_file_is_put_away(server, tmp_path):
    wrong = md5(b"another file")
    with pytest.raises(StudyError) as told:
        fetch(server, tmp_path / "file.tgz", wrong)
    assert wrong in str(told.value) and md5(BODY) in str(told.value) and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", ["404", "403", "410"])
def test_a_file_that_is_not_there_is_told_at_once(server, tmp_path, code):
    server.moods = [code] * 9
    with pytest.raises(StudyError, match=f"file.tgz cannot be fetched: the server answers {code} "):
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
    with pytest.raises(StudyError, match=r"could not fetch http://127.0.0.1:1/x: no connection"):
        download(Remote("http://127.0.0.1:1/x", md5(b"")), tmp_path / "x", HASTY)
    with pytest.raises(StudyError, match=r"'data/cub.tgz' is no address"):
        download(Remote("data/cub.tgz", md5(b"")), tmp_path / "x", HASTY)
    with pytest.raises(StudyError, match=r"the checksum of a must be 'md5:' and 32.*not 'md5:12'"):
        Remote("a", "md5:12")


def test_a_full_disk_is_told_and_the_next_call_goes_on(server, tmp_path):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limit[1]))
    try:
        with pytest.raises(
            StudyError, match=r"the disk is full, no space for .*file\.tgz\.part; free .*300 kB is there"
        ):
            fetch(server, tmp_path / "file.tgz")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    fetch(server, tmp_path / "file.tgz")
    assert server.asked == [None, "bytes=300000-"] and (tmp_path / "file.tgz").read_bytes() == BODY


def test_a_place_that_cannot_be_written_is_told(server, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StudyError, match=r"cannot write .*"):
        fetch(server, tmp_path / "file" / "file.tgz")


def archive(path: Path, *members: tuple[str, bytes], link: str | None = None) -> Path:
    """Write a gzipped tar of these files, and of a symbolic link called CUB_200_2011/link if asked."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members:
            about = tarfile.TarInfo(name)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
        if link:
            about = tarfile.TarInfo("CUB_200_2011/link")
            about.type, about.linkname = tarfile.SYMTYPE, link
            tar.addfile(about)
    return path


GOOD = ("CUB_200_2011/images.txt", b"1 a/b.jpg\n")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Work in a folder of its own, and return where CUB belongs in it."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work" / RESOURCES["cub"].place


@pytest.mark.parametrize(
    ("member", "link"),
    [("../evil", None), ("/{outside}/evil", None), ("CUB_200_2011/../../../evil", None), (None, "../../../evil")],
)
def test_an_unsafe_archive_is_refused_and_nothing_is_written(tmp_path, place, member, link):
    place.parent.mkdir(parents=True)
    members = [GOOD] + ([(member.replace("{outside}", str(tmp_path)), b"evil")] if member else [])
    file = archive(place.with_suffix(".tgz"), *members, link=link)
    with pytest.raises(StudyError, match="is not unpacked, since it is not safe: "):
        unpack(file, place)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file() or path.is_symlink()] == [file.name]


def test_a_damaged_archive_and_one_of_something_else_are_told(place):
    place.parent.mkdir(parents=True)
    file = archive(place.with_suffix(".tgz"), ("CUB_200_2011/images.txt", os.urandom(9000).hex().encode()))
    whole = file.read_bytes()
    for content in (b"no archive", whole[:5000], whole[:4000] + b"x" * 200 + whole[4200:]):
        file.write_bytes(content)
        with pytest.raises(StudyError, match=r"CUB_200_2011\.tgz is damaged: "):
            unpack(file, place)
    with pytest.raises(StudyError, match="holds no folder CUB_200_2011"):
        unpack(archive(file, ("other/images.txt", b"")), place)
    assert list(place.parent.iterdir()) == [file]


def test_cub_is_fetched_unpacked_and_then_left_alone(server, place, monkeypatch, tmp_path):
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
    assert len(server.asked) == 1


def test_an_archive_put_there_by_hand_is_checked_and_not_fetched(server, place, monkeypatch):
    place.parent.mkdir(parents=True)
    file = archive(place.with_suffix(".tgz"), GOOD)
    monkeypatch.setenv("DREAMBIRDS_CUB_URL", server.address)
    with pytest.raises(StudyError, match=f"{md5(file.read_bytes())}, not md5:97eceeb196236b17998738112f37df78; remove"):
        fetch_cub(HASTY)
    assert file.exists(), "what the user put there stays"
    monkeypatch.setenv("DREAMBIRDS_CUB_CHECKSUM", md5(file.read_bytes()))
    fetch_cub(HASTY)
    assert (place / "images.txt").exists() and server.asked == []


def test_two_who_want_the_same_file_fetch_it_once(server, place, monkeypatch, tmp_path, caplog):
    server.body = archive(tmp_path / "a.tgz", GOOD).read_bytes()
    monkeypatch.setenv("DREAMBIRDS_CUB_URL", server.address)
    monkeypatch.setenv("DREAMBIRDS_CUB_CHECKSUM", md5(server.body))
    caplog.set_level(logging.INFO)
    with ThreadPoolExecutor(2) as pool:
        with alone(place.with_name(f"{place.name}.tgz")):
            both = [pool.submit(fetch_cub, HASTY) for _ in range(2)]
            time.sleep(0.3)
            assert server.asked == [], "they wait for the one who holds the lock"
        assert [each.result(timeout=20) for each in both] == [None, None]
    assert len(server.asked) == 1 and "waiting for it" in caplog.text


def test_only_studies_that_ask_for_a_download_have_something_missing(place, tmp_path):
    assert missing({}) is None and missing({"dataset": {"source": "drawn"}}) is None
    assert missing({"dataset": {"source": "kaggle", "path": "my/birds"}}) is None
    study = tmp_path / "study.yaml"
    study.write_text("dataset: {source: kaggle}")
    assert _main(str(study)) == 1
    Path("resources/cse455/birds/train").mkdir(parents=True)
    assert _main(str(study)) == 0
    assert locate({"dataset": {"source": "kaggle", "path": None}})["dataset"]["path"] == "resources/cse455/birds"
    assert locate({"dataset": {"source": "kaggle", "path": "my"}})["dataset"]["path"] == "my"
    assert locate({"dataset": {"source": "drawn", "path": None}})["dataset"]["path"] is None


class Kaggle(Handler):
    """Stands in for Kaggle's servers, which the real client reaches here as through a proxy."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(self.path)
        mood = self.server.moods.pop(0) if self.server.moods else ""
        if "DownloadDataFiles" in self.path and not mood:
            self.send_response(302)
            self.send_header("Location", "http://localhost/bundle.zip?signed=1")
            return self.end_headers()
        code = int(mood or 200)
        words = {403: "You must accept this competition's rules before you'll be able to download files."}
        answer = {"code": code, "message": words.get(code, "x")} if mood else {"active": False}
        body = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        return self.wfile.write(body)


@pytest.fixture
def kaggle(server, place, monkeypatch, tmp_path):
    """Point Kaggle's client to the server, and give it a token that is none."""
    server.RequestHandlerClass = Kaggle
    for name in [name for name in os.environ if name.startswith("KAGGLE_")]:
        monkeypatch.delenv(name)
    settings = {
        "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
        "http_proxy": server.address.removesuffix("/file.tgz"),
        "no_proxy": "",
        "NO_PROXY": "",
        "HOME": str(tmp_path / "home"),
        "KAGGLE_USERNAME": "someone",
        "KAGGLE_KEY": "something",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("birds/train/0/a.jpg", os.urandom(300_000))
    server.body = packed.getvalue()
    return Path(RESOURCES["kaggle"].place)


def test_kaggles_own_client_brings_the_zip(server, kaggle):
    fetch_cse455()
    assert kaggle.read_bytes() == server.body and COMPETITION in kaggle.name
    assert {path.name for path in kaggle.parent.iterdir()} <= {kaggle.name, f"{kaggle.name}.lock"}
    asked = len(server.asked)
    fetch_cse455()
    assert len(server.asked) == asked


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("403", r"accepted the competition's rules: do so at https://www.kaggle.com/competitions/birds21sp/rules"),
        ("401", r"wants a token and got none that it takes: make one at https://www.kaggle.com/settings/api"),
        ("404", r"Kaggle has no competition 'birds21sp'"),
        ("429", r"in some minutes"),
        ("500", r"Kaggle's servers have a fault"),
    ],
)
def test_what_kaggle_refuses_is_one_sentence(server, kaggle, code, sentence):
    server.moods = [code]
    with pytest.raises(StudyError, match=sentence) as told:
        fetch_cse455()
    assert "dataset.path" in str(told.value) and "\n" not in str(told.value) and not kaggle.exists()


def test_without_a_token_the_sentence_says_how_to_get_one(server, kaggle, monkeypatch):
    monkeypatch.delenv("KAGGLE_USERNAME")
    monkeypatch.delenv("KAGGLE_KEY")
    words = r"~/.kaggle/access_token or in KAGGLE_API_TOKEN .*accept the competition's rules at .*dataset\.path"
    with pytest.raises(StudyError, match=words):
        fetch_cse455()
    monkeypatch.setenv("KAGGLE_API_TOKEN", "one that Kaggle does not know")
    with pytest.raises(StudyError, match=words):
        fetch_cse455()
    assert [path.rpartition("/")[2] for path in server.asked] == ["IntrospectToken"] * len(server.asked)


def test_kaggle_out_of_reach_is_told_with_either_kind_of_token(kaggle, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with pytest.raises(StudyError, match="no connection to Kaggle"):
        fetch_cse455()
    monkeypatch.setenv("KAGGLE_API_TOKEN", "any")
    with pytest.raises(StudyError, match="no connection to Kaggle"):
        fetch_cse455()


def test_kaggle_that_stays_silent_is_left(server, kaggle):
    server.moods = []
    server.RequestHandlerClass = type("Silent", (Kaggle,), {"do_POST": lambda self: time.sleep(6)})
    with pytest.raises(StudyError, match="Kaggle is silent for 2 s; what came is kept"):
        fetch_cse455(patience=2)


@pytest.mark.parametrize(("body", "wrong"), [(b"<html>log in</html>", "is no zip"), (None, "holds no folder train/")])
def test_what_is_no_data_is_not_taken(server, kaggle, body, wrong):
    packed = io.BytesIO()
    zipfile.ZipFile(packed, "w").close()
    server.body = body or packed.getvalue()
    with pytest.raises(StudyError, match=f"what Kaggle sent {wrong} and was deleted"):
        fetch_cse455()
    assert not kaggle.exists() and not kaggle.with_name("download").exists()


def test_a_client_that_is_not_installed_or_fails_otherwise_is_told(kaggle, monkeypatch):
    monkeypatch.setattr(fetch_kaggle, "find_spec", lambda _: None)
    with pytest.raises(StudyError, match="client is not installed: pip install kaggle"):
        fetch_cse455()
    assert fetch_kaggle._meaning("Warning\nModuleNotFoundError: x\n").endswith("failed: ModuleNotFoundError: x")
    assert fetch_kaggle._meaning("").endswith("it said nothing")

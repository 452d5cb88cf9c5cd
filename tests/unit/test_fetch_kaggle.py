"""Kaggle's own client with a mock of Kaggle's server on the loopback interface."""

import io
import json
import os
import time
import zipfile
from pathlib import Path

import pytest

from dreambirds.data.download import kaggle as fetch_kaggle
from dreambirds.data.download.kaggle import COMPETITION, fetch_cse455
from dreambirds.data.sources.catalog import RESOURCES
from dreambirds.errors import UserError
from tests.helpers.serving import Handler


class Kaggle(Handler):
    """A mock of Kaggle's servers, which the real client reaches through a proxy setting."""

    def do_POST(self):  # noqa: N802 - the name that http.server requires
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append(self.path)
        failure = self.server.failures.pop(0) if self.server.failures else ""
        if "DownloadDataFiles" in self.path and not failure:
            self.send_response(302)
            self.send_header("Location", "http://localhost/bundle.zip?signed=1")
            return self.end_headers()
        code = int(failure or 200)
        messages = {403: "You must accept this competition's rules before you'll be able to download files."}
        answer = {"code": code, "message": messages.get(code, "x")} if failure else {"active": False}
        body = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        return self.wfile.write(body)


pytestmark = pytest.mark.slow


@pytest.fixture
def kaggle(server, place, monkeypatch, tmp_path):
    """Point Kaggle's client to the server, with an invalid token."""
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


def test_kaggles_own_client_downloads_the_zip_once(server, kaggle):
    fetch_cse455()
    assert kaggle.read_bytes() == server.body and COMPETITION in kaggle.name
    assert {path.name for path in kaggle.parent.iterdir()} <= {kaggle.name, f"{kaggle.name}.lock"}
    count = len(server.requests)
    fetch_cse455()
    assert len(server.requests) == count


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("403", r"accept the competition's rules; do so at https://www.kaggle.com/competitions/birds21sp/rules"),
        ("401", r"requires a valid API token; create one at https://www.kaggle.com/settings/api"),
        ("404", r"Kaggle has no competition 'birds21sp'"),
        ("429", r"in a few minutes"),
        ("500", r"Kaggle's servers failed"),
    ],
)
def test_an_error_of_kaggle_is_one_line(server, kaggle, code, sentence):
    server.failures = [code]
    with pytest.raises(UserError, match=sentence) as error:
        fetch_cse455()
    assert "dataset.path" in str(error.value) and "\n" not in str(error.value) and not kaggle.exists()


@pytest.mark.slow
def test_without_a_token_the_error_explains_how_to_get_one(server, kaggle, monkeypatch):
    monkeypatch.delenv("KAGGLE_USERNAME")
    monkeypatch.delenv("KAGGLE_KEY")
    message = r"~/.kaggle/access_token or in KAGGLE_API_TOKEN .*accept the competition's rules at .*dataset\.path"
    with pytest.raises(UserError, match=message):
        fetch_cse455()
    monkeypatch.setenv("KAGGLE_API_TOKEN", "one that Kaggle does not know")
    with pytest.raises(UserError, match=message):
        fetch_cse455()
    assert [path.rpartition("/")[2] for path in server.requests] == ["IntrospectToken"] * len(server.requests)


@pytest.mark.slow
def test_a_failed_connection_is_reported_with_either_type_of_token(kaggle, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with pytest.raises(UserError, match="the connection to Kaggle failed"):
        fetch_cse455()
    monkeypatch.setenv("KAGGLE_API_TOKEN", "any")
    with pytest.raises(UserError, match="the connection to Kaggle failed"):
        fetch_cse455()


@pytest.mark.slow
def test_a_client_without_output_is_stopped(server, kaggle):
    server.failures = []
    server.RequestHandlerClass = type("Silent", (Kaggle,), {"do_POST": lambda self: time.sleep(6)})
    with pytest.raises(UserError, match="Kaggle sent no data for 2 s, but the partial download is kept; run"):
        fetch_cse455(timeout=2)


@pytest.mark.parametrize(
    ("body", "wrong"), [(b"<html>log in</html>", "is not a zip"), (None, "contains no folder 'train'")]
)
def test_a_file_that_is_not_the_data_is_rejected(server, kaggle, body, wrong):
    packed = io.BytesIO()
    zipfile.ZipFile(packed, "w").close()
    server.body = body or packed.getvalue()
    with pytest.raises(UserError, match=f"the file from Kaggle {wrong} and was deleted"):
        fetch_cse455()
    assert not kaggle.exists() and not kaggle.with_name("download").exists()


def test_a_client_that_is_not_installed_or_fails_is_reported(kaggle, monkeypatch):
    monkeypatch.setattr(fetch_kaggle, "find_spec", lambda _: None)
    with pytest.raises(UserError, match="client is not installed; run `pip install kaggle six`, or copy the zip to '"):
        fetch_cse455()
    assert fetch_kaggle._explain("Warning\nModuleNotFoundError: x\n").endswith(
        "failed (ModuleNotFoundError: x); run the same command again"
    )
    assert fetch_kaggle._explain("").endswith("(no output); run the same command again")

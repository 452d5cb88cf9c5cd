"""Uploads to the Hugging Face hub, by its protocol, to a local server."""

import socket
import time

import pytest
from huggingface_hub import constants, get_session

from dreambirds.errors import UserError
from dreambirds.gallery import hub
from dreambirds.gallery.hub import check_repository, push_folder
from tests.helpers.hub import serving

TOKEN = "hf_of_a_test"
FILES = {
    "README.md": b"---\nlibrary_name: timm\n---\nA card.\n",
    "config.json": b'{"architecture": "test_resnet"}',
    "model.safetensors": bytes(range(256)) * 500,
    "dreams/class-by-epoch.png": b"\x89PNG" * 100,
}


@pytest.fixture
def server(monkeypatch):
    with serving(monkeypatch, TOKEN) as server:
        yield server


@pytest.fixture
def folder(tmp_path):
    """Return a folder like an export."""
    for name, content in FILES.items():
        path = tmp_path / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "out"


def test_every_byte_arrives_and_a_second_push_replaces_the_files(server, folder):
    assert push_folder(folder, "me/birds", private=True) == f"{server.address}/me/birds"
    assert server.repositories == {"me/birds": FILES}
    assert server.created[0] == {"name": "birds", "organization": "me", "visibility": "private"}
    (folder / "config.json").write_bytes(b"{}")
    push_folder(folder, "me/birds", private=False)
    assert server.repositories == {"me/birds": {**FILES, "config.json": b"{}"}}
    assert "visibility" not in server.created[1] and get_session().timeout.read is None


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("/api/repos/create", 401, r"answered 401, it does not accept the token; create one with write access at http"),
        ("/api/models/me/birds/commit/main", 403, "answered 403, the token may not write there; create one with"),
        ("/api/models/me/birds/preupload/main", 404, "answered 404, .*; try again later$"),
    ],
)
def test_a_refusal_is_one_sentence_with_the_status(server, folder, path, status, sentence):
    server.failures[path] = status
    with pytest.raises(UserError, match=rf"^--push: cannot push '.*out' to 'me/birds': 'http.*' {sentence}"):
        push_folder(folder, "me/birds", private=False)
    assert not any(server.repositories.values())


def test_a_hub_that_does_not_respond_ends_the_push(server, folder, monkeypatch):
    monkeypatch.setattr(hub, "TIMEOUT", 0.2)
    server.delay, began = 3, time.monotonic()
    with pytest.raises(UserError, match=r"'http.*' did not respond in 0\.2 s; try again later$"):
        push_folder(folder, "me/birds", private=False)
    assert time.monotonic() - began < 2


def test_without_a_network_the_error_names_the_hub(server, folder, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(UserError, match=r": no connection to 'http://127.*refused\); check the network, and"):
            push_folder(folder, "me/birds", private=False)


def test_the_name_and_the_token_are_checked_before_anything_is_written(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    check_repository("me/birds")
    for name, sentence in [("birds", "has no user; pass user/name$"), ("me/b b", "is not a name of a repository")]:
        with pytest.raises(UserError, match=rf"^--push: '{name}' {sentence}"):
            check_repository(name)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"^--push: there is no token for the hub; run `hf auth login`, or set "):
        check_repository("me/birds")

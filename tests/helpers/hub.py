"""A local server that accepts uploads by the protocol of the Hugging Face hub."""

import base64
import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import close_session, constants


class Hub(http.server.ThreadingHTTPServer):
    """A hub with one user's token.

    `repositories` contains the files of each, by name and path, `created` the requests for new ones, and `failures` the
    status with which a request to a path is answered. A request is not answered for `delay` seconds.
    """

    daemon_threads = True

    def __init__(self, token: str):
        """Listen on a free port of the loopback interface."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.token, self.address = token, f"http://127.0.0.1:{self.server_port}"
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.created: list[dict] = []
        self.blobs: dict[str, bytes] = {}
        self.failures: dict[str, int] = {}
        self.delay = 0.0

    def handle_error(self, request, client_address):
        """Ignore clients that disconnect."""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        time.sleep(self.server.delay)
        body = self.rfile.read(int(self.headers["Content-Length"])) if "Content-Length" in self.headers else b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(self._chunks())
        if self.path in self.server.failures:
            return self._answer(self.server.failures[self.path], {"error": "a reason of the server"})
        if self.headers.get("Authorization") != f"Bearer {self.server.token}":
            return self._answer(401, {"error": "Invalid credentials"})
        if self.path == "/api/repos/create":
            return self._create(json.loads(body))
        if self.path == "/api/validate-yaml":
            return self._answer(200, {"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            files = [{"path": file["path"], "size": file["size"]} for file in json.loads(body)["files"]]
            modes = [{**file, "uploadMode": self._mode(file["path"]), "shouldIgnore": False} for file in files]
            return self._answer(200, {"files": modes})
        if self.path.endswith(".git/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            actions = [{"upload": {"href": f"{self.server.address}/blobs/{each['oid']}"}} for each in objects]
            stored = [{**each, "actions": action} for each, action in zip(objects, actions, strict=True)]
            return self._answer(200, {"transfer": "basic", "objects": stored})
        return self._commit([json.loads(line) for line in body.splitlines()])

    def do_PUT(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.blobs[self.path.rpartition("/")[2]] = content
        self._answer(200, {})

    def do_GET(self):
        self._answer(404, {"error": "Repository not found"})

    def _create(self, wanted: dict):
        name = f"{wanted['organization']}/{wanted['name']}"
        self.server.created.append(wanted)
        exists = name in self.server.repositories
        self.server.repositories.setdefault(name, {})
        return self._answer(409 if exists else 200, {"url": f"{self.server.address}/{name}"})

    def _commit(self, lines: list[dict]):
        name = "/".join(self.path.split("/")[3:5])
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                self.server.repositories[name][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.server.repositories[name][value["path"]] = self.server.blobs[value["oid"]]
        return self._answer(
            200, {"commitUrl": f"{self.server.address}/{name}/commit/{'0' * 40}", "commitOid": "0" * 40}
        )

    @staticmethod
    def _mode(path: str) -> str:
        return "lfs" if path.endswith((".safetensors", ".png")) else "regular"

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _answer(self, status: int, content: dict):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Log nothing."""


@contextmanager
def serving(monkeypatch, token: str) -> Iterator[Hub]:
    """Run a hub, and let huggingface_hub use it with the token, and without Xet, which has another protocol."""
    hub = Hub(token)
    threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    close_session()
    try:
        yield hub
    finally:
        close_session()
        hub.shutdown()
        hub.server_close()

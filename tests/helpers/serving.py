"""An HTTP server that can misbehave, for the tests of downloads."""

import hashlib
import http.server
import re
import time

BODY = bytes(range(251)) * 4000  # about 1 MB


class Server(http.server.ThreadingHTTPServer):
    """Server of one body.

    Each request takes the next of `moods`; if there is none, it is served correctly. `asked` lists the Range header of
    each request, `packings` its Accept-Encoding, `sent` the number of bytes of the body that were sent.
    """

    daemon_threads = True

    def __init__(self, body: bytes):
        """Listen on a free port of the loopback interface."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.moods, self.ranges = body, [], True
        self.asked, self.packings, self.sent = [], [], []
        self.address = f"http://127.0.0.1:{self.server_port}/file.tgz"

    def handle_error(self, request, client_address):
        """Ignore clients that disconnected."""


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
        """Print nothing."""


def md5(body: bytes) -> str:
    return f"md5:{hashlib.md5(body).hexdigest()}"

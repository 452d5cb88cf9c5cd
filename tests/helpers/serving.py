"""A server on the loopback interface that can simulate failures, for tests of downloads."""

import hashlib
import http.server
import re
import time

BODY = bytes(range(251)) * 4000  # about 1 MB


class Server(http.server.ThreadingHTTPServer):
    """A server of one body; each request takes its failure from `failures`, until there are none.

    For each request, `requests` lists the Range header, `encodings` the Accept-Encoding header, and `sent` the bytes
    sent.
    """

    daemon_threads = True

    def __init__(self, body: bytes):
        """Listen on a free port of the loopback interface."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.failures, self.supports_ranges = body, [], True
        self.requests, self.encodings, self.sent = [], [], []
        self.address = f"http://127.0.0.1:{self.server_port}/file.tgz"

    def handle_error(self, request, client_address):
        """Ignore clients that disconnect."""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        failure = self.server.failures.pop(0) if self.server.failures else ""
        given = re.match(r"bytes=(\d+)-", self.headers.get("Range", "")) if self.server.supports_ranges else None
        begin = int(given[1]) if given else 0
        self.server.requests.append(self.headers.get("Range"))
        self.server.encodings.append(self.headers.get("Accept-Encoding"))
        if failure.isdigit():
            return self.send_error(int(failure))
        if failure == "redirect":
            self.send_response(302)
            self.send_header("Location", "/elsewhere.tgz")
            return self.end_headers()
        if given and begin >= len(self.server.body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(self.server.body)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        return self._serve(self.server.body[begin:], begin if given else None, failure)

    def _serve(self, body: bytes, begin: int | None, failure: str):
        self.send_response(200 if begin is None else 206)
        self.send_header("Content-Length", str(len(body)))
        if begin is not None:
            self.send_header("Content-Range", f"bytes {begin}-{begin + len(body) - 1}/{begin + len(body)}")
        if failure == "packed":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        part = body[: len(body) // 2] if failure in ("cut", "stall") else body
        self.server.sent.append(len(part))
        self.wfile.write(part)
        if failure == "stall":
            self.wfile.flush()
            time.sleep(2)

    def log_message(self, *_):
        """Log nothing."""


def md5(body: bytes) -> str:
    return f"md5:{hashlib.md5(body).hexdigest()}"

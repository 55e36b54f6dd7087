"""A model's API on loopback for one attempt: the agent gets a token that works nowhere else, the key stays with us.

A program that has the key in its environment hands it to every command that it runs. Behind a relay there is none to hand
on: the token is made for the attempt, is good for this address only, and is worth nothing when the attempt has ended.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Self

MAX_REQUEST = 64 << 20
"""Bytes of one request."""
_OURS = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "x-api-key", "authorization", "keep-alive"}
)
_CHUNK = 1 << 16


class Relay:
    """``with Relay(base_url, key) as relay``: serves ``relay.url`` for whoever knows ``relay.token``."""

    def __init__(self, base_url: str, key: str, *, timeout_s: float = 600) -> None:
        self.base = base_url.rstrip("/")
        self.key = key
        self.timeout_s = timeout_s
        self.token = f"sk-ant-attempt-{secrets.token_urlsafe(24)}"
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"relay": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    @property
    def url(self) -> str:
        """Where the agent finds the API."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def knows(self, token: str) -> bool:
        """Whether that is this attempt's token."""
        return hmac.compare_digest(token.encode(), self.token.encode())

    def __enter__(self) -> Self:
        """Serve."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop: the token is worth nothing any more."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """One connection of the agent."""

    protocol_version = "HTTP/1.1"
    relay: ClassVar[Relay]

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        if not 0 <= size <= MAX_REQUEST:
            self._refuse(413, "the request is too long")
            return
        self._relay(self.rfile.read(size))

    def do_GET(self) -> None:
        self._relay(None)

    def do_HEAD(self) -> None:
        self._refuse(200, "")

    def _relay(self, body: bytes | None) -> None:
        shown = self.headers.get("x-api-key") or (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if not self.relay.knows(shown):
            self._refuse(401, "this is not the token of this attempt")
            return
        if not self.path.startswith("/v1/"):
            self._refuse(404, "only the model's API is here")
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OURS}
        headers["x-api-key"] = self.relay.key
        request = urllib.request.Request(self.relay.base + self.path, body, headers, method=self.command)  # noqa: S310 - from the configuration
        try:
            with urllib.request.urlopen(request, timeout=self.relay.timeout_s) as answer:  # noqa: S310 - the same
                self._pass_on(answer.status, answer)
        except urllib.error.HTTPError as error:
            with error:
                self._pass_on(error.code, error)
        except OSError as error:
            self._refuse(502, f"the model's provider cannot be reached: {error}".replace(self.relay.key, "***"))

    def _pass_on(self, status: int, answer: Any) -> None:
        """The answer as it comes, piece by piece."""
        self.send_response(status)
        for name, value in answer.headers.items():
            if name.lower() not in _OURS:
                self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while piece := answer.read1(_CHUNK):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def _refuse(self, status: int, why: str) -> None:
        error = {"type": "error", "error": {"type": "relay_error", "message": why}}
        payload = json.dumps(error).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True  # the agent has gone

    def log_message(self, *_: object) -> None:
        """Say nothing: what an agent asks its model is not for our logs."""

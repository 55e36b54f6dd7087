"""Somebody's HTTP API on a unix socket for one attempt: the agent uses it, the credential for it stays with us.

A program that has a key in its environment hands it to every command that it runs. Behind a relay there is none to hand
on: requests come in without it, and go on with it, to this one address only. The path of the agent's URL begins with a word
that is made for the attempt and is worth nothing when it has ended. An answer that repeats the credential has it blacked out.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import socket
import socketserver
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import unquote

from interlock.model.decision import Decision, Verdict
from interlock.ports import NETWORK_TOOL, Gate, Parts

MAX_REQUEST = 64 << 20
"""Bytes of one request."""
_OURS = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "x-api-key", "authorization", "keep-alive", "accept-encoding"}
)  # fmt: skip
_PART = 1 << 17
"""Bytes of an answer that are judged at once: a reader takes twice as many characters."""
_AGAIN = 1000
"""Bytes of the part before that are read once more with the next, for what lies across the border."""
_STREAMS = frozenset({"text/event-stream", "application/x-ndjson", "application/jsonl"})
"""Answers of which the agent wants each part as it comes."""
_BLACK = b"***"
_WITHOUT_BODY = frozenset({204, 304})


@dataclass(frozen=True, kw_only=True, slots=True)
class Upstream:
    """Where requests go on to, and with what."""

    url: str
    header: str
    """The header that carries the credential."""
    value: str
    """All of the header's value."""
    secret: str
    """The part of it that nobody else may see."""
    below: str = "/"
    """The only paths that are served."""


class Relay:
    """``with Relay(path, upstream) as relay``: serves a unix socket for whoever knows ``relay.word``.

    With a ``gate`` every request is a call that it judges and the ledger holds; without one none is (a model's own API).
    """

    def __init__(self, path: Path, upstream: Upstream, *, gate: Gate | None = None, timeout_s: float = 600) -> None:
        self.path = path
        self.upstream = upstream
        self.timeout_s = timeout_s
        self.word = secrets.token_urlsafe(24)
        self._gate = gate
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asking: set[Future[Any]] = set()
        self._server = _Server(path, type("Handler", (_Handler,), {"relay": self}))
        path.chmod(0o600)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def prefix(self) -> str:
        """What the path of the agent's URL begins with."""
        return f"/{self.word}"

    def admit(self, method: str, path: str) -> tuple[str, str]:
        """(the effect, why not). Called from the threads that serve, while the attempt's loop runs."""
        if self._gate is None:
            return "", ""
        args = {"method": method, "url": self.upstream.url.rstrip("/") + path}
        verdict = self._told(self._gate.before(NETWORK_TOOL, args))
        if verdict.decision.verdict is not Verdict.ALLOW or not verdict.effect_id:
            return "", verdict.decision.reason or "not allowed"
        return verdict.effect_id, ""

    def settle(self, effect: str, *, ok: bool, output: str) -> str:
        """Tell how the request came out; returns why its answer must not be shown, empty when it may."""
        if self._gate is None or not effect:
            return ""
        return _why_not(self._told(self._gate.after(effect, ok=ok, output=output)))

    def more(self, effect: str, output: str) -> str:
        """The same of a further part of the answer."""
        if self._gate is None or not effect:
            return ""
        if not isinstance(self._gate, Parts):
            return "there is nobody to judge so long an answer"
        return _why_not(self._told(self._gate.more(effect, output)))

    def _told(self, asked: Any) -> Any:
        assert self._loop is not None  # noqa: S101 - served only while entered
        future = asyncio.run_coroutine_threadsafe(asked, self._loop)
        self._asking.add(future)
        try:
            return future.result()
        finally:
            self._asking.discard(future)

    def __enter__(self) -> Self:
        """Serve."""
        if self._gate is not None:
            self._loop = asyncio.get_running_loop()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop: the word is worth nothing any more, and questions that nobody waits for are dropped."""
        self._server.shutdown()
        self._server.server_close()
        for future in list(self._asking):
            future.cancel()
        self.path.unlink(missing_ok=True)


class _Server(ThreadingHTTPServer):
    address_family = socket.AF_UNIX
    daemon_threads = True

    def __init__(self, path: Path, handler: type[BaseHTTPRequestHandler]) -> None:
        """Of a unix socket the address is a path, which the library's types do not know."""
        super().__init__(str(path), handler)  # type: ignore[arg-type]

    def server_bind(self) -> None:
        """Without the look for a host's name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "relay", 0


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """An answer that sends the client elsewhere goes to the client: the credential is for this address only."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirects)


class _Handler(BaseHTTPRequestHandler):
    """One connection of the agent."""

    protocol_version = "HTTP/1.1"
    relay: ClassVar[Relay]
    _effect = ""
    """The call that is under way, until its outcome is told."""

    def do_POST(self) -> None:
        try:
            size = int(self.headers.get("Content-Length") or 0)
        except ValueError:
            size = -1
        if self.headers.get("Transfer-Encoding"):
            size = -1
        if not 0 <= size <= MAX_REQUEST:
            self._refuse(413, "the request is too long, or does not say how long it is")
            self.close_connection = True
            return
        self._relay(self.rfile.read(size))

    def do_PUT(self) -> None:
        self.do_POST()

    def do_PATCH(self) -> None:
        self.do_POST()

    def do_GET(self) -> None:
        self._relay(None)

    def do_DELETE(self) -> None:
        self._relay(None)

    def do_HEAD(self) -> None:
        self._refuse(200, "")

    def _relay(self, body: bytes | None) -> None:
        upstream = self.relay.upstream
        _, word, path = [*self.path.split("/", 2), "", ""][:3]
        if not hmac.compare_digest(word.encode(), self.relay.word.encode()):
            self._refuse(401, "this is not the address of this attempt")
            return
        path = f"/{path}"
        if not path.startswith(upstream.below) or ".." in unquote(path).split("?")[0].replace("\\", "/").split("/"):
            self._refuse(404, f"only what is below {upstream.below} is here")
            return
        effect, why = self.relay.admit(self.command, path)
        if why:
            self._refuse(403, f"Interlock: {why}")
            return
        self._effect = effect
        try:
            self._send(upstream, path, body)
        finally:
            self._settle(ok=False, output="nobody knows")

    def _settle(self, *, ok: bool, output: str) -> str:
        """Once, and before the agent has the answer: it may end the attempt with it, or be gone. Returns why to withhold it."""
        effect, self._effect = self._effect, ""
        return self.relay.settle(effect, ok=ok, output=output)

    def _send(self, upstream: Upstream, path: str, body: bytes | None) -> None:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OURS}
        headers = {name: value for name, value in headers.items() if name.lower() != upstream.header.lower()}
        headers |= {upstream.header: upstream.value, "Accept-Encoding": "identity"}
        request = urllib.request.Request(upstream.url.rstrip("/") + path, body, headers, method=self.command)  # noqa: S310 - from the configuration
        try:
            with _opener.open(request, timeout=self.relay.timeout_s) as answer:
                self._pass_on(answer.status, answer, ok=True)
        except urllib.error.HTTPError as error:
            with error:
                self._pass_on(error.code, error, ok=False)
        except OSError as error:
            why = f"{upstream.url} cannot be reached: {error}".replace(upstream.secret, "***")
            self._settle(ok=False, output=why)
            self._refuse(502, why)

    def _pass_on(self, status: int, answer: Any, *, ok: bool) -> None:
        """The answer, as it comes; each part of it is judged before the agent has it."""
        secret = self.relay.upstream.secret
        pieces = blacked_out(_parts(answer, wait=not _streams(answer)), secret.encode())
        first = next(pieces, b"") if status not in _WITHOUT_BODY else b""
        effect = self._effect
        if why := self._settle(ok=ok, output=f"status {status}\n{_text(first)}"):
            self._refuse(403, f"Interlock withholds the answer: {why}")
            return
        self.send_response(status)
        for name, value in answer.headers.items():
            if name.lower() not in _OURS:
                self.send_header(name, value.replace(secret, "***"))
        if status in _WITHOUT_BODY:
            self.end_headers()
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._write(first)
        for before, piece in pairwise(chain((first,), pieces)):
            if self.relay.more(effect, _text(before[-_AGAIN:] + piece)):
                self.close_connection = True  # cut off, and seen to be: the end is missing
                return
            self._write(piece)
        self.wfile.write(b"0\r\n\r\n")

    def _write(self, piece: bytes) -> None:
        if piece:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))

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
        except (OSError, CancelledError):
            self.close_connection = True  # the agent has gone, or its attempt has ended

    def log_message(self, *_: object) -> None:
        """Say nothing: what an agent asks its model is not for our logs."""


def _why_not(decision: Decision) -> str:
    return "" if decision.verdict is Verdict.ALLOW else decision.reason or "not allowed"


def _streams(answer: Any) -> bool:
    return str(answer.headers.get_content_type()) in _STREAMS


def _parts(answer: Any, *, wait: bool) -> Iterator[bytes]:
    """The body in parts that are read at once: as they come, or (``wait``) as large as they may be."""
    read = answer.read if wait else answer.read1
    return iter(lambda: bytes(read(_PART)), b"")


def _text(part: bytes) -> str:
    return part.decode("utf-8", "replace")


def blacked_out(pieces: Iterator[bytes], secret: bytes) -> Iterator[bytes]:
    """The pieces without the secret, also where it lies across their borders.

    Only what may be the secret's beginning is held back, so that an answer that comes slowly is seen as it comes.
    """
    held = b""
    for piece in pieces:
        held = (held + piece).replace(secret, _BLACK)
        keep = next(
            (size for size in range(min(len(secret) - 1, len(held)), 0, -1) if secret.startswith(held[-size:])), 0
        )
        if ready := held[: len(held) - keep]:
            yield ready
        held = held[len(held) - keep :]
    if held:
        yield held

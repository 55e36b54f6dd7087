"""What stands before every request: the right host, a bounded body, and headers that tell browsers to be strict."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import Response

from interlock.surfaces.api.problems import problem

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with no-referrer browsers send the origin of their own forms as null
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
"""On every answer. Nothing may be framed, sniffed, cached or loaded from elsewhere; no script in the page itself runs."""

_SECURE = {"strict-transport-security": "max-age=31536000"}


class Guard:
    """The outermost layer.

    Args:
        app: what it guards.
        names: host names that requests may be for (without port); a web page elsewhere that rebinds its name to this
            address is refused by it.
        max_body: longest request body in bytes.
        secure: whether the connection is TLS.
    """

    def __init__(self, app: Asgi, *, names: frozenset[str], max_body: int, secure: bool) -> None:
        self._app = app
        self._names = names
        self._max_body = max_body
        extra = {**HEADERS, **(_SECURE if secure else {})}
        self._headers = [(name.encode(), value.encode()) for name, value in extra.items()]

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # nothing here speaks websocket

        async def strict(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", ()))
                there = {name.lower() for name, _ in given}
                message["headers"] = [*given, *((n, v) for n, v in self._headers if n not in there)]
            await send(message)

        refused = self._refused(scope)
        if refused is None:
            body = await self._body(receive)
            if body is None:
                refused = problem(413, "too-long", f"a request may hold {self._max_body} bytes at most")
        if refused is not None:
            await refused(scope, receive, strict)
            return
        await self._app(scope, _again(body or b"", receive), strict)

    def _refused(self, scope: MutableMapping[str, Any]) -> Response | None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if _name_of(host) not in self._names:
            return problem(421, "wrong-host", "this server does not answer for that host name (setting server.names)")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._max_body:
            return problem(413, "too-long", f"a request may hold {self._max_body} bytes at most")
        return None

    async def _body(self, receive: Receive) -> bytes | None:
        """The whole body, or None when it is too long; also chunked ones, whose length nobody announced."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return b"".join(parts)
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._max_body:
                return None
            if not message.get("more_body", False):
                return b"".join(parts)


def _name_of(host: str) -> str:
    """The name in ``name:port``, ``[::1]:port``."""
    if host.startswith("["):
        return host.partition("]")[0][1:]
    return host.partition(":")[0]


def _again(body: bytes, receive: Receive) -> Receive:
    """The body once more, then whatever comes."""
    given = False

    async def once() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once

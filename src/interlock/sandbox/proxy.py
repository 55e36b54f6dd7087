"""The only way to the network for an agent that has none of its own: a proxy for HTTP and CONNECT on a unix socket.

It lets through to granted hosts only, and only after the gate has said yes; the gate writes every connection down. What is
inside a TLS tunnel is not seen. An agent that ignores the proxy reaches nothing: its sandbox has no network.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from interlock.model.decision import Verdict
from interlock.ports import NETWORK_TOOL, Gate, Notes
from interlock.reading.http import listed

_LONGEST_HEAD = 64 << 10
_HEAD_S = 30.0
_CONNECT_S = 30.0
_CHUNK = 1 << 16
_MOST = 128
_HOP = frozenset({b"proxy-authorization", b"proxy-connection", b"connection", b"keep-alive", b"host", b"upgrade"})
_log = logging.getLogger(__name__)


class _RefusedError(Exception):
    """Raised when a request is not let through: the status that the agent gets, and why."""

    def __init__(self, status: str, why: str) -> None:
        self.status = status
        super().__init__(why)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Wanted:
    method: str
    host: str
    port: int
    url: str
    head: bytes
    """What the server gets first; empty for a tunnel."""


class HostProxy:
    """Serves one attempt. Use as ``async with``; ``hosts`` are the granted ones (``*.example.org`` covers subdomains)."""

    def __init__(self, gate: Gate, path: Path, hosts: Sequence[str]) -> None:
        self._gate = gate
        self._path = path
        self._hosts = tuple(hosts)
        self._server: asyncio.Server | None = None
        self._busy: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        """Listen; the socket can be used by this user only."""
        self._server = await asyncio.start_unix_server(self._connected, path=self._path, limit=_LONGEST_HEAD)
        self._path.chmod(0o600)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cut every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._busy:
            task.cancel()
        await asyncio.gather(*self._busy, return_exceptions=True)
        with suppress(OSError):
            self._path.unlink()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs this in a task
        self._busy.add(task)
        try:
            await self._served(reader, writer)
        except _RefusedError as refused:
            with suppress(OSError):
                writer.write(_answer(refused.status, str(refused)))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            _log.debug("a connection ended early")  # cancelled only by our own end, which waits for it
        except Exception:  # noqa: BLE001 - closed on failure: a defect of ours cuts the connection
            _log.exception("the proxy failed")
        finally:
            self._busy.discard(task)
            writer.close()

    async def _served(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._busy) > _MOST:
            raise _RefusedError("503 Service Unavailable", "too many connections at once")
        wanted = _wanted(await _head(reader))
        if not listed(wanted.host, self._hosts):
            await self._noted(wanted)
            raise _RefusedError(
                "403 Forbidden", f"Interlock: {wanted.host} is not among the granted hosts (scope.hosts)"
            )
        verdict = await self._gate.before(NETWORK_TOOL, {"method": wanted.method, "url": wanted.url})
        if verdict.decision.verdict is not Verdict.ALLOW:
            raise _RefusedError("403 Forbidden", f"Interlock: {verdict.decision.reason}")
        try:
            there, back = await self._reached(wanted)
        except BaseException:  # refused or cancelled: nothing was sent
            await asyncio.shield(self._gate.after(verdict.effect_id, ok=False, output="not connected"))
            raise
        flow = _Flow()
        try:
            if wanted.head:
                back.write(wanted.head)
                flow.sent += len(wanted.head)
            else:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(flow.out(reader, back), flow.back(there, writer))
        finally:  # what has flowed has flowed, also when the end of the attempt cuts it: that is no failure of the call
            back.close()
            said = f"{flow.sent} bytes sent, {flow.received} received"
            await asyncio.shield(self._gate.after(verdict.effect_id, ok=True, output=said))

    async def _noted(self, wanted: _Wanted) -> None:
        """What is not granted is written down; nobody is asked about it, so that the agent has its answer at once."""
        if isinstance(self._gate, Notes):
            await self._gate.note(
                "network.refused", {"host": wanted.host, "port": wanted.port, "method": wanted.method}
            )

    async def _reached(self, wanted: _Wanted) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to one of the host's addresses; a name must not lead to this machine or to cloud metadata."""
        loop = asyncio.get_running_loop()
        try:
            found = await asyncio.wait_for(
                loop.getaddrinfo(wanted.host, wanted.port, type=socket.SOCK_STREAM), _CONNECT_S
            )  # fmt: skip
            addresses = [str(entry[4][0]) for entry in found]
            if not _is_local(wanted.host):
                addresses = [address for address in addresses if not _is_local(address)]
            if not addresses:
                raise _RefusedError("403 Forbidden", f"Interlock: the name {wanted.host} leads to this machine")
            return await asyncio.wait_for(asyncio.open_connection(addresses[0], wanted.port), _CONNECT_S)
        except (OSError, TimeoutError, UnicodeError) as error:  # a name that no name can be is one of the last
            raise _RefusedError("502 Bad Gateway", f"{wanted.host}:{wanted.port} cannot be reached: {error}") from error


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_S)
    except (TimeoutError, asyncio.LimitOverrunError) as error:
        raise _RefusedError("400 Bad Request", "the request's head is too long or did not come") from error


def _wanted(head: bytes) -> _Wanted:
    """What a request asks for. The host that is judged is the host that is connected to and named to it."""
    line, *fields = head[:-4].split(b"\r\n")
    try:
        method, target, version = line.decode("ascii").split(" ")
        place = urlsplit(f"//{target}" if method == "CONNECT" else target)
        host, port = (place.hostname or "").rstrip("."), place.port
    except (ValueError, UnicodeDecodeError) as error:
        raise _RefusedError("400 Bad Request", f"not a request for a proxy: {error}") from error
    tunnel = method == "CONNECT"
    sound = host and "@" not in place.netloc and version.startswith("HTTP/1.") and method.isalpha()
    if not sound or (port is None if tunnel else place.scheme != "http"):
        raise _RefusedError("400 Bad Request", "a proxy is asked for http://HOST… or CONNECT HOST:PORT, with HTTP/1")
    shown = f"[{host}]" if ":" in host else host
    if tunnel:
        return _Wanted(method=method, host=host, port=port or 0, url=f"https://{shown}:{port}/", head=b"")
    path = (place.path or "/") + (f"?{place.query}" if place.query else "")
    kept = [field for field in fields if field.partition(b":")[0].strip().lower() not in _HOP]
    named = place.netloc.encode()
    lines = [f"{method} {path} HTTP/1.1".encode(), b"Host: " + named, *kept, b"Connection: close"]
    return _Wanted(method=method, host=host, port=port or 80, url=target, head=b"\r\n".join(lines) + b"\r\n\r\n")


def _is_local(host: str) -> bool:
    """Whether an address or name is this machine, or one that only this machine's own links know."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_link_local or address.is_unspecified


@dataclass(kw_only=True, slots=True)
class _Flow:
    """How many bytes have gone which way so far."""

    sent: int = 0
    received: int = 0

    async def out(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What the agent sends."""
        async for size in _pumped(reader, writer):
            self.sent += size

    async def back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What it gets."""
        async for size in _pumped(reader, writer):
            self.received += size


async def _pumped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> AsyncIterator[int]:
    """Pass everything on until the end, and the end too; a side that breaks off ends its direction only."""
    with suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            yield len(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


def _answer(status: str, why: str) -> bytes:
    body = f"{why}\n".encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body

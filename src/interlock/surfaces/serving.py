"""One process that serves: the application under uvicorn, ended cleanly."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Protocol

from interlock.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from interlock.service import Service

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_GRACE_S = 5
_QUEUE = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Where to serve, and how."""

    host: str
    port: int
    certificate: Path | None = None
    key: Path | None = None
    behind_proxy: bool = False
    """A proxy in front does TLS; its word on the client's address and scheme is not asked for."""

    @property
    def secure(self) -> bool:
        """Whether people reach it by TLS."""
        return self.certificate is not None or self.behind_proxy

    def check(self) -> None:
        """Refuse what would send tokens in clear over a network.

        Raises:
            UsageError: for half a pair of TLS files, or an address beyond this machine without TLS.
        """
        if (self.certificate is None) != (self.key is None):
            raise UsageError("TLS needs both --tls-cert and --tls-key")
        for file in (self.certificate, self.key):
            if file is not None and not file.is_file():
                raise UsageError(f"there is no file {file}")
        if self.host not in LOOPBACK and not self.secure:
            raise UsageError(
                f"{self.host} is reached from other machines, and tokens would go over the network in clear: "
                "give --tls-cert and --tls-key, or --behind-proxy when a proxy in front does TLS"
            )


def bind(address: Address) -> socket.socket:
    """The listening socket, so that its port is known before anybody is told.

    Raises:
        UsageError: when the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    # named as TCP: asyncio switches off the kernel's waiting for more (40 ms an answer) on such sockets only
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address.host, address.port))
    except OSError as problem:
        listening.close()
        message = f"cannot listen on {address.host}:{address.port}: {problem.strerror or problem}; try --port 0"
        raise UsageError(message) from problem
    return listening


def url_of(address: Address, listening: socket.socket) -> str:
    """How a browser on this machine reaches it."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{'https' if address.certificate else 'http'}://{host}:{listening.getsockname()[1]}"


class Ends(Protocol):
    """A server that runs until it is told to end, from a signal or from another thread."""

    started: bool

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until the end."""
        ...

    def end(self) -> None:
        """Answer what is being answered, let those who watch go, and stop."""
        ...


def make_server(service: Service, address: Address, *, dashboard: bool = True) -> Ends:
    """The server, ready to ``run(sockets=[…])``; the service's owner starts and closes the service.

    Raises:
        MissingExtraError: when the server's parts are not installed.
    """
    try:
        import uvicorn  # noqa: PLC0415 - an extra

        from interlock.surfaces.api.app import make_app  # noqa: PLC0415 - the same
    except ModuleNotFoundError as missing:
        raise MissingExtraError("the server", "server") from missing

    app = make_app(service, secure=address.secure, dashboard=dashboard)

    class Server(uvicorn.Server):
        """Lets those who watch go when it is told to end; otherwise it would wait for them."""

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            app.state.hub.close()
            super().handle_exit(sig, frame)

        def end(self) -> None:
            app.state.hub.close()
            self.should_exit = True

    return Server(
        uvicorn.Config(
            app, access_log=False, log_level="warning", server_header=False, proxy_headers=False, ws="none",
            ssl_certfile=address.certificate, ssl_keyfile=address.key, backlog=_QUEUE,
            timeout_graceful_shutdown=_GRACE_S, timeout_keep_alive=30, h11_max_incomplete_event_size=64 * 1024,
        )
    )  # fmt: skip

"""``interlock serve``: API, dashboard and a worker in one process."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.surfaces.cli.common import ConfigFile, Env, load, me

if TYPE_CHECKING:
    from interlock.service import Service


def serve(
    host: Annotated[str | None, typer.Option(help="The address to listen on; this machine only by default.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="A certificate (PEM), for TLS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key (PEM).")] = None,
    behind_proxy: Annotated[bool, typer.Option("--behind-proxy", help="A proxy in front does TLS.")] = False,
    worker: Annotated[bool, typer.Option("--worker/--no-worker", help="Execute here too.")] = True,
    env: Env = None,
    config: ConfigFile = None,
) -> None:
    """Serve dashboard and API, and execute what is submitted."""
    from interlock.app import build  # noqa: PLC0415 - the engine takes half a second to import
    from interlock.surfaces.serving import Address, bind, make_server, url_of  # noqa: PLC0415 - help does without it

    settings = load(env, config)
    address = Address(
        host=host or settings.server.host, port=settings.server.port if port is None else port,
        certificate=tls_cert, key=tls_key, behind_proxy=behind_proxy,
    )  # fmt: skip
    address.check()
    listening = bind(address)
    if host:
        settings = settings.model_copy(update={"server": settings.server.model_copy(update={"host": host})})
    service = build(settings)
    try:
        server = make_server(service, address)
        if worker:
            service.start()
        _greet(service, url_of(address, listening), worker=worker)
        server.run(sockets=[listening])
    finally:
        listening.close()
        service.close()
    sys.stderr.write("interlock: stopped; what was under way goes on when a worker starts again\n")


def _greet(service: Service, url: str, *, worker: bool) -> None:
    doing = "serves and executes" if worker else "serves; it executes nothing (--no-worker)"
    lines = [f"Interlock {doing}: {url}"]
    if not service.identities.has_admin():
        secret = service.identities.link(person())
        lines.append(f"sign in once, within 15 minutes:  {url}/enter?link={secret}")
    else:
        lines.append("sign in with a token; a new one-time link: interlock tokens link")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def person() -> str:
    """The account's name as identities write it."""
    return re.sub(r"[^A-Za-z0-9@._+-]", "-", me()).lstrip("@._+-")[:64] or "admin"

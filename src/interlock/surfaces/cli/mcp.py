"""``interlock mcp``: a server for other agents, on standard input and output."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.surfaces.cli.common import ConfigFile, Env, load
from interlock.surfaces.cli.serve import person


def mcp(
    program: Annotated[str, typer.Option("--as", help="The calling program's name, for the ledger.")] = "mcp",
    worker: Annotated[bool, typer.Option("--worker/--no-worker", help="Execute here too.")] = True,
    env: Env = None,
    config: ConfigFile = None,
) -> None:
    """Serve the Model Context Protocol: other agents may submit tasks, check actions and look; never approve."""
    from interlock.app import build  # noqa: PLC0415 - the engine takes half a second to import
    from interlock.surfaces.mcp import make_mcp  # noqa: PLC0415 - the same

    service = build(load(env, config))
    try:
        server = make_mcp(service, caller=f"{person()}/{program}")
        if worker:
            service.start()
        server.run(transport="stdio", show_banner=False)
    finally:
        service.close()

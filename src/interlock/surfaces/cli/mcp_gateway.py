"""``interlock mcp-gateway``: the gate in front of any MCP server."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from interlock.surfaces.cli.common import ConfigFile, Env, Json, load, me, opened, say_json

if TYPE_CHECKING:
    from interlock.engine.pins import Offer, Pins

_PROGRAM = "interlock.program"


class _Gateway(typer.core.TyperGroup):
    """Subcommands, or a program of any name after ``--``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the program out before subcommands are looked for."""
        if "--" in args:
            cut = args.index("--")
            ctx.meta[_PROGRAM] = tuple(args[cut + 1 :])
            args = args[:cut]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Gateway,
    help="The gate in front of an MCP server (PROGRAM or --url).",
    epilog="Put this command into your client's settings in the place of the server's own.",
)
pins = typer.Typer(no_args_is_help=True, help="What tools say of themselves, as you have accepted it.")
app.add_typer(pins, name="pins")

Server = Annotated[str, typer.Argument(metavar="SERVER", help="The server's name, as the gateway calls it.")]


@app.callback(invoke_without_command=True)
def gateway(  # noqa: PLR0917 - a command's options: nobody passes them by position
    context: typer.Context,
    url: Annotated[str, typer.Option(metavar="URL", help="A server that speaks HTTP instead of a program.")] = "",
    name: Annotated[str, typer.Option(help="What to call the server: its tools are mcp__NAME__TOOL.")] = "",
    pass_env: Annotated[
        list[str] | None, typer.Option("--pass", metavar="VARIABLE", help="Environment that the program gets.")
    ] = None,
    write: Annotated[
        list[Path] | None, typer.Option(metavar="PATH", help="What the program may write to besides the project.")
    ] = None,
    read: Annotated[
        list[Path] | None, typer.Option(metavar="PATH", help="What it may read besides the project and the system.")
    ] = None,
    bearer_env: Annotated[str, typer.Option(metavar="VARIABLE", help="Holds the bearer token for --url.")] = "",
    wait: Annotated[float, typer.Option(min=0, max=86400, metavar="SECONDS", help="Longest wait for a person.")] = 45,
    timeout: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="Longest call of the server.")] = 300,
    env: Env = None,
    config: ConfigFile = None,
) -> None:
    """Serve on standard input and output; judge every call and every answer of the server behind."""
    if context.invoked_subcommand is not None:
        return
    import asyncio  # noqa: PLC0415 - help does without it

    from interlock.surfaces.mcp_gateway import Gateway, Patience, Upstream, run_gateway  # noqa: PLC0415 - an extra

    upstream = Upstream(
        command=context.meta.get(_PROGRAM, ()),
        url=url,
        name=name,
        pass_env=tuple(pass_env or ()),
        write=tuple(write or ()),
        read=tuple(read or ()),
        bearer_env=bearer_env,
    )
    patience = Patience(person=timedelta(seconds=wait), server=timedelta(seconds=timeout))
    with opened(env, config) as service:
        asyncio.run(run_gateway(Gateway(service, upstream, person=me(), patience=patience)))


@pins.command("list")
def list_(env: Env = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """List the definitions that are accepted, and those that wait for you."""
    found = _pins(env, config)
    accepted, waiting = found.servers(), found.offers()
    if as_json:
        say_json({"file": str(found.file), "pinned": accepted, "offered": list(waiting)})
        return
    typer.echo(f"pins: {found.file}")
    for server, tools in accepted.items():
        for tool, digest in tools.items():
            typer.echo(f"{server}  {tool}  {digest.removeprefix('sha256:')[:12]}")
    for offer in waiting:
        typer.echo(f"{offer.server}  {offer.tool}  {_short(offer)}  {offer.standing.value}: hidden until you accept it")


@pins.command()
def diff(
    server: Annotated[str, typer.Argument(metavar="[SERVER]", help="Only this server's.")] = "",
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Show what is new or different, and how to accept it."""
    offers = _pins(env, config).offers(server)
    if as_json:
        say_json(list(offers))
        return
    if not offers:
        typer.echo("nothing waits to be accepted")
    for offer in offers:
        typer.echo(f"{offer.server}: {offer.tool} is {offer.standing.value}")
        typer.echo(offer.diff)
        typer.echo(f"to accept exactly this: interlock mcp-gateway pins approve {offer.server} {_short(offer)}\n")


@pins.command()
def approve(
    server: Server,
    digests: Annotated[list[str], typer.Argument(metavar="DIGEST…", help="As `pins diff` shows them.")],
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Accept exactly the definitions of these digests; running gateways see it at their next look."""
    with opened(env, config) as service:
        from interlock.engine.pins import Pins  # noqa: PLC0415 - the same
        from interlock.model.session import Session  # noqa: PLC0415 - help does without it

        accepted = Pins(service.settings).approve(server, digests)
        desk = Session(agent=f"mcp:{server}", id="pins", person=me())
        for offer in accepted:
            facts = {"server": server, "tool": offer.tool, "definition": offer.digest, "by": me()}
            service.sessions.note(desk, "tool.accepted", facts)
    if as_json:
        say_json(list(accepted))
        return
    for offer in accepted:
        typer.echo(f"{offer.tool} is accepted as {_short(offer)}")


def _pins(env: str | None, config: Path | None) -> Pins:
    from interlock.engine.pins import Pins  # noqa: PLC0415 - help does without it

    return Pins(load(env, config))


def _short(offer: Offer) -> str:
    return offer.digest.removeprefix("sha256:")[:12]

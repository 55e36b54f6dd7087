"""``interlock tokens``: who may use the API and the dashboard, and as what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from interlock.surfaces.cli.common import ConfigFile, Env, Json, console, opened, say_json
from interlock.surfaces.cli.serve import person

if TYPE_CHECKING:
    from interlock.model.identity import Token

app = typer.Typer(no_args_is_help=True, help="Give and take the tokens of people and programs.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="A person's name (as in `approvals`), or person/program.")],
    role: Annotated[str, typer.Option("--role", help="viewer, operator, approver or admin.")] = "viewer",
    days: Annotated[int, typer.Option("--days", min=1, max=366, help="How long it is good.")] = 90,
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Make a token and print its secret, once; `> FILE` keeps the secret alone. A name with a slash is a program's: it can never approve."""
    from interlock.errors import UsageError, did_you_mean  # noqa: PLC0415
    from interlock.model.identity import Being, Role  # noqa: PLC0415

    known = [each.value for each in Role]
    if role not in known:
        raise UsageError(f"there is no role {role!r}; {did_you_mean(role, known) or 'known: ' + ', '.join(known)}")
    being = Being.PROGRAM if "/" in name else Being.PERSON
    with opened(env, config) as service:
        token, secret = service.identities.create(
            name, being=being, role=Role(role), lifetime=timedelta(days=days), by=person()
        )
    if as_json:
        say_json({"token": token, "secret": secret})
        return
    about = f"{token.id}  {token.name} is {token.role} until {token.expires_at:%Y-%m-%d}\nits secret, shown only now:"
    typer.echo(about, err=True)
    typer.echo(secret)


@app.command("list")
def list_(env: Env = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """List tokens and sessions; secrets are not kept."""
    with opened(env, config) as service:
        found = service.identities.list()
    if as_json:
        say_json(found)
        return
    out = console()
    if not found:
        out.print("no tokens yet; `interlock serve` prints a first sign-in link, `tokens create` makes more")
    for token in found:
        out.print(_line(token), style="dim" if _is_over(token) else "", markup=False)


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="TOKEN")],
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """End a token and the sessions that were opened with it."""
    with opened(env, config) as service:
        ended = service.identities.revoke(token_id, by=person())
    if as_json:
        say_json(ended)
    else:
        console().print(_line(ended), markup=False)


@app.command()
def link(env: Env = None, config: ConfigFile = None) -> None:
    """Print a one-time sign-in link as admin, for whoever sits at this machine; older links end."""
    with opened(env, config) as service:
        server = service.settings.server
        secret = service.identities.link(person())
    console().print(
        f"good for 15 minutes, once: open /enter?link={secret} on the server, such as\n"
        f"http://{server.host}:{server.port}/enter?link={secret}", markup=False, soft_wrap=True,
    )  # fmt: skip


def _is_over(token: Token) -> bool:
    return token.ended_at is not None or datetime.now(UTC) >= token.expires_at


def _line(token: Token) -> str:
    until = f"ended {token.ended_at:%Y-%m-%d %H:%M}" if token.ended_at else f"until {token.expires_at:%Y-%m-%d %H:%M}"
    return f"{token.id}  {token.use:<8}{token.role:<9} {token.name}  {until} UTC"

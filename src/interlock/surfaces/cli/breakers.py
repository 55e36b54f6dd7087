"""``interlock breakers``: which agents are cut off, and why; operators may force them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from interlock.surfaces.cli.common import ConfigFile, Env, Json, console, me, opened, say_json

if TYPE_CHECKING:
    from interlock.model.breaker import Breaker

app = typer.Typer(no_args_is_help=True, help="See and steer the circuit breakers.")

Agent = Annotated[str, typer.Argument(metavar="AGENT")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the ledger.")]


@app.command("list")
def list_(env: Env = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """List every agent's breaker."""
    with opened(env, config) as service:
        found = service.agents.breakers()
    if as_json:
        say_json(found)
        return
    out = console()
    for breaker in found:
        out.print(_line(breaker), style="" if breaker.state == "closed" else "red", markup=False)


def _line(breaker: Breaker) -> str:
    recent = f"{sum(breaker.window)} of {len(breaker.window)} good" if breaker.window else "never used"
    until = f", until {breaker.open_until:%H:%M:%S} UTC" if breaker.open_until and breaker.state == "open" else ""
    reason = f" ({breaker.reason})" if breaker.reason else ""
    return f"{breaker.state:<14}{breaker.agent}: {recent}{until}{reason}"


@app.command("open")
def open_(agent: Agent, reason: Reason = "", env: Env = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Cut an agent off until somebody closes or resets it."""
    _force("open", agent, reason, env, config, as_json)


@app.command()
def close(agent: Agent, reason: Reason = "", env: Env = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Let an agent run whatever its record, until somebody resets it."""
    _force("closed", agent, reason, env, config, as_json)


@app.command()
def reset(agent: Agent, reason: Reason = "", env: Env = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Give an agent a clean record; its breaker works by itself again."""
    _force("reset", agent, reason, env, config, as_json)


def _force(what: str, agent: str, reason: str, env: Env, config: ConfigFile, as_json: bool) -> None:
    from interlock.decide.breaker import Force  # noqa: PLC0415

    with opened(env, config) as service:
        after = service.agents.force_breaker(agent, Force(what), reason=reason or "by hand", actor=me())
    if as_json:
        say_json(after)
    else:
        console().print(_line(after), markup=False)

"""``interlock health``: how well the agents and Interlock itself are, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from interlock.surfaces.cli.common import ConfigFile, Env, Json, console, hanging, opened, say_json

if TYPE_CHECKING:
    from rich.console import Console

    from interlock.model.health import Health

_STYLES = {"healthy": "green", "degraded": "yellow", "unhealthy": "red", "unknown": "dim"}


def health(
    agent: Annotated[str, typer.Argument(metavar="[AGENT]", help="One agent; without it, all and the system.")] = "",
    env: Env = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Show how well agents and system are; exit 1 when unwell."""
    with opened(env, config) as service:
        found = [service.health.agent(agent)] if agent else [service.health.system(), *service.health.agents()]
    if as_json:
        say_json(found[0] if agent else found)
    else:
        out = console()
        for each in found:
            _show(out, each, every_check=bool(agent))
    raise typer.Exit(1 if any(each.status == "unhealthy" for each in found) else 0)


def _show(out: Console, health: Health, *, every_check: bool) -> None:
    out.print(f"{health.status:<11}{health.subject}", style=_STYLES[health.status], markup=False)
    if every_check:
        for check in health.checks:
            hanging(out, f"  {'ok ' if check.ok else 'BAD'} ", f"{check.name}: {check.evidence}")
    for advice in health.recommendations:
        hanging(out, "  → ", advice)

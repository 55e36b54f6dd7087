"""``interlock limits``: what may be at work at once, and changing it while everything runs."""

from __future__ import annotations

from typing import Annotated

import typer

from interlock.surfaces.cli.common import ConfigFile, Env, Json, console, me, opened, say_json

app = typer.Typer(no_args_is_help=True, help="See and change limits while everything runs.")

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="max_concurrent, per_agent, per_minute, agent:NAME or tag:NAME.")
]


@app.command()
def show(env: Env = None, config: ConfigFile = None, as_json: Json = False) -> None:
    """Show every limit and where it comes from."""
    with opened(env, config) as service:
        found = service.queue.limits()
    if as_json:
        say_json({name: {"most": most, "source": source} for name, (most, source) in found.items()})
        return
    for name, (most, source) in found.items():
        console().print(f"{most:>8}  {name}  ({source})", markup=False)


@app.command("set")
def set_(
    name: Name,
    most: Annotated[int, typer.Argument(metavar="NUMBER", help="0: never.")],
    env: Env = None,
    config: ConfigFile = None,
) -> None:
    """Change a limit at once, for all processes of this store. What is at work already stays at work."""
    with opened(env, config) as service:
        service.queue.set_limit(name, most, actor=me())


@app.command()
def reset(name: Name, env: Env = None, config: ConfigFile = None) -> None:
    """Go back to the configured limit."""
    with opened(env, config) as service:
        service.queue.set_limit(name, None, actor=me())
